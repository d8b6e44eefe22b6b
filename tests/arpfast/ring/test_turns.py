"""The shell around the rules, with a gossip and a wire that only write down what they are told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from arpfast.crossing import Fact, FactKind
from arpfast.gossip.joining import Missing
from arpfast.gossip.members import Member
from arpfast.gossip.members import State as Belief
from arpfast.interfaces import Interface
from arpfast.ring.ring import BROADCAST_AT_MOST, STANDING, Ring
from arpfast.ring.roster import Gossip as State
from arpfast.ring.settings import RingSettings
from arpfast.ring.standing import Standing, encode
from arpfast.ring.telling import ring_state
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from arpfast.gossip.node import Node
    from arpfast.ring.orders import Event
    from arpfast.ring.watching import Watching

MAC = bytes([2, 0, 0, 0, 0, 2])
SETTINGS = RingSettings(members=("192.0.2.1", "192.0.2.2"))


class Gossip:
    """Takes what a packet has room for, and refuses the rest, as the real one."""

    def __init__(self) -> None:
        self.broadcasts: list[bytes] = []
        self.exchanged = asyncio.Event()

    def broadcast(self, _topic: str, payload: bytes) -> None:
        if len(payload) > 1300:
            raise ValueError("too long")
        self.broadcasts.append(payload)

    def exchange(self, _name: str) -> None:
        self.exchanged.set()

    def send(self, _payload: bytes, *_names: str) -> None:
        """Nobody is there."""

    def members(self) -> tuple[Member, ...]:
        return (Member("b", "192.0.2.2", 7946, b"", Belief.DEAD, 1),)

    def missing(self) -> tuple[Missing, ...]:
        return tuple(Missing(f"192.0.2.{last}:7946", "expected a sealed stream", refused=True) for last in (2, 3))


class Wire:
    """Nobody is watched."""

    def __init__(self) -> None:
        self.profiles: list[str] = []

    def want(self, *_: object) -> None:
        """What the rules want watched."""

    def profile(self, profile: str) -> None:
        self.profiles.append(profile)

    def interfaces(self, _used: object) -> None:
        """Where it listens."""

    def resume(self) -> None:
        """The ring has settled."""


def a_ring(wire: Wire, report: Callable[[Event], None] = lambda _: None) -> Ring:
    """One that answers and announces nothing."""
    return Ring(
        "a",
        SETTINGS,
        answer=lambda *_: None,
        announce=lambda _: None,
        watching=cast("Watching", wire),
        report=report,
    )


def in_a_loop(act: Callable[[Ring, Gossip, Wire], Any]) -> Any:
    async def run() -> Any:
        gossip, wire = Gossip(), Wire()
        ring = a_ring(wire)
        ring.node = cast("Node", gossip)
        return act(ring, gossip, wire)

    return asyncio.run(run())


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_standing_of_any_length_is_taken_and_only_a_short_one_passed_on(count: int) -> None:
    claims = Spans(Span(4, 2 * number, 2 * number) for number in range(count))
    payload = STANDING + encode(Standing("b", 7, claims={1: claims}))

    def hear(ring: Ring, gossip: Gossip, _wire: Wire) -> None:
        ring.heard(payload)
        assert ring.ownership.standings()["b"].owned == claims
        assert (payload in gossip.broadcasts) is (len(payload) <= BROADCAST_AT_MOST)
        assert ring.counts["turns"] == 1

    in_a_loop(hear)


def test_however_many_announcements_of_a_rival_are_settled_in_one_turn() -> None:
    async def run() -> None:
        told: list[Event] = []
        ring = a_ring(Wire(), told.append)
        gossip = Gossip()
        ring.node = cast("Node", gossip)
        addresses = Spans.parse("192.0.2.0/24")
        ring.want(addresses, Spans(), SETTINGS)
        ring.ownership.gossip("b", State.ALIVE, ours=True)
        ring.heard(STANDING + encode(Standing("b", 7, macs=(MAC,))))
        ring.ownership.settle(0.0)
        ring.turn()
        turns = ring.counts["turns"]
        for address in range(0xC0000200, 0xC0000300):
            ring.facts([Fact(FactKind.RIVAL, 2, 4, address, MAC, 0)])
        async with asyncio.timeout(20):
            await gossip.exchanged.wait()
        assert ring.counts["turns"] <= turns + 2
        assert [event.spans for event in told if event.event == "rival"] == [addresses]

    asyncio.run(run())


def test_a_reload_changes_how_long_the_thread_may_stand_still() -> None:
    def reload(ring: Ring, _gossip: Gossip, wire: Wire) -> None:
        ring.want(Spans(), Spans(), msgspec.structs.replace(SETTINGS, profile="fast"))
        assert wire.profiles == ["fast"]

    in_a_loop(reload)


def test_configured_members_that_were_never_heard_are_told_with_the_reason() -> None:
    """A member with another key is no member that anybody knows of."""

    def look(ring: Ring, _gossip: Gossip, _wire: Wire) -> None:
        ring.others = {f"192.0.2.{last}:7946": f"192.0.2.{last}" for last in (2, 3)}
        assert ring.absent().unheard == (Missing("192.0.2.3:7946", "expected a sealed stream", refused=True),)
        ring.node = None
        assert ring.absent().unheard == ()

    in_a_loop(look)


def test_with_a_quorum_only_configured_members_count() -> None:
    def look(ring: Ring, _gossip: Gossip, _wire: Wire) -> None:
        without = msgspec.structs.replace(SETTINGS, members=("192.0.2.1", "192.0.2.3"))
        ring.want(Spans(), Spans(), without)
        ring.turn()
        assert not ring.ownership.strangers, "expected it not to matter"
        ring.want(Spans(), Spans(), msgspec.structs.replace(without, quorum=True))
        ring.turn()
        assert ring.ownership.strangers == {"b"}
        ring.want(Spans(), Spans(), msgspec.structs.replace(SETTINGS, quorum=True))
        ring.turn()
        assert not ring.ownership.strangers

    in_a_loop(look)


def test_a_member_that_comes_back_with_another_key_is_told_of_by_the_others() -> None:
    async def run() -> None:
        told: list[Event] = []
        ring = a_ring(Wire(), told.append)
        ring.node = cast("Node", Gossip())
        ring.others = {f"192.0.2.{last}:7946": f"192.0.2.{last}" for last in (2, 3)}
        refused = "192.0.2.2:7946", "expected a sealed stream"
        ring.refused(*refused)
        assert not told, "expected whoever settles to tell by itself"
        ring.ownership.settle(0.0)
        ring.refused(*refused)
        assert [event.why for event in told] == ["192.0.2.2:7946: expected a sealed stream"]
        ring.ownership.gossip("b", State.DEAD, ours=True)
        shown = ring_state(ring.ownership, "default", ring.absent())
        assert [member.why for member in shown.members[1:]] == ["dead, but answers: expected a sealed stream"]
        assert len(shown.missing) == 1

    asyncio.run(run())


def test_who_is_refused_by_a_configured_member_warns_when_it_settles() -> None:
    """Who is merely not there yet is no news: somebody has to be the first."""

    async def run() -> None:
        told: list[Event] = []
        settled = asyncio.Event()

        def hear(event: Event) -> None:
            told.append(event)
            if event.event == "settled":
                settled.set()

        ring = a_ring(Wire(), hear)
        ring.others = {f"192.0.2.{last}:7946": f"192.0.2.{last}" for last in (2, 3)}
        ring.interfaces([Interface(2, "eth0", MAC, up=True, carrier=True)])
        running = asyncio.create_task(ring.run(cast("Node", Gossip())))
        async with asyncio.timeout(20):
            await settled.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        warned = [event.why for event in told if event.event == "not everybody could be heard"]
        assert warned == ["192.0.2.3:7946: expected a sealed stream"]

    asyncio.run(run())
