"""How long a lone request waits for its answer: one at a time, a millisecond apart.

On the other core, the asker spins on core 0, so its own wake-up is not in the time, and the answerer must be woken on
core 1. On the same core, all is on core 1 and the asker sleeps, as real ones do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import Arpfast, Kernel, Other
from bench.stage import ANSWERER, GENERATOR, Pool, staged
from lab.generator import time_lone

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

ARP, ND = Pool.of("10.1.0.0/22"), Pool.of("2001:db8::100/124")
CASES = [
    *((family, pool, core, who) for family, pool in (("ARP", ARP),) for core in (GENERATOR, ANSWERER)
      for who in (Arpfast(), Other("cloop"), Kernel())),
    *(("ND", ND, core, who) for core in (GENERATOR, ANSWERER) for who in (Arpfast(), Other("cloop"), Other("ndppd"))),
]  # fmt: skip
WHERE = {GENERATOR: "asker on the other core", ANSWERER: "asker on the same core"}
ASKS = 1000


def test_lone(ledger: Ledger, rounds: Rounds) -> None:
    for family, pool, core, who in rounds(CASES, lambda one: f"{one[0]}, {WHERE[one[2]]}: {one[3].name}"):
        with staged() as stage, who.on(stage, pool):
            times = time_lone(stage.near, pool.first, pool.count, asks=ASKS, spin=core == GENERATOR, cpus={core})
        assert times.answered > 0.9 * ASKS
        ledger.add(f"{family}, {WHERE[core]}, median", who.name, times.median_ns / 1e3, "us")
        ledger.add(f"{family}, {WHERE[core]}, p99", who.name, times.p99_ns / 1e3, "us")
    for family in ("ARP", "ND"):
        for where in WHERE.values():
            for number in ("median", "p99"):
                ledger.compare(f"{family}, {where}, {number}", "arpfast", "cloop", at_most=1.2)
