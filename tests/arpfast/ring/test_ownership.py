"""A ring of the real decisions, through deaths, freezes, cuts and returns, in virtual time."""

import pytest

from arpfast.election import Method
from arpfast.ring.orders import Terms
from arpfast.ring.ownership import Ownership
from arpfast.ring.roster import Gossip
from arpfast.ring.standing import Standing
from arpfast.spans import NOTHING, Spans
from tests.arpfast.ring.world import (
    ADDRESS,
    ADDRESSES,
    ALARM_S,
    DELAY_S,
    QUIET_S,
    SUSPECT_S,
    TICK_S,
    World,
    owner,
    ring,
)


def outage_s(world: World, at_most_s: float) -> float:
    """How long until the address has an owner."""
    since = world.now
    while not world.owners(ADDRESS):
        world.run(TICK_S)
        assert world.now - since < at_most_s
    return world.now - since


def test_members_that_start_together_share_evenly() -> None:
    world = ring()
    assert all(3 <= share.size <= 6 for share in world.shares().values())


@pytest.mark.parametrize("inherit", [False, True])
def test_a_dead_owner_is_succeeded_as_soon_as_ring_and_wire_agree(inherit: bool) -> None:
    world = ring(inherit=inherit)
    world.hosts[owner(world)].stop()
    soon = ALARM_S if inherit else SUSPECT_S + ALARM_S
    assert outage_s(world, 10) <= soon + 4 * TICK_S
    world.run(QUIET_S)
    world.check_one_owner_each()


@pytest.mark.parametrize("inherit", [False, True])
def test_silence_about_what_an_outsider_has_is_no_death(inherit: bool) -> None:
    world = World("abc", ADDRESSES, Terms(members=3, hold_down_s=3.0, inherit=inherit))
    world.outsiders = Spans.parse(ADDRESS)
    world.run(QUIET_S)
    world.check_one_owner_each()
    told = len(world.told)
    world.run(QUIET_S)
    assert not world.told[told:], "expected nothing to move"
    frozen = world.hosts[owner(world)]
    frozen.freeze()
    world.run(0.04)
    frozen.thaw()
    world.run(1.0)
    assert frozen.ownership.fresh == world.outsiders, "expected it to be probed again, and nothing else"
    heir = world.hosts[owner(world)]
    heir.stop()
    world.run(QUIET_S)
    assert world.hosts[owner(world)].ownership.fresh & world.outsiders, "expected who takes it to probe it"


def test_who_starts_says_so_before_it_takes_part() -> None:
    starting = Ownership(Standing("a", 7), Terms())
    starting.want(ADDRESSES, NOTHING)
    said = starting.orders(0.0).standing
    assert said is not None
    assert (said.settling, said.macs, said.claims) == (True, (), {})
    assert starting.orders(0.1).standing is None, "expected it once"
    starting.be(macs=(b"\2\0\0\0\0\1",))
    said = starting.orders(0.2).standing
    assert said is not None
    assert said.macs == (b"\2\0\0\0\0\1",)
    other = Ownership(Standing("b", 7), Terms())
    other.want(ADDRESSES, NOTHING)
    other.gossip("a", Gossip.ALIVE, ours=True)
    other.standing(said)
    other.settle(0.2)
    assert other.orders(0.2).answers == ADDRESSES, "expected nothing to be left to who may take long to settle"


def test_of_two_hosts_of_one_name_one_stays() -> None:
    twins = [Ownership(Standing("a", serial, macs=(bytes([2, 0, 0, 0, 0, serial]),)), Terms()) for serial in (8, 7)]
    for twin in twins:
        twin.want(ADDRESSES, NOTHING)
        twin.settle(0.0)
    for _ in range(6):
        for one, other in (twins, twins[::-1]):
            one.orders(0.1)
            if one.said is not None:
                other.standing(one.said)
    answered = [twin.orders(0.2).answers for twin in twins]
    assert answered == [NOTHING, ADDRESSES]
    assert [twin.displaced for twin in twins] == [True, False]


def test_who_comes_back_with_another_clock_and_other_hardware_is_no_twin() -> None:
    host = Ownership(Standing("a", 7, macs=(b"\2\0\0\0\0\2",)), Terms())
    host.want(ADDRESSES, NOTHING)
    before = Standing("a", 99, macs=(b"\2\0\0\0\0\1",), claims={4: ADDRESSES})
    for _ in range(3):
        host.standing(before)
        host.settle(0.0)
        orders = host.orders(0.1)
    assert orders.answers == ADDRESSES
    assert host.said is not None
    assert host.said.serial > before.serial
    assert set(host.said.claims) == {5}


def test_who_loses_its_carrier_gives_up_its_claims_where_gossip_goes_another_way() -> None:
    world = ring()
    host = world.hosts[owner(world)]
    host.wire_side = 1
    host.ownership.stand_aside("no interface has a carrier")
    host.ownership.be(carrier=False)
    host.turn()
    world.run(4 * DELAY_S)
    assert world.owners(ADDRESS), "expected another owner at once"
    assert not host.answers


def test_a_frozen_owner_does_not_come_back_answering() -> None:
    world = ring()
    frozen = world.hosts[owner(world)]
    frozen.freeze()
    world.run(QUIET_S)
    world.check_one_owner_each()
    frozen.thaw()
    until = world.now + 2.5  # then its hold-down ends, and it is given its share again
    while world.now < until:
        world.run(TICK_S)
        world.check_one_owner_each()


def test_a_short_freeze_moves_nothing() -> None:
    world = ring()
    before = world.shares()
    name = owner(world)
    world.hosts[name].freeze()
    world.run(0.2)
    world.hosts[name].thaw()
    world.run(QUIET_S)
    assert world.shares() == before


