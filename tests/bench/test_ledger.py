"""What a row comes to, and whether it reached its goal."""

import pytest

from bench.ledger import Ledger, Number, reduce, shown


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


@pytest.mark.parametrize(("value", "text"), [(3.14159, "3.14 ms"), (999, "999 ms"), (3351, "3.35 s")])
def test_shown(value: float, text: str) -> None:
    assert shown(value, "ms") == text
