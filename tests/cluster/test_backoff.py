"""How long is waited."""

from __future__ import annotations

from cluster.backoff import MOST_S, Backoff


def test_no_two_wait_the_same() -> None:
    assert [Backoff(1, 8, lambda dice=dice: dice).failed() for dice in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]  # type: ignore[misc]


def test_twice_as_long_each_time_up_to_a_limit() -> None:
    backoff = Backoff(1, 8, lambda: 1.0)
    assert [backoff.failed() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert backoff.failures == 6
    backoff.well()
    assert backoff.failed() == 1


def test_for_ever() -> None:
    backoff = Backoff(dice=lambda: 1.0)
    for _ in range(5000):
        backoff.failed()
    assert backoff.failed() == MOST_S


def test_what_a_server_asks_for_is_added() -> None:
    backoff = Backoff(1, 8, lambda: 1.0)
    assert backoff.failed(5) == 6
    assert backoff.failed(1e9) == 122
    assert backoff.failed(-3) == 4
