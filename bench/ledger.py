"""What was measured, by case and answerer, one value a round; and what it comes to.

A ratio is taken within a round, between neighbours in time, and its median and spread are over the rounds: the machine
may become slower in the course of a run without anybody looking worse. A goal is stated with the ratio or the value
that it bounds. Where it is the worst that matters, the number is the 99th percentile instead of the median. Written as
JSON, one file a question.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).parent / "results"


Number = Literal["median", "p99"]


class Series(msgspec.Struct):
    """The values of one answerer in one case, in the order of the rounds."""

    case: str
    who: str
    unit: str
    values: list[float] = []


class Finding(msgspec.Struct):
    """A number that has a goal, with the extremes over the rounds."""

    case: str
    what: str
    unit: str
    number: Number
    value: float
    least: float
    most: float
    goal: str
    met: bool


class Ledger(msgspec.Struct):
    """All about one question."""

    question: str
    title: str
    number: Number = "median"
    series: list[Series] = []
    findings: list[Finding] = []
    notes: list[str] = []

    def add(self, case: str, who: str, value: float, unit: str) -> None:
        """Note what this round gave."""
        self.of(case, who, unit).values.append(value)

    def of(self, case: str, who: str, unit: str | None = None) -> Series:
        """The series, made if there is none and a unit is given; else an empty one."""
        for series in self.series:
            if (series.case, series.who) == (case, who) and unit in {None, series.unit}:
                return series
        found = Series(case, who, unit or "")
        if unit is not None:
            self.series.append(found)
        return found

    def judge(
        self, case: str, what: str, values: Sequence[float], unit: str, *,
        at_least: float | None = None, at_most: float | None = None,
    ) -> None:  # fmt: skip
        """State a number, and whether its median, or what counts here instead, reaches the goal. Nothing of nothing."""
        if not values:
            return
        value = reduce(values, self.number)
        if at_least is not None:
            goal, met = f"≥ {shown(at_least, unit)}", value >= at_least
        else:
            assert at_most is not None
            goal, met = f"≤ {shown(at_most, unit)}", value <= at_most
        self.findings.append(Finding(case, what, unit, self.number, value, min(values), max(values), goal, met))

    def compare(
        self, case: str, who: str, other: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """State the ratio of two answerers, round by round."""
        one, two = self.of(case, who).values, self.of(case, other).values
        if not one or not two:
            return
        pairs = zip(one, two, strict=True)
        ratios = [a / b if b else float("inf") for a, b in pairs]
        self.judge(case, f"{who} / {other}", ratios, "x", at_least=at_least, at_most=at_most)

    def save(self) -> None:
        """Write it where the report finds it."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.question}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def reduce(values: Sequence[float], number: Number) -> float:
    """The median; or the 99th percentile by nearest rank, which is the largest of less than a hundred."""
    return median(values) if number == "median" else sorted(values)[-(-99 * len(values) // 100) - 1]


def shown(value: float, unit: str) -> str:
    """A number as people read it."""
    match unit:
        case "x":
            return f"{value:.2f}" if value < 100 else f"{value:.0f}"
        case "%":
            return f"{value:.4g} %" if value < 99.9 or value == 100 else f"{value:.3f} %"
        case "1/s":
            return f"{value / 1e3:.0f} k/s" if value >= 10_000 else f"{value:.0f}/s"
        case "ms" if value >= 1000:
            return f"{value / 1e3:.3g} s"
        case _:
            return f"{value:.3g} {unit}"


def table(ledgers: Sequence[Ledger]) -> Iterator[str]:
    """What has a goal, as lines of text; then all that was measured."""
    row = "{:<9} {:<47} {:<30} {:>11} {:>23}  {:<12} {}".format
    yield row("question", "case", "what", "median / p99", "least - most", "goal", "").rstrip()
    for ledger in ledgers:
        for found in ledger.findings:
            span = f"{shown(found.least, found.unit)} - {shown(found.most, found.unit)}"
            value = shown(found.value, found.unit)
            met = "met" if found.met else "MISSED"
            yield row(ledger.question, found.case, found.what, value, span, found.goal, met)
    for ledger in ledgers:
        yield ""
        yield f"{ledger.question}: {ledger.title}"
        for series in sorted(ledger.series, key=lambda one: one.case):
            span = f"{shown(min(series.values), series.unit)} - {shown(max(series.values), series.unit)}"
            middle = shown(median(series.values), series.unit)
            p99 = f"p99 {shown(reduce(series.values, 'p99'), series.unit)}" if ledger.number == "p99" else ""
            yield row("", series.case, series.who, middle, span, p99, "").rstrip()
        yield from (f"          {note}" for note in ledger.notes)
