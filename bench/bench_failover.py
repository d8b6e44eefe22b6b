"""How long an address is away when its owner fails, and whether it ever has two owners, beside keepalived.

As the client sees it: behind a router, probing every 2 ms. A row is an event and a number of addresses; what a
number means stands with the measure in `mishaps.py`. Judged by the 99th percentile, which is the longest below a
hundred trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import mishaps
from bench.contenders import CONTENDERS, Contender
from bench.mishaps import Outcome, Play, trial
from lab import DeadlineError, ProcessFailed
from lab.ring import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.conftest import Rounds
    from bench.ledger import Ledger

ONE, MANY = pool(1), pool(1000)
PROFILES = ("arpfast", "arpfast fast")


@dataclass(frozen=True)
class Row:
    """An event, and what is measured of it: each with its unit, and the most that either profile may show, if any."""

    name: str
    mishap: Callable[[Play], None]
    measures: Mapping[Callable[[Outcome], float], tuple[str, str, tuple[float, float] | None]]
    addresses: tuple[str, ...] = ONE


NONE = (0.0, 0.0)
ROWS = [
    Row("cable cut", mishaps.cut, {Outcome.outage: ("outage", "ms", (1000, 100))}),
    Row("cut, carrier kept", mishaps.cut_unnoticed, {Outcome.outage: ("outage", "ms", (1000, 100))}),
    Row("killed", mishaps.kill, {
        Outcome.moved: ("taken over after", "ms", (1000, 100)),
        Outcome.outage: ("outage", "ms", (1000, 100)),
        Outcome.two_owners: ("two owners for", "ms", None),
    }),
    Row("frozen", mishaps.freeze, {
        Outcome.outage: ("outage", "ms", (1000, 150)),
        Outcome.outage_after: ("outage when it goes on", "ms", None),
        Outcome.two_owners_after: ("two owners when it goes on, for", "ms", NONE),
    }),
    Row("gossip cut", mishaps.part_gossip, {
        Outcome.taken: ("addresses taken over", "", NONE),
        Outcome.lost: ("lost", "probes", NONE),
        Outcome.two_owners: ("two owners for", "ms", NONE),
    }),
    Row("owner parted", mishaps.part_owner, {
        Outcome.outage: ("outage", "ms", (1000, 100)),
        Outcome.two_owners_after: ("two owners after healing, for", "ms", (1000, 1000)),
        Outcome.outage_after: ("outage after healing", "ms", None),
    }),
    Row("others parted", mishaps.part_others, {
        Outcome.outage: ("outage", "ms", None),
        Outcome.two_owners_after: ("two owners after healing, for", "ms", (1000, 1000)),
    }),
    Row("drained", mishaps.drain, {Outcome.lost: ("lost", "probes", NONE)}),
    Row("ended", mishaps.stop, {Outcome.lost: ("lost", "probes", NONE)}),
    Row("rolling restart", mishaps.roll, {Outcome.lost: ("lost", "probes", NONE)}),
    Row("cable cut, 1 000 addresses", mishaps.cut_gathered, {
        Outcome.outage: ("outage", "ms", (1100, 150)),
        Outcome.spread: ("first to last back", "ms", (100, 150)),
    }, MANY),
]  # fmt: skip


def test_failover(ledger: Ledger, trials: Rounds) -> None:
    ledger.number = "p99"
    contenders = []
    for contender in CONTENDERS:
        if reason := contender.obstacle():
            ledger.notes.append(f"{contender.name} was not measured: {reason}")
        else:
            contenders.append(contender)
    cases = [(row, contender) for row in ROWS for contender in contenders if _possible(row, contender)]
    for row, contender in trials(cases, lambda case: f"{case[0].name}: {case[1].name}"):
        try:
            outcome = trial(contender, row.mishap, row.addresses)
        except (DeadlineError, ProcessFailed) as error:
            ledger.notes.append(f"{row.name}: {contender.name}: a trial went wrong: {str(error).splitlines()[0]}")
            continue
        for measure, (what, unit, _) in row.measures.items():
            ledger.add(f"{row.name}: {what}", contender.name, measure(outcome), unit)
    for row in ROWS:
        for what, unit, goals in row.measures.values():
            for who, goal in zip(PROFILES, goals or (), strict=False):
                case = f"{row.name}: {what}"
                if (case, who) in {(series.case, series.who) for series in ledger.series}:
                    ledger.judge(case, who, ledger.of(case, who).values, unit, at_most=goal)


def _possible(row: Row, contender: Contender) -> bool:
    """Keepalived cannot be drained: what comes closest is to end it."""
    return row.mishap is not mishaps.drain or contender.name in PROFILES
