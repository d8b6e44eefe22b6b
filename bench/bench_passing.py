"""What being attached costs traffic that is neither ARP nor ND.

By the nanosecond: what hangs on the interface, XDP or tc, runs a million times over a packet of TCP (`weigh.c`), and so
does a program that does nothing, whose time is taken off. By what comes through: streams of the smallest UDP packets
and of TCP, before, while and after somebody is attached; 100 % is the mean of before and after, so that a machine that
becomes slower does not tell against anybody. A socket that hears IPv6 sees every packet of it, which only the second
way can show. A veth loses its large segments to any native XDP program, whatever that does: so those of arpfast are
held against the reflector, which lets such packets pass unread.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.answerers import BACKENDS, GUARDED, Arpfast, Other, Reflector, present
from bench.stage import ANSWERER, GENERATOR, Pool, staged
from lab import Process
from lab.native import compiled
from lab.peers import attach
from lab.traffic.stream import Protocol, stream

if TYPE_CHECKING:
    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from bench.stage import Stage

POOLS = {"IPv4": Pool.of("10.1.0.0/22"), "IPv6": Pool.of("2001:db8::100/124")}
TO = {"IPv4": "10.255.0.2", "IPv6": "2001:db8::ffff:2"}
PACKETS = {  # Ethernet, IP and TCP headers, the rest zero
    "IPv4": "0200000000010200000000020800" "4500002800004000400600000a0000010a000002" + "00" * 26,
    "IPv6": "02000000000102000000000286dd" "600000000014064000" + "00" * 51,
}  # fmt: skip
WHO: tuple[Answerer, ...] = (
    Arpfast(), Arpfast("arpfast, guard", GUARDED), *BACKENDS, Other("cloop"), Reflector(),
    Reflector("reflector generic", generic=True),
)  # fmt: skip
BESIDE = {"arpfast xdp": "reflector", "arpfast xdp-generic": "reflector generic"}
PROTOCOLS: tuple[Protocol, ...] = ("udp", "tcp")
SECONDS = 0.7


def test_passing(ledger: Ledger, rounds: Rounds) -> None:
    there = present(WHO, ledger)
    cases = [(family, who) for family in POOLS for who in there]
    for family, who in rounds(cases, lambda one: f"{one[0]}: {one[1].name}"):
        with staged() as stage:
            before = _streamed(stage, family)
            nothing_ns = _weighed_nothing(stage, family)
            with who.on(stage, POOLS[family]) as process:
                cost_ns = _weighed(stage, family)
                during = _streamed(stage, family)
            assert isinstance(process, Process)
            process.stop()
            after = _streamed(stage, family)
        for name, ns in cost_ns.items():
            ledger.add(f"{family}, a packet passing {name}", who.name, ns - nothing_ns, "ns")
        for protocol in PROTOCOLS:
            without = (before[protocol] + after[protocol]) / 2
            ledger.add(f"{family}, {protocol} stream", who.name, 100 * during[protocol] / without, "%")
    for family in POOLS:
        for who in there:
            for protocol in PROTOCOLS:
                case = f"{family}, {protocol} stream"
                if who.name in BESIDE:
                    ledger.compare(case, who.name, BESIDE[who.name], at_least=0.99)
                elif who.name.startswith("arpfast"):
                    ledger.judge(case, who.name, ledger.of(case, who.name).values, "%", at_least=99)
            for case in (f"{family}, a packet passing {name}" for name in ("xdp", "tc")):
                ledger.judge(case, who.name, ledger.of(case, who.name).values, "ns", at_most=20)


def _streamed(stage: Stage, family: str) -> dict[Protocol, float]:
    """What came through a second: packets of UDP, bytes of TCP."""
    found: dict[Protocol, float] = {}
    for protocol in PROTOCOLS:
        came = stream(
            stage.near.host, stage.far.host, TO[family], protocol, seconds=SECONDS, cpus={GENERATOR},
            receiver_cpus={ANSWERER},
        )  # fmt: skip
        found[protocol] = (came.packets if protocol == "udp" else came.bytes) / came.seconds
    return found


def _weighed(stage: Stage, family: str) -> dict[str, float]:
    """The nanoseconds of what hangs there, by hook."""
    program = compiled("generator/weigh.c")
    told = json.loads(stage.far.host.run([program, f"interface={stage.far.name}", f"frame={PACKETS[family]}"]).stdout)
    found: dict[str, float] = {}
    for name, ns in told.items():
        hook = re.sub(r" \d+$", "", name)
        found[hook] = found.get(hook, 0.0) + ns
    return found


def _weighed_nothing(stage: Stage, family: str) -> float:
    process = attach(stage.far, "pass")
    try:
        return _weighed(stage, family)["xdp"]
    finally:
        process.kill()
