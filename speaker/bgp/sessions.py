"""What is known of each session, from what the daemon says. Pure: time is an argument.

The daemon's list of peers has the state, but not why a session has ended; that comes once, with the event. Both are
put together here, and what has happened between two lists is counted by the moment of the last establishment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from speaker.bgp import messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp.wish import Session, State

_STATES: tuple[State, ...] = ("idle", "idle", "connect", "active", "opensent", "openconfirm", "established")
BFD_DOWN = "BFD has heard nothing more"
"""The daemon itself gives no reason then."""
_NEW_CONNECTION = ("new-connection", "unknown", "dying", "")


def state(peer: messages.Peer) -> State:
    """Of RFC 4271 section 8.2.2."""
    number = peer.state.session_state if peer.state is not None else 0
    return _STATES[number] if 0 <= number < len(_STATES) else "idle"


def reason(event: messages.PeerState) -> str:
    """Why a session has ended, as an event says; empty if it does not."""
    if not event.disconnect_reason or event.disconnect_message in _NEW_CONNECTION:
        return ""
    return event.disconnect_message.replace("-", " ")


def follow(before: Session, peer: messages.Peer, why: str, now_s: float) -> Session:
    """The session after what the daemon says now; `why` the last event's reason, or ours."""
    now = state(peer)
    up_s = _established_s(peer)
    was_up, is_up = before.state == "established", now == "established"
    lost = was_up and (not is_up or (up_s > 0 and up_s > before.since_unix_s + 1.0))
    if is_up:
        since_s = (up_s or now_s) if not was_up or lost else before.since_unix_s
    else:
        since_s = now_s if was_up else before.since_unix_s
    bfd = _bfd(peer)
    if lost and not why and (before.bfd, bfd) == ("up", "down"):
        why = BFD_DOWN
    return msgspec.structs.replace(
        before,
        state=now,
        since_unix_s=since_s,
        why="" if is_up else why or before.why,
        flaps=before.flaps + lost,
        bfd=bfd,
    )


def without(before: Session, why: str, now_s: float) -> Session:
    """The session of a peer that the daemon does not have."""
    return follow(before, messages.Peer(), why, now_s)


def lose(before: Iterable[Session], why: str) -> list[Session]:
    """What is shown of all of them while the daemon is gone, or silent: whether they are up nobody knows, so nothing is
    counted. What was known goes on when it comes back.
    """
    return [
        msgspec.structs.replace(each, state="idle", why=why, bfd="none" if each.bfd == "none" else "down", announced=0)
        for each in before
    ]


def _established_s(peer: messages.Peer) -> float:
    timers = peer.timers.state if peer.timers is not None else None
    uptime = timers.uptime if timers is not None else None
    return 0.0 if uptime is None else uptime.seconds + uptime.nanos / 1e9


def _bfd(peer: messages.Peer) -> str:
    if peer.bfd is None or not peer.bfd.enabled:
        return "none"
    there = peer.state.bfd_state if peer.state is not None else None
    return "up" if there is not None and there.session_state == messages.BFD_UP else "down"
