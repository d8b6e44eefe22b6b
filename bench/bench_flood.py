"""Replies a second under a flood, the answerer on a core of its own.

A closed loop: generator and reception have core 0 together, and offer what that core can take. Who leaves it less to
do is offered more. The kernel answers right there, on core 0, where it receives; core 1 is then idle. farpd has a case
of its own: asked for a thousand addresses at once, it never comes to the end of finding out whether they are free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import BACKENDS, Arpfast, Kernel, Other, Reflector, Vrrp, present
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger

ARP, FEW, ND = "ARP, 1 024 addresses", "ARP, 16 addresses", "ND, 16 addresses"
POOLS = {ARP: Pool.of("10.1.0.0/22"), FEW: Pool.of("10.1.0.0/28"), ND: Pool.of("2001:db8::100/124")}
BOTH: tuple[Answerer, ...] = (Arpfast(), *BACKENDS, Kernel(), Other("cloop"), Other("goresponder"), Vrrp(), Reflector())
ONLY_ONE: tuple[tuple[str, Answerer], ...] = (FEW, Arpfast()), (FEW, Other("farpd")), (ND, Other("ndppd"))


def test_flood(ledger: Ledger, rounds: Rounds) -> None:
    there = present(BOTH, ledger)
    cases = [*((case, who) for case in (ARP, ND) for who in there), *ONLY_ONE]
    for case, who in rounds(cases, lambda one: f"{one[0]}: {one[1].name}"):
        with staged() as stage, who.on(stage, POOLS[case]):
            flooded = stage.flood(POOLS[case])
        ledger.add(case, who.name, flooded.replies_per_s, "1/s")
        if flooded.arrived:
            ledger.add(f"{case}, share of what arrived", who.name, 100 * flooded.replies / flooded.arrived, "%")
    for case in POOLS:
        ledger.compare(case, "arpfast", "kernel", at_least=0.9)
        ledger.compare(case, "arpfast", "cloop", at_least=1.5)
        ledger.compare(case, "arpfast xdp-generic", "kernel", at_least=1)
        ledger.compare(case, "arpfast tc", "arpfast", at_least=1.7)
    ledger.compare(ARP, "arpfast xdp", "reflector", at_least=0.95)
    ledger.compare(ND, "arpfast xdp", "reflector", at_least=0.75)
    ledger.compare(ARP, "arpfast xdp", "kernel", at_least=5)
    ledger.compare(ND, "arpfast", "ndppd", at_least=5)
    ledger.compare(FEW, "arpfast", "farpd", at_least=5)
