"""Replies a second under a flood, own core, by the number of addresses: a pool must not cost more than one address.

One range of settings each, asked for at random; whoever cannot have so many is not there. `bench_answer.py` has
addresses that are strewn about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import BACKENDS, Arpfast, Kernel, Other, Reflector, present
from bench.ledger import Curve
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger

FIRST = {"ARP": "10.16.0.0", "ND": "2001:db8::1:0:0"}
COUNTS = (1, 1 << 10, 1 << 17, 1 << 20)
OURS = (Arpfast(), *BACKENDS)
BOTH: tuple[Answerer, ...] = (*OURS, Other("cloop"), Reflector())
ONLY = {"ARP": [Kernel(), Other("goresponder")]}
"""A kernel has a route for each IPv6 address, and who answers from a socket of IPv6 joins a group for it."""


def test_sizes(ledger: Ledger, rounds: Rounds) -> None:
    there = present(BOTH, ledger)
    cases = [
        (family, who, count) for family in FIRST for who in (*there, *ONLY.get(family, ())) for count in COUNTS
    ]  # fmt: skip
    for family, who, count in rounds(cases, lambda one: f"{one[0]}, {one[2]:,} addresses: {one[1].name}"):
        pool = Pool(FIRST[family], count)
        with staged() as stage, who.on(stage, pool):
            flooded = stage.flood(pool)
        ledger.add(f"{family}: {who.name}", f"{count:,}", flooded.replies_per_s, "1/s")
        curve = Curve(f"{family}: replies a second by number of addresses", who.name, "addresses", "", "1/s")
        ledger.trace(curve, count, count, flooded.replies_per_s)
    for family in FIRST:
        for who in OURS:
            for count in COUNTS[1:]:
                ledger.compare(f"{family}: {who.name}", f"{count:,}", f"{COUNTS[0]:,}", at_least=0.9)
