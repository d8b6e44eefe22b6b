"""Replies a second against requests a second, up to all that the generator can make; and how long a polite one waits.

Each answerer is offered one load after the other, in random order, and keeps a core of its own (`bench_flood.py` says
what that means). On the way, one source asks now and then in the same stream, and its answers are timed. Two figures a
family: what comes back, and after how long half of the polite requests were answered.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bench.answerers import BOTH, Other, present
from bench.ledger import Curve
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from bench.stage import Stage

POOLS = {"ARP": Pool.of("10.1.0.0/28"), "ND": Pool.of("2001:db8::100/124")}
ONLY = {"ND": [Other("ndppd")]}
LOADS_PER_S = (3_000.0, 10_000.0, 30_000.0, 100_000.0, 300_000.0, 1_000_000.0, 3_000_000.0, None)
MOST = 1e9
"""Stands for flat out where loads are put in order."""
SECONDS = 0.6
POLITE_EVERY_S = 0.002


def test_curve(ledger: Ledger, rounds: Rounds) -> None:
    there = present(BOTH, ledger)
    cases = [(family, who) for family in POOLS for who in (*there, *ONLY.get(family, ()))]
    for family, who in rounds(cases, lambda one: f"{one[0]}: {one[1].name}"):
        with staged() as stage, who.on(stage, POOLS[family]):
            for load in random.sample(LOADS_PER_S, len(LOADS_PER_S)):
                _measure(ledger, family, who.name, load, stage)


def _measure(ledger: Ledger, family: str, who: str, load: float | None, stage: Stage) -> None:
    flooded = stage.flood(POOLS[family], rate_per_s=load, seconds=SECONDS, polite_every_s=POLITE_EVERY_S)
    offered_per_s, aim = flooded.offered / flooded.seconds, load or MOST
    asked = "requests a second"
    answered = Curve(f"{family}: replies a second", who, asked, "1/s", "1/s")
    ledger.trace(answered, aim, offered_per_s, flooded.replies_per_s)
    share = Curve(f"{family}: share answered", who, asked, "1/s", "%")
    ledger.trace(share, aim, offered_per_s, 100 * flooded.replies / max(flooded.offered, 1))
    if flooded.polite_answered:
        waited = Curve(f"{family}: a polite request waits, median", who, asked, "1/s", "us")
        ledger.trace(waited, aim, offered_per_s, flooded.polite_median_ns / 1e3)
