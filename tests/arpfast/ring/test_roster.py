"""Who counts as here, row by row of the table at the top of `arpfast.ring.roster`."""

import pytest

from arpfast.ring.roster import HEARD_AFTER_S, WATCHERS, Gossip, Roster, Wire
from arpfast.ring.standing import Standing
from arpfast.spans import Spans

MAC = b"\x02\0\0\0\0\1"
CLAIMS = {1: Spans.parse("192.0.2.10")}


def roster(gossip: Gossip, wire: Wire | None) -> Roster:
    made = Roster("me")
    made.gossip("b", gossip, ours=True)
    made.standing(Standing("b", 1, macs=(MAC,), claims=CLAIMS))
    made.wire("b", wire, 10.0)
    return made


@pytest.mark.parametrize(
    ("gossip", "wire", "here"),
    [
        (Gossip.ALIVE, None, True),
        (Gossip.SUSPECT, None, True),
        (Gossip.SUSPECT, Wire.ASKED, True),
        (Gossip.SUSPECT, Wire.SUSPENDED, True),
        (Gossip.SUSPECT, Wire.SILENT, False),
        (Gossip.SUSPECT, Wire.CUT, True),
        (Gossip.DEAD, None, True),
        (Gossip.DEAD, Wire.CUT, False),
        (Gossip.DEAD, Wire.ASKED, True),
        (Gossip.DEAD, Wire.SUSPENDED, False),
        (Gossip.DEAD, Wire.SILENT, False),
        (Gossip.LEFT, Wire.ASKED, False),
        (Gossip.LEFT, None, False),
    ],
)
def test_both_witnesses_are_heard(gossip: Gossip, wire: Wire | None, here: bool) -> None:
    assert roster(gossip, wire).presence("b").here is here


@pytest.mark.parametrize("gossip", [Gossip.SUSPECT, Gossip.DEAD])
def test_the_word_of_a_member_that_hears_it_counts_while_that_one_is_alive(gossip: Gossip) -> None:
    made = roster(gossip, Wire.SILENT)
    made.gossip("c", Gossip.ALIVE, ours=True)
    made.standing(Standing("c", 1, hears=("b",)))
    assert made.presence("b").here
    assert "c hears it" in made.presence("b").why
    made.gossip("c", Gossip.SUSPECT, ours=True)
    assert not made.presence("b").here


def test_who_fell_silent_under_an_heirs_watch_is_gone_until_it_speaks() -> None:
    made = roster(Gossip.ALIVE, None)
    made.witnesses["b"].fallen = True
    assert not made.presence("b").here
    made.standing(Standing("b", 2))
    assert made.presence("b").here


def test_a_doubted_member_is_watched_if_it_answers_for_anything() -> None:
    made = roster(Gossip.SUSPECT, None)
    assert made.to_watch() == ("b",)
    made.standing(Standing("b", 2, macs=(MAC,)))
    assert made.to_watch() == ()


def test_in_a_large_ring_a_few_watch_and_all_agree_who() -> None:
    names = [f"m{number}" for number in range(20)]
    watching: list[str] = []
    for me in names:
        made = Roster(me)
        for name in names:
            if name != me:
                made.gossip(name, Gossip.ALIVE, ours=True)
        made.gossip("b", Gossip.SUSPECT, ours=True)
        made.standing(Standing("b", 1, macs=(MAC,), claims=CLAIMS))
        watching += made.to_watch()
    assert watching == ["b"] * WATCHERS


def test_it_hears_who_has_been_asked_for_long_enough_without_an_alarm() -> None:
    made = roster(Gossip.DEAD, Wire.ASKED)
    assert made.hears(10.0) == ()
    assert made.next_heard_s(10.0) == 10.0 + HEARD_AFTER_S
    assert made.hears(10.0 + HEARD_AFTER_S) == ("b",)
    made.wire("b", Wire.SILENT, 11.0)
    made.wire("b", Wire.ASKED, 12.0)
    assert made.hears(12.1) == ()


def test_who_is_called_dead_and_cannot_be_asked_is() -> None:
    made = roster(Gossip.DEAD, None)
    made.standing(Standing("b", 2, macs=(MAC,)))
    assert not made.presence("b").here, "expected nothing to be asked of who claims nothing"


def test_a_standing_alone_makes_nobody_alive() -> None:
    made = Roster("me")
    made.standing(Standing("b", 1, macs=(MAC,)))
    assert not made.presence("b").here
    made.standing(Standing("b", 2, macs=(MAC,), claims=CLAIMS))
    assert made.presence("b").here, "expected it to be asked on the wire, which it may be claiming addresses on"
