"""What ten thousand Services cost speakers and controller: memory, and processor time while nothing happens.

Three nodes with a speaker each; every Service has an EndpointSlice, and each node answers for a third of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.town import Town, idle_percent
from lab import Lab

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

COUNT = 10_000
IDLE_S = 30.0


def test_many(ledger: Ledger, rounds: Rounds) -> None:
    for _ in rounds((f"{COUNT:,} Services",), str):
        with Lab() as lab:
            town = Town(lab)
            town.make_pool()
            town.begin_controller()
            town.wait_lead()
            town.settle_nodes()
            town.write(COUNT, "slice", "service")
            town.wait_given(COUNT)
            time.sleep(10)  # for statuses and Events that follow
            speakers = [speaker.process for speaker in town.speakers.values()]
            for process in speakers:
                ledger.add(f"{COUNT:,} Services: memory", "speaker", process.rss_bytes() / 2**20, "MiB")
            ledger.add(f"{COUNT:,} Services: memory", "controller", town.controller.rss_bytes() / 2**20, "MiB")
            ledger.add(f"{COUNT:,} Services: idle", "speaker", idle_percent(speakers, IDLE_S), "%")
            ledger.add(f"{COUNT:,} Services: idle", "controller", idle_percent([town.controller], IDLE_S), "%")
    for case, who, unit, most in (
        (f"{COUNT:,} Services: memory", "speaker", "MiB", 120),
        (f"{COUNT:,} Services: memory", "controller", "MiB", 150),
        (f"{COUNT:,} Services: idle", "speaker", "%", 0.5),
    ):
        ledger.judge(case, who, ledger.of(case, who).values, unit, at_most=most)
