"""A ring of hosts on several networks, and whatever may befall a ring, in virtual time."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arpfast.election import Method
from arpfast.spans import Spans
from tests.arpfast.ring.world import ADDRESS, ADDRESSES, ALARM_S, QUIET_S, SUSPECT_S, TICK_S, World, owner, ring

NETWORKS = ADDRESSES.of_version(4), ADDRESSES.of_version(6)


@pytest.mark.parametrize("inherit", [False, True])
def test_who_is_cut_off_on_one_network_loses_what_is_at_home_there(inherit: bool) -> None:
    """Its gossip went the same way; on the other network it answers all the time, and keeps what it has there."""
    world = ring(networks=NETWORKS, inherit=inherit)
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
    world = ring(networks=NETWORKS, inherit=True, method=method)
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
    world = ring(networks=NETWORKS, inherit=True)
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
@given(MISHAPS, st.booleans(), st.sampled_from([2, 3, 4]), st.sampled_from([(), NETWORKS]))
@example(mishaps=[("drain", 0, 0.01), ("cut gossip", 0, 0.01)], inherit=False, size=2, networks=())
def test_whatever_befalls_them_each_part_ends_with_one_owner_of_each_address(
    mishaps: list[tuple[str, int, float]], inherit: bool, size: int, networks: tuple[Spans, ...]
) -> None:
    world = ring("abcd"[:size], networks, inherit=inherit)
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
