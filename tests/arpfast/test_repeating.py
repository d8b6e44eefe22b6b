"""Announcements: how often, how far apart, and for ever."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from arpfast.crossing import FactKind, MessageKind
from arpfast.duties import Answer
from arpfast.inspection import Phase
from arpfast.probing import ProbeMode
from arpfast.spans import Span, Spans
from tests.arpfast.stage import V4, V6, Stage


@pytest.mark.parametrize(("repeat", "v4", "v6"), [(1, 1, 1), (2, 2, 2), (5, 5, 3), (0, 0, 0)])
def test_announcements_are_2_s_apart_and_of_ipv6_never_more_than_three(repeat: int, v4: int, v6: int) -> None:
    stage = Stage(probe=ProbeMode.OFF, repeat=repeat, refresh_s=0)
    stage.want(V4, V6)
    stage.wait(60)
    assert stage.times(MessageKind.ANNOUNCE, V4) == pytest.approx([2.0 * n for n in range(v4)], abs=0.01)
    assert stage.times(MessageKind.ANNOUNCE, V6) == pytest.approx([2.0 * n for n in range(v6)], abs=0.01)
    assert stage.duties.next_deadline() is None


@pytest.mark.parametrize("count", [1, 2, 100, 1000, 20000])
def test_the_refresh_reaches_every_address_once_in_its_time_in_even_steps(count: int) -> None:
    stage = Stage(probe=ProbeMode.OFF, repeat=1, refresh_s=240, confirm=False)
    first = int(ip_address("10.0.0.0"))
    stage.want(*(Answer(Spans([Span(4, first + 2 * n, first + 2 * n)])) for n in range(count)))
    stage.wait(239.5)
    begun = len(stage.sent)
    assert begun == count
    stage.wait(240.4)
    again = [message.span.first for _, message in stage.sent[begun:]]
    assert sorted(again) == [first + 2 * n for n in range(count)]
    wakes = {at for at, _ in stage.sent[begun:]}
    assert len(wakes) <= 241
    if count == 1:
        assert stage.duties.next_deadline() == pytest.approx(1480, abs=0.01)


def test_announce_by_hand_repeats_and_tries_again_what_was_taken() -> None:
    stage = Stage(refresh_s=0, repeat=1)
    stage.want(V4, "192.0.2.11")
    stage.fact(FactKind.TAKEN, V4)
    stage.wait(5)
    assert stage.duties.announce(Spans.parse("192.0.2.0/24"), stage.now) == (1, 1)
    stage._collect()
    assert stage.times(MessageKind.ANNOUNCE, "192.0.2.11")[-1] == 5
    stage.wait(1)
    assert stage.on(V4).phase == Phase.ANSWERING


def test_nothing_leaves_for_an_address_withdrawn_meanwhile() -> None:
    stage = Stage(rate_per_s=100, probe=ProbeMode.OFF)
    stage.want("192.0.2.0/24")
    stage.wait(1)
    stage.want()
    sent = len(stage.sent)
    stage.wait(100)
    assert len(stage.sent) == sent
