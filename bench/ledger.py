"""What was measured, by case and answerer, one value a round; and what it comes to.

A ratio is taken within a round, between neighbours in time, and its median and spread are over the rounds: the machine
may become slower in the course of a run without anybody looking worse. A goal is stated with the ratio or the value
that it bounds. Where it is the worst that matters, the number is the 99th percentile instead of the median. Written as
JSON, one file a question, with the machine that it was measured on.

How sure a median is says its confidence interval by order statistics, which supposes nothing about how values are
spread: between the k-th least and the k-th most of n, it misses the true median with the chance that fewer than k of n
tosses of a coin come up heads, twice. k is the largest for which that is at most 5 %; below six values even the
extremes miss it more often, and they are given with the confidence that they have.
"""

from __future__ import annotations

from math import comb
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from bench.machine import Machine, here

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


class Point(msgspec.Struct):
    """One place of a curve: what was aimed at, and what came of it in each round."""

    aim: float
    xs: list[float] = []
    ys: list[float] = []


class Curve(msgspec.Struct):
    """One answerer's line in a figure."""

    figure: str
    who: str
    x: str
    """What the axis is, in words."""
    x_unit: str
    unit: str
    points: list[Point] = []


class Finding(msgspec.Struct):
    """A number that has a goal, and how sure it is."""

    case: str
    what: str
    unit: str
    number: Number
    value: float
    low: float
    high: float
    """The confidence interval of a median; the extremes where it is the worst that counts."""
    goal: str
    met: bool


class Ledger(msgspec.Struct):
    """All about one question."""

    question: str
    title: str
    number: Number = "median"
    series: list[Series] = []
    curves: list[Curve] = []
    findings: list[Finding] = []
    notes: list[str] = []
    machine: Machine | None = None

    def add(self, case: str, who: str, value: float, unit: str) -> None:
        """Note what this round gave."""
        self.of(case, who, unit).values.append(value)

    def trace(self, curve: Curve, aim: float, x: float, y: float) -> None:
        """Note a point that this round gave, of the curve of this figure and answerer; the first to do so brings it."""
        of = next((one for one in self.curves if (one.figure, one.who) == (curve.figure, curve.who)), None)
        if of is None:
            self.curves.append(of := curve)
        point = next((one for one in of.points if one.aim == aim), None)
        if point is None:
            of.points.append(point := Point(aim))
        point.xs.append(x)
        point.ys.append(y)

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
        low, high = interval(values)[:2] if self.number == "median" else (min(values), max(values))
        self.findings.append(Finding(case, what, unit, self.number, value, low, high, goal, met))

    def compare(
        self, case: str, who: str, other: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """State the ratio of two answerers, round by round; to nothing there is none, which is said instead."""
        one, two = self.of(case, who).values, self.of(case, other).values
        pairs = list(zip(one, two, strict=False))  # a run that was cut short leaves one of them with a round less
        ratios = [a / b for a, b in pairs if b]
        if silent := len(pairs) - len(ratios):
            self.notes.append(f"{case}: {other} came to nothing in {silent} of {len(pairs)} rounds")
        self.judge(case, f"{who} / {other}", ratios, "x", at_least=at_least, at_most=at_most)

    @classmethod
    def resumed(cls, question: str, title: str) -> Self:
        """What was measured of the question before, if anything, without what was made of it."""
        path = RESULTS / f"{question}.json"
        if not path.exists():
            return cls(question, title)
        found = msgspec.json.decode(path.read_bytes(), type=cls)
        found.title, found.findings, found.notes = title, [], []
        return found

    def save(self) -> None:
        """Write it where the report finds it."""
        self.machine = here()
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.question}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def reduce(values: Sequence[float], number: Number) -> float:
    """The median; or the 99th percentile by nearest rank, which is the largest of less than a hundred."""
    return median(values) if number == "median" else sorted(values)[-(-99 * len(values) // 100) - 1]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Where the true median is, and with which confidence: 0.95 or, of fewer than six values, what there is."""
    ranked, many = sorted(values), len(values)
    missed = [2 * sum(comb(many, heads) for heads in range(k)) / 2**many for k in range(1, many // 2 + 1)]
    k = max((k for k, chance in enumerate(missed, 1) if chance <= 0.05), default=1)
    return ranked[k - 1], ranked[many - k], 1 - missed[k - 1] if missed else 0.0


def shown(value: float, unit: str) -> str:
    """A number as people read it."""
    match unit:
        case "x":
            return f"{value:.2f}" if value < 100 else f"{value:.0f}"
        case "%":
            return f"{value:.4g} %" if value < 99.9 or value == 100 else f"{value:.3f} %"
        case "1/s" if value >= 10_000_000:
            return f"{value / 1e6:.3g} M/s"
        case "1/s":
            return f"{value / 1e3:.0f} k/s" if value >= 10_000 else f"{value:.0f}/s"
        case "ms" if value >= 1000:
            return f"{value / 1e3:.3g} s"
        case "us" if value >= 1000:
            return f"{value / 1e3:.3g} ms"
        case "":
            return f"{value:,.10g}"
        case _:
            return f"{value:.3g} {unit}"


def table(ledgers: Sequence[Ledger]) -> Iterator[str]:
    """What has a goal, as lines of text; then all that was measured."""
    row = "{:<9} {:<47} {:<30} {:>11} {:>23}  {:<12} {}".format
    yield row("question", "case", "what", "median / p99", "interval", "goal", "").rstrip()
    for ledger in ledgers:
        for found in ledger.findings:
            span = f"{shown(found.low, found.unit)} - {shown(found.high, found.unit)}"
            value = shown(found.value, found.unit)
            met = "met" if found.met else "MISSED"
            yield row(ledger.question, found.case, found.what, value, span, found.goal, met)
    for ledger in ledgers:
        yield ""
        yield f"{ledger.question}: {ledger.title}"
        for series in sorted(ledger.series, key=lambda one: one.case):
            span = _span(series, ledger.number)
            middle = shown(median(series.values), series.unit)
            p99 = f"p99 {shown(reduce(series.values, 'p99'), series.unit)}" if ledger.number == "p99" else ""
            yield row("", series.case, series.who, middle, span, p99, "").rstrip()
        for curve in sorted(ledger.curves, key=lambda one: one.figure):
            ends = [
                f"{shown(median(point.xs), curve.x_unit)}: {shown(median(point.ys), curve.unit)}"
                for point in sorted(curve.points, key=lambda one: one.aim)
            ]
            yield f"          {curve.figure:<47} {curve.who:<30} {', '.join(ends)}"
        yield from (f"          {note}" for note in ledger.notes)


def _span(series: Series, number: Number) -> str:
    low, high, _ = interval(series.values) if number == "median" else (min(series.values), max(series.values), 1.0)
    return f"{shown(low, series.unit)} - {shown(high, series.unit)}"
