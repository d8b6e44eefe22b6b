"""What is known of a session after what the daemon has said of it."""

from __future__ import annotations

from typing import Any

import pytest

from speaker.bgp import messages
from speaker.bgp.sessions import BFD_DOWN, follow, lose, reason, state, without
from speaker.bgp.wish import Session

IDLE, ACTIVE, UP = 1, 3, 6


def said(number: int, since_s: float = 0, **fields: Any) -> messages.Peer:
    uptime = messages.Timestamp(int(since_s), int(since_s % 1 * 1e9)) if since_s else None
    timers = messages.Timers(state=messages.TimersState(uptime=uptime))
    return messages.Peer(state=messages.PeerState(session_state=number), timers=timers, **fields)


def test_a_session_comes_goes_and_comes_again() -> None:
    session = Session(peer="tor", address="192.0.2.1")
    session = follow(session, said(ACTIVE), "nobody there", 10.0)
    assert (session.state, session.why, session.flaps, session.since_unix_s) == ("active", "nobody there", 0, 0.0)
    session = follow(session, said(UP, 20.5), "", 21.0)
    assert (session.state, session.why, session.flaps, session.since_unix_s) == ("established", "", 0, 20.5)
    session = follow(session, said(UP, 20.5), "", 30.0)
    assert (session.flaps, session.since_unix_s) == (0, 20.5)
    session = follow(session, said(IDLE, 20.5), "hold timer expired", 40.0)
    assert (session.state, session.why, session.flaps, session.since_unix_s) == ("idle", "hold timer expired", 1, 40.0)
    session = follow(session, said(ACTIVE, 20.5), "", 41.0)
    assert (session.why, session.flaps, session.since_unix_s) == ("hold timer expired", 1, 40.0)
    session = follow(session, said(UP, 50.0), "", 51.0)
    assert (session.why, session.flaps, session.since_unix_s) == ("", 1, 50.0)


def test_what_happened_between_two_looks_is_counted() -> None:
    session = follow(Session(peer="tor", address=""), said(UP, 20.0), "", 21.0)
    session = follow(session, said(UP, 25.0), "", 26.0)
    assert (session.state, session.flaps, session.since_unix_s) == ("established", 1, 25.0)


def test_a_daemon_that_is_silent_has_lost_nothing_yet() -> None:
    session = follow(Session(peer="tor", address=""), said(UP, 20.0), "", 21.0)
    (shown,) = lose([session], "no answer")
    assert (shown.state, shown.why, shown.flaps, shown.announced) == ("idle", "no answer", 0, 0)
    assert follow(session, said(UP, 20.0), "", 60.0) == session
    assert without(session, "gone", 60.0).flaps == 1


def test_bfd_is_shown_where_it_is_asked_for() -> None:
    nobody = Session(peer="tor", address="")
    wanted = messages.BfdPeerConfig(enabled=True)
    for number, shown in ((0, "down"), (1, "up"), (2, "down"), (3, "down"), (4, "down")):
        peer = messages.Peer(state=messages.PeerState(bfd_state=messages.BfdPeerState(number)), bfd=wanted)
        assert follow(nobody, peer, "", 1.0).bfd == shown
    assert follow(nobody, said(UP, bfd=messages.BfdPeerConfig()), "", 1.0).bfd == "none"
    assert lose([Session(peer="tor", address="", bfd="up")], "")[0].bfd == "down"


def test_that_bfd_has_ended_a_session_is_said_for_the_daemon_does_not() -> None:
    def heard(number: int, bfd: int) -> messages.Peer:
        state = messages.PeerState(session_state=number, bfd_state=messages.BfdPeerState(bfd))
        return messages.Peer(state=state, bfd=messages.BfdPeerConfig(enabled=True))

    up = follow(Session(peer="tor", address=""), heard(UP, messages.BFD_UP), "", 1.0)
    down = follow(up, heard(IDLE, 2), "", 2.0)
    assert (down.why, down.flaps) == (BFD_DOWN, 1)
    assert follow(down, heard(ACTIVE, 2), "", 3.0).why == BFD_DOWN
    assert follow(up, heard(IDLE, 2), "notification received cease", 2.0).why == "notification received cease"
    assert follow(up, heard(IDLE, messages.BFD_UP), "", 2.0).why == ""


@pytest.mark.parametrize(
    ("number", "message", "why"),
    [
        (2, "hold-timer-expired", "hold timer expired"),
        (4, "notification-received cease", "notification received cease"),
        (0, "hold-timer-expired", ""),
        (3, "new-connection", ""),
        (3, "", ""),
    ],
)
def test_reasons_are_told_and_steps_on_the_way_are_none(number: int, message: str, why: str) -> None:
    assert reason(messages.PeerState(disconnect_reason=number, disconnect_message=message)) == why


@pytest.mark.parametrize("number", [-1, 0, 7, 1000])
def test_a_state_that_nobody_knows_is_idle(number: int) -> None:
    assert state(said(number)) == "idle"