def test_cut_gossip_with_the_wire_intact_moves_nothing() -> None:
    world = ring()
    before = world.shares()
    world.hosts["a"].gossip_side = 1
    for _ in range(600):
        world.run(TICK_S)
        world.check_one_owner_each()
    assert world.shares() == before
    world.hosts["a"].gossip_side = 0
    world.run(QUIET_S)
    assert world.shares() == before
    assert {"silent on the wire", "took over"}.isdisjoint(event.event for at, _, event in world.told if at > 1005)


def test_all_gossip_cut_with_the_wire_intact_moves_nothing() -> None:
    world = ring()
    before = world.shares()
    for side, host in enumerate(world.hosts.values()):
        host.gossip_side = side
    world.run(20)
    assert world.shares() == before


@pytest.mark.parametrize("inherit", [False, True])
def test_each_part_has_its_owner_and_one_is_left_soon_after_the_heal(inherit: bool) -> None:
    world = ring(inherit=inherit)
    world.hosts["a"].gossip_side = world.hosts["a"].wire_side = 1
    world.run(QUIET_S)
    world.check_one_owner_each()
    world.hosts["a"].gossip_side = world.hosts["a"].wire_side = 0
    world.run(5 * TICK_S + 2 * DELAY_S)
    world.check_one_owner_each()


@pytest.mark.parametrize("inherit", [False, True])
def test_after_a_heal_who_stays_the_owner_announces_what_the_other_has_announced_too(inherit: bool) -> None:
    world = ring(inherit=inherit)
    alone = world.hosts["a"]
    alone.gossip_side = alone.wire_side = 1
    world.run(QUIET_S)
    before = world.shares()
    for host in world.hosts.values():
        host.announced = NOTHING
    alone.gossip_side = alone.wire_side = 0
    for _ in range(20):
        world.run(DELAY_S)
        for name, share in world.shares().items():
            before[name] &= share
    assert any(before.values())
    assert all(before[name] - host.announced == NOTHING for name, host in world.hosts.items())


def test_an_orderly_hand_over_is_announced_once() -> None:
    world = ring()
    for host in world.hosts.values():
        host.announced = NOTHING
    world.hosts["a"].ownership.be(drained=True)
    world.hosts["a"].turn()
    world.run(QUIET_S)
    assert not any(host.announced for host in world.hosts.values())


def test_with_a_quorum_the_minority_is_silent() -> None:
    world = ring(quorum=True)
    alone = world.hosts["a"]
    alone.gossip_side = alone.wire_side = 1
    world.run(QUIET_S)
    assert not alone.answers
    assert {owner(world)} <= {"b", "c"}
    alone.gossip_side = alone.wire_side = 0
    world.run(QUIET_S)
    world.check_one_owner_each()


def test_who_finds_a_quorum_again_takes_nothing_back_before_it_has_heard_the_others() -> None:
    world = ring(quorum=True)
    name = owner(world)
    alone = world.hosts[name]
    alone.gossip_side = alone.wire_side = 1
    world.run(QUIET_S)
    before = {other: share for other, share in world.shares().items() if other != name}
    alone.gossip_side = alone.wire_side = 0
    until = world.now + 2.5
    while world.now < until:
        world.run(DELAY_S)
        assert not alone.answers, "expected its hold-down"
        assert {other: share for other, share in world.shares().items() if other != name} == before
    world.run(QUIET_S)
    assert alone.answers
    world.check_one_owner_each()


def test_the_word_of_others_alone_kills_nobody_that_can_be_asked() -> None:
    world = ring()
    before = world.shares()
    told = len(world.told)
    for host in world.hosts.values():
        if host.name != "c":
            host.view("c", Gossip.DEAD)
            host.turn()
    world.run(4.0)
    assert world.shares() == before
    assert {"took over", "took"}.isdisjoint(event.event for _, _, event in world.told[told:])


def test_a_drained_member_hands_over_without_a_gap_and_comes_back_later() -> None:
    world = ring()
    name = owner(world)
    world.hosts[name].ownership.be(drained=True)
    world.hosts[name].turn()
    while world.hosts[name].answers:
        assert world.owners(ADDRESS), "make before break"
        world.run(DELAY_S / 4)
        assert world.now < 1006.0
    world.run(QUIET_S)
    world.check_one_owner_each()
    world.hosts[name].ownership.be(drained=False)
    world.hosts[name].turn()
    for _ in range(200):
        assert world.owners(ADDRESS)
        world.run(DELAY_S)
    world.run(QUIET_S)
    world.check_one_owner_each()
    assert world.hosts[name].answers


def test_a_returning_member_takes_nothing_before_its_hold_down() -> None:
    world = ring()
    name = owner(world)
    world.hosts[name].stop()
    world.run(QUIET_S)
    world.hosts[name].start()
    world.run(2.5)
    assert not world.hosts[name].answers
    world.run(5.0)
    assert 3 <= world.hosts[name].answers.size <= 6
    world.check_one_owner_each()


def test_metallbs_order_is_taken_back_at_once() -> None:
    world = ring(method=Method.METALLB)
    name = owner(world)
    before = world.shares()
    world.hosts[name].stop()
    world.run(QUIET_S)
    world.check_one_owner_each()
    world.hosts[name].start()
    world.run(QUIET_S + 3)
    assert world.shares() == before


def test_what_failed_its_check_moves_and_what_fails_everywhere_stays() -> None:
    world = ring()
    name = owner(world)
    world.hosts[name].ownership.be(unhealthy=Spans.parse(ADDRESS))
    world.hosts[name].turn()
    world.run(1.0)
    moved_to = owner(world)
    assert moved_to != name
    for host in world.hosts.values():
        host.ownership.be(unhealthy=Spans.parse(ADDRESS))
        host.turn()
    world.run(1.0)
    assert owner(world) == moved_to
