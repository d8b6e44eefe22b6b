"""The polite client: how many of its requests are answered while one MAC floods an address that we answer for.

The polite source asks 50 times a second (at 10 a second, as a host may, a run would last for hours) in the same stream
as the flood, so it shares the flood's fate on the way. The guard allows each MAC 1 000 answers a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import GUARDED, QUIET, Arpfast, Other, present
from bench.stage import Placement, Pool, staged

if TYPE_CHECKING:
    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger

POOL = Pool.of("10.1.0.0/22")
GUARD = Arpfast("arpfast, guard", GUARDED)
XDP, TC = (Arpfast(f"arpfast {backend}, guard", GUARDED, backend=backend) for backend in ("xdp", "tc"))
ANSWERERS: tuple[Answerer, ...] = (
    GUARD, XDP, TC, Arpfast("arpfast, no guard", QUIET), Other("cloop"), Other("goresponder")
)  # fmt: skip
LEAST_SHARE = {
    GUARD.name: {Placement.OWN: 99.9, Placement.SHARED: 99.0, Placement.OVERRUN: 25.0},
    XDP.name: {Placement.OWN: 99.9, Placement.SHARED: 99.9, Placement.OVERRUN: 75.0},
}
LONGEST_US = {GUARD.name: 1000, XDP.name: 300}


def test_polite(ledger: Ledger, rounds: Rounds) -> None:
    cases = [(placement, who) for placement in Placement for who in present(ANSWERERS, ledger)]
    for placement, who in rounds(cases, lambda one: f"{one[0].value}: {one[1].name}"):
        with staged(placement) as stage, who.on(stage, POOL):
            flooded = stage.flood(POOL, seconds=4.0, polite_every_s=0.02)
        ledger.add(f"{placement.value}, answered", who.name, 100 * flooded.polite_answered / flooded.polite_asked, "%")
        if flooded.polite_answered:
            ledger.add(f"{placement.value}, p99", who.name, flooded.polite_p99_ns / 1e3, "us")
        ledger.add(f"{placement.value}, flood", who.name, flooded.offered / flooded.seconds, "1/s")
    for name, shares in LEAST_SHARE.items():
        for placement, share in shares.items():
            case = f"{placement.value}, answered"
            ledger.judge(case, name, ledger.of(case, name).values, "%", at_least=share)
        case = f"{Placement.OVERRUN.value}, p99"
        ledger.judge(case, name, ledger.of(case, name).values, "us", at_most=LONGEST_US[name])
