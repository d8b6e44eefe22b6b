"""Replies a second under a flood, the answerer on a core of its own.

A closed loop: generator and reception have core 0 together, and offer what that core can take. Who leaves it less to
do is offered more. The kernel answers right there, on core 0, where it receives; core 1 is then idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import Arpfast, Kernel, Other
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

ARP, ND = Pool.of("10.1.0.0/22"), Pool.of("2001:db8::100/124")
CASES = [
    *(("ARP, 1 024 addresses", ARP, who) for who in (Arpfast(), Kernel(), Other("cloop"), Other("farpd"))),
    *(("ND, 16 addresses", ND, who) for who in (Arpfast(), Kernel(), Other("cloop"), Other("ndppd"))),
]


def test_flood(ledger: Ledger, rounds: Rounds) -> None:
    for case, pool, who in rounds(CASES, lambda one: f"{one[0]}: {one[2].name}"):
        with staged() as stage, who.on(stage, pool):
            flooded = stage.flood(pool)
        ledger.add(case, who.name, flooded.replies_per_s, "1/s")
        ledger.add(f"{case}, share of what arrived", who.name, 100 * flooded.replies / flooded.arrived, "%")
    for case in ("ARP, 1 024 addresses", "ND, 16 addresses"):
        ledger.compare(case, "arpfast", "kernel", at_least=0.9)
        ledger.compare(case, "arpfast", "cloop", at_least=1.5)
    ledger.compare("ND, 16 addresses", "arpfast", "ndppd", at_least=5)
    ledger.compare("ARP, 1 024 addresses", "arpfast", "farpd", at_least=5)
