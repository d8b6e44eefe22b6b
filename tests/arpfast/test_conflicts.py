"""Memory of conflicts: bounded, and the intervals of RFC 5227."""

from random import Random

import pytest

from arpfast.conflicts import REMEMBERED, ConflictPolicy, Conflicts, Reaction, retry_delay_s

MAC = bytes.fromhex("02000000ff01")


def test_rfc5227_2_4_c_one_announcement_in_ten_seconds() -> None:
    conflicts = Conflicts()
    reactions = [conflicts.observe((4, 1), MAC, float(now), ConflictPolicy.DEFEND)[0] for now in range(31)]
    assert [now for now, reaction in enumerate(reactions) if reaction is Reaction.ANNOUNCE] == [0, 10, 20, 30]
    assert Reaction.GIVE_UP not in reactions


@pytest.mark.parametrize(("pause_s", "second"), [(9.9, Reaction.GIVE_UP), (10.0, Reaction.ANNOUNCE)])
def test_rfc5227_2_4_b_another_conflict_within_ten_seconds_means_giving_up(pause_s: float, second: Reaction) -> None:
    conflicts = Conflicts()
    assert conflicts.observe((4, 1), MAC, 0, ConflictPolicy.YIELD)[0] is Reaction.ANNOUNCE
    assert conflicts.observe((4, 1), MAC, pause_s, ConflictPolicy.YIELD)[0] is second


def test_a_conflict_is_news_once_and_again_after_a_quiet_hour() -> None:
    conflicts = Conflicts()
    times = (0.0, 1.0, 3000.0, 6700.0)
    assert [conflicts.observe((4, 1), MAC, now, ConflictPolicy.REPORT)[1] for now in times] == [
        True,
        False,
        False,
        True,
    ]


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    conflicts = Conflicts()
    for value in range(REMEMBERED + 10):
        conflicts.observe((4, value), MAC, 0, ConflictPolicy.DEFEND)
    assert len(conflicts) == REMEMBERED
    assert not conflicts.of((4, 0))
    assert conflicts.of((4, REMEMBERED))


def test_retries_back_off_from_one_minute_to_five_and_never_in_step() -> None:
    random = Random(1)
    delays = [retry_delay_s(times, random) for times in (1, 2, 3, 4, 50)]
    for delay, least in zip(delays, (60, 120, 240, 300, 300), strict=True):
        assert least <= delay <= least * 1.25
    assert len({retry_delay_s(1, random) for _ in range(50)}) == 50
