"""How long what is contested is left to the other."""

from __future__ import annotations

from arpfast.ring.contest import CALM_S, CEDE_S, PATIENCE_AT_MOST_S, PATIENCE_S, Contest
from arpfast.spans import NOTHING, Spans

ONE, TWO = Spans.parse("192.0.2.1"), Spans.parse("192.0.2.2")


def test_the_first_loss_is_no_contest() -> None:
    contest = Contest()
    contest.lost(ONE, 0.0)
    contest.lost(TWO, 0.0)
    assert contest.left(0.0) == NOTHING
    assert contest.next_deadline(0.0) is None


def test_each_further_loss_counts_for_longer() -> None:
    contest, now, waited = Contest(), 0.0, list[float]()
    contest.lost(ONE | TWO, now)
    for _ in range(8):
        contest.lost(ONE, now)
        assert contest.left(now) == ONE
        until_s = contest.next_deadline(now)
        assert until_s is not None
        waited.append(until_s - now)
        now = until_s
        assert contest.left(now) == NOTHING
    assert waited == [min(PATIENCE_S * 2**times, PATIENCE_AT_MOST_S) for times in range(8)]


def test_news_and_calm_end_it() -> None:
    contest = Contest()
    for _ in range(2):
        contest.lost(ONE | TWO, 0.0)
    contest.forget(ONE)
    assert contest.left(0.0) == TWO
    contest.lost(ONE, 0.0)
    assert contest.left(0.0) == TWO, "expected it to be a first loss again"
    contest.lost(ONE | TWO, CALM_S + 1.0)
    assert contest.left(CALM_S + 1.0) == NOTHING


def test_what_nobody_takes_for_a_while_is_ceded() -> None:
    contest = Contest()
    assert contest.ceded(ONE, 10.0) == NOTHING
    assert contest.next_deadline(10.0) == 10.0 + CEDE_S
    assert contest.ceded(ONE, 10.0 + CEDE_S) == ONE
    assert contest.next_deadline(10.0 + CEDE_S) is None
    assert contest.ceded(NOTHING, 11.0) == NOTHING
    assert contest.ceded(TWO, 12.0) == NOTHING
