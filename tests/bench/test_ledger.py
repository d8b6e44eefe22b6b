"""What a row comes to, and whether it reached its goal."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.figure import draw
from bench.ledger import Curve, Ledger, Number, interval, reduce, shown
from bench.machine import here


@pytest.mark.parametrize(
    ("many", "number", "expected"),
    [(3, "median", 2), (3, "p99", 3), (30, "p99", 30), (100, "p99", 99), (1000, "p99", 990)],
)
def test_reduce(many: int, number: Number, expected: float) -> None:
    assert reduce(list(range(1, many + 1)), number) == expected


def test_where_the_worst_matters_the_worst_is_judged() -> None:
    usual, worst = Ledger("q", "t"), Ledger("q", "t", number="p99")
    for ledger in (usual, worst):
        ledger.judge("case", "who", [1, 1, 9], "ms", at_most=5)
    assert (usual.findings[0].met, usual.findings[0].value) == (True, 1)
    assert (worst.findings[0].met, worst.findings[0].value) == (False, 9)


@pytest.mark.parametrize(
    ("values", "low", "high", "confidence"),
    [
        ([7], 7, 7, 0.0),
        ([3, 1, 2], 1, 3, 0.75),
        (range(1, 6), 1, 5, 0.9375),
        (range(1, 7), 1, 6, 0.96875),
        (range(1, 21), 6, 15, 0.9586),
        (range(1, 102), 41, 61, 0.9540),
    ],
)
def test_interval(values: Sequence[float], low: float, high: float, confidence: float) -> None:
    """As the tables of order statistics have it."""
    assert interval(values)[:2] == (low, high)
    assert interval(values)[2] == pytest.approx(confidence, abs=1e-4)


def test_who_was_not_measured_is_not_judged() -> None:
    ledger = Ledger("q", "t")
    ledger.add("case", "there", 1.0, "1/s")
    ledger.compare("case", "there", "not there", at_least=1)
    ledger.compare("case", "not there", "there", at_least=1)
    assert not ledger.findings
    assert [series.who for series in ledger.series] == ["there"]


def test_who_answered_nothing_is_said_to_have() -> None:
    ledger = Ledger("q", "t")
    for one, other in ((5.0, 0.0), (6.0, 2.0)):
        ledger.add("case", "us", one, "1/s")
        ledger.add("case", "silent", 0.0, "1/s")
        ledger.add("case", "hesitant", other, "1/s")
    ledger.compare("case", "us", "silent", at_least=1)
    ledger.compare("case", "us", "hesitant", at_least=1)
    assert [(found.what, found.value) for found in ledger.findings] == [("us / hesitant", 3.0)]
    assert ledger.notes == [
        "case: silent came to nothing in 2 of 2 rounds", "case: hesitant came to nothing in 1 of 2 rounds"
    ]  # fmt: skip


def test_a_curve_has_a_point_for_each_aim_and_its_name_in_the_figure() -> None:
    ledger = Ledger("q", "t")
    for number in range(3):
        for who in ("one", "<two>"):
            for aim in (10.0, 1000.0):
                ledger.trace(Curve("figure", who, "asked", "1/s", "%"), aim, aim - 1, 50.0 + number)
    assert [(curve.who, [point.ys for point in curve.points]) for curve in ledger.curves] == [
        ("one", [[50.0, 51.0, 52.0]] * 2), ("<two>", [[50.0, 51.0, 52.0]] * 2)
    ]  # fmt: skip
    svg = ET.fromstring(draw(ledger.curves))
    texts = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert {"figure", "asked", "one", "<two>"} <= set(texts)
    assert len([element for element in svg.iter() if element.tag.endswith("circle")]) == 4


def test_a_figure_leaves_out_what_has_no_logarithm() -> None:
    ledger = Ledger("q", "t")
    ledger.trace(Curve("figure", "silent", "asked", "1/s", "1/s"), 10.0, 10.0, 0.0)
    assert "circle" not in draw(ledger.curves)


def test_a_ledger_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.ledger.RESULTS", tmp_path / "results")
    assert Ledger.resumed("q", "t").series == []
    before = Ledger("q", "t", notes=["old"])
    for value in (4.0, 6.0):
        before.add("case", "we", value, "1/s")
        before.add("case", "they", 2.0, "1/s")
    before.trace(Curve("figure", "we", "asked", "1/s", "1/s"), 10.0, 10.0, 4.0)
    before.compare("case", "we", "they", at_least=1)
    before.save()
    after = Ledger.resumed("q", "t")
    assert (after.findings, after.notes, after.curves) == ([], [], before.curves)
    assert after.machine
    after.add("case", "we", 8.0, "1/s")  # and then it was cut short
    after.compare("case", "we", "they", at_least=1)
    assert after.of("case", "we").values == [4.0, 6.0, 8.0]
    assert after.findings[0].value == 2.5


def test_the_machine_says_what_it_is() -> None:
    machine = here()
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.processor
    assert machine.kernel


@pytest.mark.parametrize(("value", "text"), [(3.14159, "3.14 ms"), (999, "999 ms"), (3351, "3.35 s")])
def test_shown(value: float, text: str) -> None:
    assert shown(value, "ms") == text
