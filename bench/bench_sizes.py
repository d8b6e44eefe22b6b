"""Replies a second under a flood, own core, by the number of addresses: a pool must not cost more than one address.

One range of settings each, asked for at random. `bench_answer.py` has addresses that are strewn about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import Arpfast
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

COUNTS = (1, 1_000, 100_000, 1_000_000)


def test_sizes(ledger: Ledger, rounds: Rounds) -> None:
    for count in rounds(COUNTS, lambda one: f"{one:,} addresses"):
        pool = Pool("10.0.0.1", count)
        with staged() as stage, Arpfast().on(stage, pool):
            flooded = stage.flood(pool)
        ledger.add("replies", f"{count:,}", flooded.replies_per_s, "1/s")
    for count in COUNTS[1:]:
        ledger.compare("replies", f"{count:,}", f"{COUNTS[0]:,}", at_least=0.9)
