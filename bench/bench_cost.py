"""What it costs to answer: processor time a million replies, of the whole machine, and memory.

A steady 50 000 requests a second come in batches of a millisecond, and both cores are idle in between. What they are
not idle for is read from /proc/stat, where the kernel counts idleness to the nanosecond, and so has everything in it:
the answerer, the system calls, the softirqs that nobody's process is charged for. The same load that is dropped on
arrival (`silence`) is taken off, in the same round: what remains is receiving by the stack, answering, and the
answer's way back. Negative is possible, and means too little to be seen. Memory is what the process has resident, and
what the kernel holds for its maps and programs.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.answerers import BACKENDS, Arpfast, Kernel, Other, Reflector, Vrrp, present
from bench.stage import GENERATOR, Pool, staged
from lab import Process
from lab.generator import Flood
from lab.peers import attach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from bench.stage import Stage

POOLS = {"ARP": Pool.of("10.1.0.0/28"), "ND": Pool.of("2001:db8::100/124")}
RATE_PER_S = 50_000
SECONDS = 2.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Silence:
    """Nobody: what comes is dropped as soon as it is there."""

    name: str = "silence"

    def obstacle(self) -> str | None:
        """It takes XDP, as the generator does."""
        return None

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[None]:
        """Whatever the pool."""
        del pool
        attach(stage.far, "drop")
        yield


SILENCE = Silence()
BOTH: tuple[Answerer, ...] = (
    Arpfast(), *BACKENDS, Kernel(), Other("cloop"), Other("goresponder"), Vrrp(), Reflector()
)  # fmt: skip
ONLY = {"ND": [Other("ndppd")]}


def test_cost(ledger: Ledger, rounds: Rounds) -> None:
    there = present(BOTH, ledger)
    cases = [(family, who) for family in POOLS for who in (*there, *ONLY.get(family, ()))]
    for family, who in rounds(cases, lambda one: f"{one[0]}: {one[1].name}"):
        silent_s, _ = _busy(family, SILENCE)
        busy_s, replies = _busy(family, who, ledger)
        ledger.add(f"{family}, a million replies", who.name, (busy_s - silent_s) / replies * 1e6, "s")
    for family in POOLS:
        ledger.compare(f"{family}, a million replies", "arpfast", "cloop", at_most=1)


def _busy(family: str, who: Answerer, ledger: Ledger | None = None) -> tuple[float, int]:
    """Seconds of processor time that a flood took, both cores together; and the replies to it."""
    with staged() as stage, who.on(stage, POOLS[family]) as process:
        if ledger and isinstance(process, Process):
            ledger.add(f"{family}, memory of the process", who.name, process.rss_bytes() / 2**20, "MiB")
            ledger.add(f"{family}, memory in the kernel", who.name, _kernel_bytes(process) / 2**20, "MiB")
        flood = Flood.start(
            stage.near, POOLS[family].first, POOLS[family].count, random=True, cpus={GENERATOR}, engine="socket",
            rate_per_s=RATE_PER_S, doze_s=0.001, seconds=SECONDS,
        )  # fmt: skip
        idle_s, began_s = _idle_s(), time.monotonic()
        time.sleep(SECONDS - 0.2)
        busy_s = 2 * (time.monotonic() - began_s) - (_idle_s() - idle_s)
        flooded = flood.wait()
    return busy_s / (SECONDS - 0.2) * flooded.seconds, flooded.replies


def _idle_s() -> float:
    """How long both cores have been idle since the start."""
    lines = re.findall(r"^cpu[01] +(.*)$", Path("/proc/stat").read_text(), re.MULTILINE)
    return sum(TICK_S * (int(line.split()[3]) + int(line.split()[4])) for line in lines)


def _kernel_bytes(process: Process) -> int:
    """What it holds in the kernel by maps and programs of BPF."""
    total = 0
    for path in Path(f"/proc/{process.pid}/fdinfo").iterdir():
        found = re.search(r"^memlock:\s+(\d+)$", path.read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total
