"""How long a suspect has, against the figures of the protocol's description."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from arpfast.gossip.suspicion import Awareness, Suspicion, least_s
from arpfast.gossip.timing import LAN, WAN


@pytest.mark.parametrize(
    ("members", "least", "most", "after_one"),
    [(2, 4, 4, 4), (3, 4, 4, 4), (4, 4, 24, 11.4), (10, 4, 24, 11.4), (32, 6.0, 36.1, 17.1), (100, 8, 48, 22.7)],
)
def test_times_of_a_lan(members: int, least: float, most: float, after_one: float) -> None:
    suspicion = Suspicion("a", LAN, members, 0)
    assert least_s(LAN, members) == pytest.approx(least, abs=0.1)
    assert suspicion.due == pytest.approx(most, abs=0.1)
    assert suspicion.confirm("b") == (members >= 4)
    assert suspicion.due == pytest.approx(after_one, abs=0.1)
    suspicion.confirm("c")
    assert suspicion.due == pytest.approx(least, abs=0.1)


def test_invariant_7_accusers_count_once_the_first_never_and_not_more_than_wanted() -> None:
    suspicion = Suspicion("a", WAN, 100, 0)
    assert not suspicion.confirm("a")
    dues = [suspicion.due]
    for name in "bbccdde":
        suspicion.confirm(name)
        dues.append(suspicion.due)
    assert suspicion.confirmations == 4
    assert not suspicion.confirm("f")
    assert len(set(dues)) == 5
    assert dues == sorted(dues, reverse=True)


def test_invariant_7_nobody_is_waited_for_in_a_ring_that_is_too_small() -> None:
    assert Suspicion("a", LAN, 3, 7).due == 7 + 4
    assert Suspicion("a", replace(LAN, confirmations=0), 100, 7).due == 7 + 8


def test_health_stays_within_its_bounds() -> None:
    awareness = Awareness(LAN)
    for delta, score in [(-1, 0), (3, 3), (-1, 2), (100, 7), (-2, 5), (-100, 0)]:
        awareness.add(delta)
        assert awareness.score == score
