"""When an election is held: only when something may follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arpfast.election import elect
from arpfast.ring import electorate
from arpfast.ring.orders import Terms
from arpfast.ring.roster import Gossip, Wire
from arpfast.spans import NOTHING, Spans
from tests.arpfast.ring.world import World

if TYPE_CHECKING:
    import pytest

    from arpfast.election import Ballot


def test_a_turn_that_nothing_follows_from_holds_no_election(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def counted(*inputs: Any) -> Ballot:
        held.append(inputs)
        return elect(*inputs)

    monkeypatch.setattr(electorate, "elect", counted)
    world = World("abc", Spans.parse("192.0.2.10-192.0.2.21"), Terms(members=3, hold_down_s=3.0))
    world.run(5.0)
    host = world.hosts["a"]
    before = host.ownership.owned
    held.clear()
    for _ in range(100):
        host.turn()
    host.ownership.be(unhealthy=NOTHING)
    host.ownership.gossip("b", Gossip.ALIVE, ours=True)
    host.turn()
    assert not held
    host.ownership.gossip("b", Gossip.SUSPECT, ours=True)
    host.turn()
    host.turn()
    assert len(held) == 1
    host.ownership.wire("b", Wire.SILENT, world.now)
    host.turn()
    assert host.ownership.owned != before
    host.turn()
    host.turn()
    assert len(held) == 3, "expected another one once it knows what it has taken, and no more"
