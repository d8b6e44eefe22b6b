"""For how long the thread may stand still: what is a freeze, and what ends it. Time is the test's."""

from __future__ import annotations

import ctypes

import pytest

MS = 1_000_000
GAP_MS = 60


class Lease:
    """A lease of 60 ms, begun at 1 s unless told otherwise; all times in ms."""

    def __init__(self, parts: ctypes.CDLL, gap_ms: int = GAP_MS) -> None:
        self._parts = parts
        self._at = ctypes.c_void_p(parts.parts_lease(ctypes.c_uint64(gap_ms * MS), ctypes.c_uint64(1000 * MS)))

    def look(self, now_ms: int) -> bool:
        """Begin a pass: whether it is frozen."""
        return bool(self._parts.parts_look(self._at, ctypes.c_uint64(now_ms * MS)))

    def holds(self, now_ms: int) -> bool:
        """Within a pass."""
        return bool(self._parts.parts_holds(self._at, ctypes.c_uint64(now_ms * MS)))

    def settle(self, freezes: int) -> None:
        self._parts.parts_settle(self._at, ctypes.c_uint64(freezes))

    def change(self, gap_ms: int, now_ms: int) -> None:
        self._parts.parts_relet(self._at, ctypes.c_uint64(gap_ms * MS), ctypes.c_uint64(now_ms * MS))

    @property
    def freezes(self) -> int:
        return int(self._parts.parts_freezes(self._at))


@pytest.fixture
def lease(parts: ctypes.CDLL) -> Lease:
    return Lease(parts)


def test_who_looks_often_enough_is_never_frozen(lease: Lease) -> None:
    assert not any(lease.look(now_ms) for now_ms in range(1000, 100_000, GAP_MS))


def test_a_longer_pause_is_a_freeze_until_it_is_settled(lease: Lease) -> None:
    assert lease.look(1000 + GAP_MS + 1)
    assert lease.look(1070)
    assert lease.freezes == 1
    lease.settle(1)
    assert not lease.look(1080)


def test_a_pause_in_the_midst_of_a_pass_is_found_before_anything_is_sent(lease: Lease) -> None:
    assert lease.holds(1050)
    assert not lease.holds(1000 + GAP_MS + 1)
    assert lease.look(1062)
    assert lease.freezes == 1, "the same pause"


def test_two_pauses_in_one_pass_count_together(lease: Lease) -> None:
    """Passes may not be further apart, wherever in between the thread stood."""
    assert lease.holds(1040)
    assert lease.look(1080)


def test_what_was_settled_does_not_forgive_a_later_freeze(lease: Lease) -> None:
    lease.look(2000)
    lease.look(3000)
    lease.settle(1)
    assert lease.look(3001)
    lease.settle(2)
    assert not lease.look(3002)
    lease.settle(1)
    assert not lease.look(3003)


def test_without_a_lease_no_pause_is_too_long(parts: ctypes.CDLL) -> None:
    lease = Lease(parts, 0)
    assert not lease.look(10_000_000)
    assert lease.holds(20_000_000)


def test_a_lease_begins_when_it_is_given(parts: ctypes.CDLL) -> None:
    lease = Lease(parts, 0)
    lease.change(GAP_MS, 50_000)
    assert not lease.look(50_010)
    assert lease.look(50_100)


def test_another_length_forgives_nothing_but_none_does(lease: Lease) -> None:
    lease.look(2000)
    lease.change(1000, 2001)
    assert lease.look(2002)
    lease.change(0, 2003)
    lease.change(GAP_MS, 2004)
    assert not lease.look(2005)
