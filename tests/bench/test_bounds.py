"""What `make bench-check` takes for broken, and that its file names what it can measure."""

import pytest
from msgspec import ValidationError, convert

from bench import bounds
from bench.bench_check import ANSWERERS, MANY, MEASURES
from bench.bounds import Ratio, judge

LEAST = Ratio("flood", "we", "they", "why", at_least=2.0)
MOST = Ratio("flood", "we", "they", "why", at_most=2.0)


@pytest.mark.parametrize(
    ("ratio", "ours", "kept"),
    [
        (LEAST, [30.0, 30.0, 30.0], True),
        (LEAST, [10.0, 10.0, 10.0], False),
        (LEAST, [10.0, 10.0, 20.0], True),  # noise: some round still reaches it
        (MOST, [10.0, 10.0, 10.0], True),
        (MOST, [30.0, 30.0, 30.0], False),
        (MOST, [30.0, 20.0, 30.0], True),
    ],
)
def test_a_bound_is_broken_when_all_of_the_interval_is_beyond_it(ratio: Ratio, ours: list[float], kept: bool) -> None:
    verdict = judge(ratio, {("flood", "we"): ours, ("flood", "they"): [10.0] * 3})
    assert verdict
    assert verdict.kept is kept


def test_ratios_are_taken_within_a_round() -> None:
    verdict = judge(LEAST, {("flood", "we"): [4.0, 40.0, 400.0], ("flood", "they"): [2.0, 20.0, 200.0]})
    assert verdict
    assert (verdict.low, verdict.median, verdict.high) == (2.0, 2.0, 2.0)


def test_who_was_not_measured_has_no_verdict() -> None:
    assert judge(LEAST, {("flood", "they"): [1.0]}) is None


def test_the_file_names_what_can_be_measured() -> None:
    ratios = bounds.read()
    assert len({(ratio.measure, ratio.of, ratio.over) for ratio in ratios}) == len(ratios)
    for ratio in ratios:
        for who in (ratio.of, ratio.over):
            if ratio.measure == "micro":
                file, _, test = who.partition("::")
                assert f"def {test.partition('[')[0]}(" in (bounds.PATH.parent / file).read_text()
            elif ratio.measure != "answer":
                assert ratio.measure in MEASURES
                assert who == "python" or who.removesuffix(MANY) in ANSWERERS


def test_a_ratio_has_one_bound() -> None:
    with pytest.raises(ValueError, match="expected one of at_least and at_most"):
        Ratio("flood", "we", "they", "why")
    with pytest.raises(ValidationError):
        convert({"measure": "flood"}, Ratio)
