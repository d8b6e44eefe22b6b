"""A ring of the real decisions, through deaths, freezes, cuts and returns, in virtual time."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arpfast.election import Method
from arpfast.ring.orders import Terms
from arpfast.ring.ownership import Ownership
from arpfast.ring.roster import Gossip
from arpfast.ring.standing import Standing
from arpfast.ring.telling import address_state
from arpfast.spans import NOTHING, Spans
from tests.arpfast.ring.world import ALARM_S, DELAY_S, QUIET_S, SUSPECT_S, TICK_S, World

ADDRESSES = Spans.parse("192.0.2.10-192.0.2.21", "2001:db8::10-2001:db8::13")
ADDRESS = "192.0.2.10"


def ring(names: str = "abc", **terms: object) -> World:
    world = World(names, ADDRESSES, Terms(members=len(names), hold_down_s=3.0, **terms))  # type: ignore[arg-type]
    world.run(5.0)
    world.check_one_owner_each()
    return world


def owner(world: World) -> str:
    (found,) = world.owners(ADDRESS)
    return found


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


NETWORKS = ADDRESSES.of_version(4), ADDRESSES.of_version(6)


def two_networks(names: str = "abc", **terms: object) -> World:
    world = World(names, ADDRESSES, Terms(members=len(names), hold_down_s=3.0, **terms), NETWORKS)  # type: ignore[arg-type]
    world.run(5.0)
    world.check_one_owner_each()
    return world


@pytest.mark.parametrize("inherit", [False, True])
def test_who_is_cut_off_on_one_network_loses_what_is_at_home_there(inherit: bool) -> None:
    """Its gossip went the same way; on the other network it answers all the time, and keeps what it has there."""
    world = two_networks(inherit=inherit)
    host = world.hosts[owner(world)]
    had = host.answers
    host.dark, host.gossip_side = {0}, 1
    soon = ALARM_S if inherit else SUSPECT_S + ALARM_S
    since = world.now
    while not world.owners_on(0, ADDRESS):
        world.run(TICK_S)
        assert world.now - since <= soon + 4 * TICK_S
    world.run(SUSPECT_S + ALARM_S + 4 * TICK_S)
    for _ in range(5):
        world.run(1.0)
        others = Spans(span for other in world.others(host) for span in other.answers)
        assert not (had & NETWORKS[0]) - others
        assert not had & NETWORKS[1] & others, "it answers for these"
    host.dark, host.gossip_side = set(), 0
    world.run(QUIET_S)
    world.check_one_owner_each()


@pytest.mark.parametrize("method", list(Method))
def test_what_is_gossiped_elsewhere_brings_back_nobody_who_is_not_heard(method: Method) -> None:
    """The owner is cut off where its addresses are at home, knows nothing of it, and its gossip goes another way."""
    world = two_networks(inherit=True, method=method)
    host = world.hosts[owner(world)]
    kept = host.answers & NETWORKS[1]
    host.dark = {0}
    world.run(ALARM_S + 4 * TICK_S)
    for _ in range(20):
        assert len(world.owners_on(0, ADDRESS)) == 1
        assert not kept - host.answers, "these are at home where it is heard"
        world.run(0.5)
    host.dark = set()
    world.run(QUIET_S)
    world.check_one_owner_each()


def test_whose_own_cable_is_cut_takes_nothing_from_those_whom_gossip_reaches() -> None:
    world = two_networks(inherit=True)
    host = world.hosts[owner(world)]
    before = host.answers
    heirs = [other for other in world.others(host) if host.name in other.heirs]
    assert heirs
    for heir in heirs:
        heir.dark = {0}
        world.run(3.0)
        assert not before - host.answers
        heir.dark = set()
        world.run(1.0)
        assert not before - host.answers
    world.run(QUIET_S)
    world.check_one_owner_each()


MISHAPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["stop", "start", "freeze", "thaw", "cut gossip", "cut all", "cut one", "heal", "drain", "undrain", "wait"]
        ),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.3, 0.5, 1.0, 3.0]),
    ),
    max_size=14,
)


def befall(world: World, mishap: str, number: int) -> None:
    host = list(world.hosts.values())[number % len(world.hosts)]
    match mishap:
        case "stop" if host.live:
            host.stop()
        case "start" if not host.up:
            host.start()
        case "freeze" if host.live:
            host.freeze()
        case "thaw" if host.up and host.frozen:
            host.thaw()
        case "cut gossip":
            host.gossip_side = number + 1
        case "cut all":
            host.gossip_side = host.wire_side = number + 1
        case "cut one":
            host.dark = {number % 2}
        case "heal":
            host.gossip_side = host.wire_side = 0
            host.dark = set()
        case "drain" | "undrain" if host.live:
            host.ownership.be(drained=mishap == "drain")
            host.turn()


@settings(max_examples=50, deadline=None)
@given(MISHAPS, st.booleans(), st.sampled_from([2, 3, 4]), st.sampled_from([1, 2]))
@example(mishaps=[("drain", 0, 0.01), ("cut gossip", 0, 0.01)], inherit=False, size=2, networks=1)
def test_whatever_befalls_them_each_part_ends_with_one_owner_of_each_address(
    mishaps: list[tuple[str, int, float]], inherit: bool, size: int, networks: int
) -> None:
    world = (ring if networks == 1 else two_networks)("abcd"[:size], inherit=inherit)
    for mishap, number, seconds in mishaps:
        befall(world, mishap, number)
        world.run(seconds)
    for host in world.hosts.values():
        host.dark = set()
        # Cut gossip with an intact wire is another promise: nothing moves, so what has moved before stays as it is.
        host.gossip_side = host.wire_side
        if host.up and host.frozen:
            host.thaw()
    world.run(2 * QUIET_S)
    world.check_one_owner_each()
