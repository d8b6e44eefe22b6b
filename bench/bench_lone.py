"""How long a request waits for its answer: a lone one, a millisecond apart; and a polite one amid a flood.

On the other core, the asker spins on core 0, so its own wake-up is not in the time, and the answerer must be woken on
core 1. On the same core, all is on core 1 and the asker sleeps, as real ones do. Amid a flood, the generator floods
from core 0 and asks for another source a thousand times a second in the same stream: what is not answered is not timed,
so that share stands beside it. p99.9 is of two thousand: a round's is nearly its worst, the median of rounds says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import BOTH, Other, present
from bench.stage import ANSWERER, GENERATOR, Pool, staged
from lab.generator import time_lone

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

POOLS = {"ARP": Pool.of("10.1.0.0/28"), "ND": Pool.of("2001:db8::100/124")}
ONLY = {"ND": [Other("ndppd")]}
FLOOD = "in a flood"
WHERE = {"asker on the other core": GENERATOR, "asker on the same core": ANSWERER}
ASKS = 2000


def test_lone(ledger: Ledger, rounds: Rounds) -> None:
    there = present(BOTH, ledger)
    cases = [
        (family, where, who)
        for family in POOLS for where in (*WHERE, FLOOD) for who in (*there, *ONLY.get(family, ()))
    ]  # fmt: skip
    for family, where, who in rounds(cases, lambda one: f"{one[0]}, {one[1]}: {one[2].name}"):
        pool = POOLS[family]
        with staged() as stage, who.on(stage, pool):
            if where == FLOOD:
                flooded = stage.flood(pool, seconds=2.0, polite_every_s=0.001)
                share = 100 * flooded.polite_answered / max(flooded.polite_asked, 1)
                ledger.add(f"{family}, {where}, answered", who.name, share, "%")
                took = (flooded.polite_median_ns, flooded.polite_p99_ns, flooded.polite_p999_ns)
                if not flooded.polite_answered:
                    continue
            else:
                core = WHERE[where]
                with stage.receiving():
                    times = time_lone(
                        stage.near, pool.first, pool.count, asks=ASKS, spin=core == GENERATOR, cpus={core}
                    )
                assert times.answered > 0.9 * ASKS
                took = (times.median_ns, times.p99_ns, times.p999_ns)
        for number, ns in zip(("median", "p99", "p99.9"), took, strict=True):
            ledger.add(f"{family}, {where}, {number}", who.name, ns / 1e3, "us")
    for family in POOLS:
        for where in WHERE:
            for number in ("median", "p99"):
                ledger.compare(f"{family}, {where}, {number}", "arpfast", "cloop", at_most=1.2)
            ledger.compare(f"{family}, {where}, median", "arpfast tc", "kernel", at_most=1)
