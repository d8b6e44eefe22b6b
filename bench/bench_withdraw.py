"""How long connections are away when the node that they go to dies, drains or ends its BGP, and whether others notice.

Three nodes announce twelve addresses to FRR, and a client behind it probes each every 2 ms. The victim is the node that
answers the first of them. An outage is the longest of those that the victim answered; probes to the others are counted,
too, when they are lost: the router deals them out anew, which none should notice. Every trial has a lab of its own.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cluster.config import BFDProfile
from lab import DeadlineError, Lab, ProcessFailed, wait_until
from lab.fabric import FRR_ASN, Fabric
from lab.ring import Cut, Ring
from lab.speaking import Speaking, peer
from lab.traffic import Traffic
from speaker.bgp.wish import Attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab import Host
    from lab.traffic import Delivered

SHARED = [str(ip_address("203.0.113.100") + number) for number in range(12)]
BFD_MS, TIMES = 100, 3
CALM_S, DEADLINE_S = 1.5, 60.0
TOR = "tor"


class Play:
    """A trial under way: everything announced and probed, and nothing has happened yet."""

    def __init__(self, lab: Lab, *, bfd: bool, hold_time_s: int) -> None:
        self.ring = Ring(lab, addresses=SHARED)
        self.fabric = Fabric(self.ring)
        self.nodes = {host: Speaking(host) for host in self.ring.hosts}
        ms = BFD_MS if bfd else 0
        self.fabric.frr.start(self.fabric.nodes(bfd_ms=ms, hold_time_s=hold_time_s))
        profile = BFDProfile(
            name="fast", receive_interval_ms=BFD_MS, transmit_interval_ms=BFD_MS, detect_multiplier=TIMES
        )
        place = {"address": self.fabric.address(self.fabric.frr), "asn": FRR_ASN}
        times = {"hold_time_s": hold_time_s, "keepalive_time_s": hold_time_s // 3}
        self.neighbours = {TOR: peer(TOR, bfd=profile if bfd else None, **place, **times)}
        self.routes = {f"{address}/32": {TOR: Attributes()} for address in SHARED}
        for node in self.nodes.values():
            node.start()
            node.want(self.neighbours, self.routes)
        self.fabric.frr.wait_steady(for_s=3 * CALM_S)
        self.wait_ways(*self.ring.hosts)

    def wait_ways(self, *hosts: Host) -> None:
        """Wait until the router sends to just these nodes, whatever the address."""
        wanted = {self.fabric.node(host) for host in hosts}

        def there() -> bool:
            return all(self.fabric.frr.kernel_next_hops(address) == wanted for address in SHARED)

        wait_until(there, DEADLINE_S, what=f"the router to send to {wanted}", every_ms=20)

    def others(self, victim: Host) -> list[Host]:
        return [host for host in self.ring.hosts if host is not victim]


def die(play: Play, victim: Host) -> None:
    play.ring.freeze(victim)
    play.wait_ways(*play.others(victim))


def cut(play: Play, victim: Host) -> None:
    play.ring.cut(victim, Cut.WIRE)
    play.wait_ways(*play.others(victim))


def kill(play: Play, victim: Host) -> None:
    play.nodes[victim].daemon.kill()
    play.wait_ways(*play.others(victim))


def drain(play: Play, victim: Host) -> None:
    play.nodes[victim].drain()
    play.wait_ways(*play.others(victim))
    play.nodes[victim].want(play.neighbours)
    wait_until(lambda: play.fabric.frr.count() == len(SHARED) * len(play.others(victim)), DEADLINE_S)


def leave(play: Play, victim: Host) -> None:
    play.nodes[victim].leave(withdraw=True)
    play.wait_ways(*play.others(victim))


@dataclass(frozen=True)
class Way:
    """What happens, to whom BFD looks or not, and the longest outage that it may be."""

    name: str
    happen: Callable[[Play, Host], None]
    bfd: bool
    at_most_ms: float
    hold_time_s: int = 90


WAYS = (
    Way(f"node dies, BFD {BFD_MS} ms x {TIMES}", die, bfd=True, at_most_ms=400),
    Way(f"node cut off, BFD {BFD_MS} ms x {TIMES}", cut, bfd=True, at_most_ms=400),
    Way("node dies, hold time 3 s", die, bfd=False, at_most_ms=3000, hold_time_s=3),
    Way("gobgpd is killed", kill, bfd=False, at_most_ms=0),
    Way("node is drained", drain, bfd=True, at_most_ms=0),
    Way("speaker withdraws and ends", leave, bfd=True, at_most_ms=0),
)


def test_withdraw(ledger: Ledger, trials: Rounds) -> None:
    ledger.number = "p99"
    for way in trials(WAYS, lambda way: way.name):
        try:
            with Lab() as lab:
                outage_ms, disturbed = _try(Play(lab, bfd=way.bfd, hold_time_s=way.hold_time_s), way)
        except (DeadlineError, ProcessFailed) as error:
            ledger.notes.append(f"{way.name}: a trial went wrong: {str(error).splitlines()[0]}")
            continue
        ledger.add(f"{way.name}: outage", "arpfast", outage_ms, "ms")
        ledger.add(f"{way.name}: lost by others", "arpfast", disturbed, "probes")
    for way in WAYS:
        for what, unit, goal in (("outage", "ms", way.at_most_ms), ("lost by others", "probes", 0)):
            if values := ledger.of(f"{way.name}: {what}", "arpfast").values:
                ledger.judge(f"{way.name}: {what}", "arpfast", values, unit, at_most=goal)


def _try(play: Play, way: Way) -> tuple[float, int]:
    """The longest outage of what the victim answered, and how many probes to others were lost."""
    with Traffic.start(play.ring.client, SHARED, live=True) as traffic:
        reached = {address: traffic.wait_answered(address, deadline_s=DEADLINE_S) for address in SHARED}
        time.sleep(random.uniform(0, 2 * BFD_MS / 1e3))
        victim = play.ring.at(reached[SHARED[0]])
        way.happen(play, victim)
        wait_until(partial(_calm, traffic), DEADLINE_S, what="every address to be answered", every_ms=20)
        time.sleep(CALM_S)
        delivered = traffic.stop()
    return _longest(delivered, reached, victim), sum(
        outage.lost for outage in delivered.outages if reached[outage.address] != victim.number
    )


def _calm(traffic: Traffic) -> bool:
    away: set[str] = set()
    for event in traffic.events():
        if event.event == "lost":
            away.add(event.address)
        elif event.event == "back":
            away.discard(event.address)
    return not away


def _longest(delivered: Delivered, reached: dict[str, int], victim: Host) -> float:
    return max((one.ms for one in delivered.outages if reached[one.address] == victim.number), default=0.0)
