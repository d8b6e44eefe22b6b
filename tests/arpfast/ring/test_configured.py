"""What a member makes of others that are not as they should be, and tells of itself."""

from arpfast.ring.orders import Terms
from arpfast.ring.ownership import Ownership
from arpfast.ring.roster import Gossip
from arpfast.ring.standing import Standing
from arpfast.ring.telling import address_state
from arpfast.spans import NOTHING
from tests.arpfast.ring.world import ADDRESSES


def test_why_a_member_answers_for_nothing_is_told_of_each_address() -> None:
    me = Ownership(Standing("a", 7), Terms(quorum=True, members=2))
    me.want(ADDRESSES, NOTHING)

    def aside() -> str:
        me.orders(0.0)
        return address_state(me, 4, 0xC000020A).aside

    assert aside() == "it stands aside until it has heard the others"
    me.settle(0.0)
    assert aside() == "less than a quorum is here"
    me.terms = Terms()
    me.orders(0.0)
    me.settle(0.0)
    assert aside() == ""
    me.be(carrier=False)
    assert aside() == "no interface has a carrier"


def test_two_members_of_one_hardware_address_are_told_of_once() -> None:
    """By each other, and by a third."""
    clone, other = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
    told = []
    for me, mac in (("a", clone), ("c", other)):
        one = Ownership(Standing(me, 7, macs=(mac,)), Terms())
        for name in "ab":
            one.gossip(name, Gossip.ALIVE, ours=True)
        one.orders(0.0)
        for serial in (7, 8):
            for name in {"a", "b"} - {me}:
                one.standing(Standing(name, serial, macs=(clone,)))
            told.append([(e.event, e.why.partition(";")[0]) for e in one.orders(0.1).events])
    twice = "hardware address claimed twice"
    assert told[0] == [(twice, "02:00:00:00:00:01 is also that of a")]
    assert [event for event, _ in told[2]] == [twice]
    assert told[1] == told[3] == []


def test_who_is_not_among_the_configured_members_makes_no_quorum() -> None:
    """A host that was taken off the list goes on running: with it, both halves of a ring of three would have one."""
    me = Ownership(Standing("a", 7), Terms(quorum=True, members=3))
    me.want(ADDRESSES, NOTHING)
    me.strangers = frozenset({"d"})
    for name in "bcd":
        me.gossip(name, Gossip.ALIVE, ours=True)
    me.settle(0.0)
    assert me.orders(0.0).answers
    for name in "bc":
        me.gossip(name, Gossip.DEAD, ours=True)
    told = me.orders(0.1)
    assert not told.answers
    assert [event.why for event in told.events if event.event == "quorum lost"] == ["1 of 3 members here"]
