"""The share of 100 000 requests a second that is answered, the answerer on a core of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.answerers import Arpfast, Kernel, Other
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger

POOL = Pool.of("10.1.0.0/22")
RATE_PER_S = 100_000
ANSWERERS: list[Answerer] = [Arpfast(), Kernel(), Other("cloop")]


def test_share(ledger: Ledger, rounds: Rounds) -> None:
    for who in rounds(ANSWERERS, lambda one: one.name):
        with staged() as stage, who.on(stage, POOL):
            flooded = stage.flood(POOL, rate_per_s=RATE_PER_S, seconds=2.0)
        ledger.add("answered", who.name, 100 * flooded.replies / flooded.offered, "%")
        ledger.add("offered", who.name, flooded.offered / flooded.seconds, "1/s")
    ledger.judge("100 000 requests/s", "arpfast", ledger.of("answered", "arpfast").values, "%", at_least=99.99)
