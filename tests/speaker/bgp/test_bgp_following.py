"""What is made of what the daemon says of its peers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from cluster.config import BFDProfile, Peer
from speaker.bgp import messages, peers
from speaker.bgp.following import BARRED_S, Following
from speaker.bgp.reconciling import Reconciliation
from speaker.bgp.wish import Neighbour
from tests.speaker.bgp.stand_in import StandIn

if TYPE_CHECKING:
    import pytest

    from speaker.bgp.wish import Session

ADDRESS = "192.0.2.1"
UP, ACTIVE = 6, 3


class Story:
    """One daemon with one peer, looked at again and again."""

    def __init__(self, *, bfd: bool = False, **fields: Any) -> None:
        peer = Peer(name="tor", my_asn=64512, address=ADDRESS, nodes=frozenset(), **{"asn": 64513, **fields})
        self.neighbour = Neighbour(peer, BFDProfile(name="quick") if bfd else None)
        self.stand_in = StandIn()
        self.stand_in.peers[ADDRESS] = peers.write(self.neighbour, ADDRESS, bfd=False)
        self.following = Following(lambda: None)

    def look(self, number: int = UP, *, updates: int = 0, since_s: int = 1000, **said: Any) -> Session:
        state = messages.PeerState(
            session_state=number, neighbor_address=ADDRESS,
            messages=messages.Messages(*(messages.MessageCounts(update=each) for each in (9 * updates, updates))),
            **{"bfd_state": messages.BfdPeerState(), "peer_asn": 64513, **said},
        )  # fmt: skip
        timers = messages.Timers(state=messages.TimersState(messages.Timestamp(since_s)))
        peer = msgspec.structs.replace(self.stand_in.peers[ADDRESS], state=state, timers=timers)
        self.stand_in.peers[ADDRESS] = peer
        daemon = Reconciliation(self.stand_in)
        return asyncio.run(self.following.look(self.stand_in, daemon, {"tor": self.neighbour}))["tor"]


def test_updates_are_counted_on_when_the_daemon_begins_anew() -> None:
    story = Story()
    counted = []
    for count in (3, 3, 5, 1, 2):
        story.look(updates=count)
        traffic = story.following.tally.counted["tor"]
        counted.append(traffic.updates_sent)
        assert traffic.updates_received == 9 * traffic.updates_sent
    assert counted == [3, 3, 5, 6, 7]
    asyncio.run(story.following.look(story.stand_in, Reconciliation(story.stand_in), {}))
    assert not story.following.tally.counted


def test_bfd_that_is_wanted_and_has_not_begun_is_down() -> None:
    assert Story(bfd=True).look().bfd == "down"
    assert Story().look().bfd == "none"


def test_a_daemon_that_says_nothing_of_bfd_is_old() -> None:
    story = Story()
    story.look(bfd_state=None)
    assert story.following.old
    story.look()
    assert not story.following.old


def test_who_does_not_come_is_told_what_to_compare() -> None:
    assert Story().look(ACTIVE).why == "no agreement yet with AS 64513 at 192.0.2.1, port 179"
    assert Story(asn=0, dynamic_asn="external", port=1790).look(ACTIVE, peer_asn=0).why == (
        "no agreement yet with another AS at 192.0.2.1, port 1790"
    )


def test_a_peer_of_our_own_as_is_barred_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("speaker.bgp.following.time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 50_000.0))
    story = Story(asn=0, dynamic_asn="external")
    assert story.look(peer_asn=64999).state == "established"
    assert "DisablePeer" not in story.stand_in.asked
    story.look(peer_asn=64512)
    assert story.stand_in.asked.count("DisablePeer") == 1
    barred = story.look(1, peer_asn=0, admin_state=messages.ADMIN_DOWN)
    assert barred.why == "expected a peer of another AS, not of 64512"
    assert "EnablePeer" not in story.stand_in.asked
    now[0] += BARRED_S
    story.look(1, peer_asn=0, admin_state=messages.ADMIN_DOWN)
    assert story.stand_in.asked.count("EnablePeer") == 1


def test_bfd_begins_when_the_session_has_settled_or_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [1000.0], [50_000.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], time=lambda: clock[0])
    monkeypatch.setattr("speaker.bgp.following.time", clocks)
    quick, slow = BFDProfile(name="quick"), BFDProfile(name="slow", transmit_interval_ms=1000)
    story = Story(bfd=True)
    assert not story.following.wants_bfd("tor", quick)
    assert story.following.wants_bfd("tor", slow), "the peer may wait for our silence still"
    story.look(ACTIVE)
    assert not story.following.wants_bfd("tor", quick)
    story.look(UP, since_s=50_000)
    assert not story.following.wants_bfd("tor", quick)
    clock[0] += 2
    assert story.following.wants_bfd("tor", quick)
    story.look(ACTIVE)
    assert not story.following.wants_bfd("tor", quick)
    now[0] += 10
    assert story.following.wants_bfd("tor", quick), "it may insist on BFD"
