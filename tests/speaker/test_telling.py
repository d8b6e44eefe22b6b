"""When an Event is said of a session, and what is said of a Service that is announced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cluster.resources import Key, Metadata, Object
from speaker.bgp.wish import Session
from speaker.settings import Settings
from speaker.telling import Telling
from tests.speaker.cluster_of import key, service, world

if TYPE_CHECKING:
    from speaker.bgp.wish import State

STARTED_S = 1000.0
WEB = key()


class Told:
    """A Telling among stand-ins, and the Events that it said."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.sessions: dict[str, Session] = {}
        self.peers: dict[Key, set[str]] = {}
        speaker = SimpleNamespace(
            settings=Settings(node="a", address="192.0.2.1"),
            started_unix_s=STARTED_S,
            world=world([service()]),
            routing=SimpleNamespace(
                sessions=lambda: self.sessions, told=lambda key: frozenset(self.peers.get(key, ())), known=True
            ),
        )
        self.telling = Telling(
            cast("Any", speaker), cast("Any", None), cast("Any", SimpleNamespace(say=self._say)),
            cast("Any", SimpleNamespace(gathering=SimpleNamespace(custom=lambda _, name: Object(Metadata(name))))),
            pod=None, log=cast("Any", None),
        )  # fmt: skip

    def _say(self, regarding: Object, type_: str, reason: str, note: str, **_: Any) -> None:
        self.events.append((regarding.metadata.name, reason))
        self.note = note

    def session(self, state: State, since_s: float = STARTED_S + 1, why: str = "") -> None:
        self.sessions = {"tor": Session(peer="tor", address="192.0.2.9", state=state, since_unix_s=since_s, why=why)}
        self.telling.sessions()


@pytest.mark.parametrize("earlier", [False, True])
def test_a_session_is_told_of_when_it_begins_and_ends(earlier: bool) -> None:
    told = Told()
    told.session("idle", 0.0)
    told.session("established", STARTED_S - 1 if earlier else STARTED_S + 1)
    begun = [] if earlier else [("tor", "sessionUp")]
    assert told.events == begun, "expected nothing to be said again that an earlier speaker has said"
    told.session("established", STARTED_S - 1 if earlier else STARTED_S + 1)
    told.session("active", why="hold timer expired")
    told.session("connect")
    assert told.events == [*begun, ("tor", "sessionDown")]
    assert told.note == 'node "a" has no session with 192.0.2.9 any more: hold timer expired'
    told.session("established", STARTED_S - 1)  # it was there all the time, but the daemon said nothing
    assert told.events[-1] == ("tor", "sessionUp")
    told.sessions = {}
    told.telling.sessions()
    told.session("established", STARTED_S + 9)
    assert told.events[-1] == ("tor", "sessionUp")


def test_a_service_is_told_of_once_and_its_peers_whenever_they_change() -> None:
    told = Told()
    told.telling.announced([WEB])
    assert len(told.telling.bgp.errands) == 0
    for peers in ({"tor"}, {"tor"}, {"tor", "spine"}):
        told.peers[WEB] = peers
        told.telling.announced([WEB])
    assert told.events == [("web", "nodeAssigned")]
    assert told.note == 'announcing from node "a" with protocol "bgp"'
    assert told.telling.bgp.errands._wishes == {WEB: {"peers": ["spine", "tor"]}}
    told.peers.clear()
    told.telling.announced([WEB])
    assert told.telling.bgp.errands._wishes == {WEB: None}


def test_what_an_earlier_speaker_announced_is_withdrawn_only_if_we_do_not() -> None:
    told = Told()
    told.telling._former = frozenset({WEB, key("gone")})
    told.peers[WEB] = {"tor"}
    told.telling._speaker.routing.known = False
    told.telling.announced([])
    assert len(told.telling.bgp.errands) == 0
    told.telling._speaker.routing.known = True
    told.telling.announced([WEB])
    assert told.telling.bgp.errands._wishes == {key("gone"): None, WEB: {"peers": ["tor"]}}
