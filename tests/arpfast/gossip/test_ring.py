"""Whole rings in virtual time: joining, dying, partitions, loss, freezing, in rings of three to a thousand."""

from __future__ import annotations

import gc
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arpfast.gossip.keys import Key
from arpfast.gossip.members import State
from arpfast.gossip.suspicion import least_s
from arpfast.gossip.timing import LAN, LOCAL, RING, Timing
from arpfast.gossip.wire import Wire
from tests.arpfast.gossip.simulation import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator

ALIVE, SUSPECT, DEAD, LEFT = State


def joined(size: int, timing: Timing = RING, seed: int = 1) -> Ring:
    """A ring that came together by itself."""
    ring = Ring(size, timing=timing, seed=seed, joined=False)
    first, *others = ring.hosts.values()
    for host in others:
        ring.join(host, first)
    ring.expect(ring.agreed, 20)
    return ring


@pytest.mark.parametrize("size", [2, 3, 7, 40])
@pytest.mark.parametrize("timing", [RING, LAN], ids=["ring", "lan"])
def test_members_that_join_by_one_know_all(size: int, timing: Timing) -> None:
    ring = joined(size, timing)
    ring.run(10)
    assert ring.agreed()
    assert not ring.deaths()


@pytest.mark.parametrize("size", [3, 5, 20])
def test_a_death_is_suspected_by_all_within_400_ms(size: int) -> None:
    """Two intervals of a watched ring and the way of the news; whatever the phase of the probes."""
    for seed in range(15):
        ring = Ring(size, seed=seed)
        ring.run(0.5 + 0.07 * seed)
        ring.kill("m2")
        ring.expect(partial(ring.all_see, "m2", SUSPECT), 0.4)
        took = ring.expect(partial(ring.all_see, "m2", DEAD), 10)
        assert took > least_s(RING, size) - 0.4
        assert {name for _, _, name in ring.deaths()} == {"m2"}


@pytest.mark.parametrize("timing", [LAN, LOCAL], ids=["lan", "local"])
def test_a_death_is_found_with_the_timing_of_the_peers(timing: Timing) -> None:
    for seed in range(5):
        ring = Ring(5, timing=timing, seed=seed)
        ring.run(2 + seed / 3)
        ring.kill("m3")
        suspected_s, most_s = 5 * timing.probe_interval_s, timing.suspicion_max_mult * least_s(timing, 5)
        ring.expect(partial(ring.all_see, "m3", DEAD, None), suspected_s + most_s)  # some may have forgotten it before


def test_each_member_is_watched_by_exactly_one_other() -> None:
    ring = Ring(20)
    watched = [record.name for host in ring.running for record in host.protocol._table.successors(1)]
    assert sorted(watched) == sorted(ring.hosts)


def test_a_condemned_suspect_is_dead_for_all_at_once_and_comes_back_if_it_lives() -> None:
    ring = Ring(5)
    ring.run(1)
    ring.kill("m2")
    ring.expect(lambda: ring.hosts["m1"].sees("m2") is SUSPECT, 1)
    assert ring.hosts["m1"].protocol.condemn("m2", ring.now)
    ring.hosts["m1"].flush()
    ring.expect(lambda: ring.all_see("m2", DEAD), 0.3)
    ring.restart("m2", via="m3")
    ring.expect(ring.agreed, 2)


def test_who_leaves_is_gone_at_once_and_may_come_back_with_another_address() -> None:
    ring = Ring(6)
    ring.run(1)
    leaver = ring.hosts["m4"]
    leaver.protocol.leave(ring.now, lambda: setattr(leaver, "left", True))
    leaver.flush()
    ring.expect(lambda: leaver.left, 2)
    ring.kill("m4")
    ring.expect(lambda: ring.all_see("m4", LEFT), 0.2)
    ring.run(5)
    assert not ring.deaths()
    ring.restart("m4", address=44, via="m1")
    ring.expect(ring.agreed, 2)


@pytest.mark.parametrize("address", [None, 44], ids=["same address", "another address"])
def test_who_was_killed_comes_back(address: int | None) -> None:
    ring = Ring(4)
    ring.run(1)
    ring.kill("m4")
    ring.expect(lambda: ring.all_see("m4", DEAD), 10)
    ring.run(1.1)  # the name is kept for a second
    ring.restart("m4", address=address, via="m1")
    ring.expect(ring.agreed, 3)


def test_who_was_restarted_before_anybody_noticed_is_just_there() -> None:
    ring = Ring(4)
    ring.run(1)
    ring.kill("m4")
    ring.restart("m4", via="m1")
    ring.run(5)
    assert ring.agreed()
    assert not ring.deaths()


@pytest.mark.parametrize("sides", [(1, 2), (2, 2), (10, 10), (2, 18)])
def test_a_partition_is_two_rings_and_heals_within_a_second(sides: tuple[int, int]) -> None:
    """By itself, without anybody configured to be joined, and after a long time."""
    one, other = sides
    ring = Ring(one + other)
    names = list(ring.hosts)
    ring.run(1)
    ring.part(names[:one])
    ring.run(60)
    assert ring.agreed(among=names[:one])
    assert ring.agreed(among=names[one:])
    ring.heal()
    ring.expect(ring.agreed, 1.0)
    ring.run(3)
    assert ring.agreed()


def test_one_that_only_hears_or_only_speaks_is_not_alive_for_long_and_heals() -> None:
    ring = Ring(5)
    ring.run(1)
    mute = ring.hosts["m2"]
    ring.deaf = lambda sender, receiver: sender is mute
    ring.expect(lambda: all(host.sees("m2") is DEAD for host in ring.running if host is not mute), 12)
    ring.deaf = lambda sender, receiver: False
    ring.expect(ring.agreed, 3)


def test_without_datagrams_between_two_the_others_and_streams_keep_them_alive() -> None:
    ring = Ring(5)
    pair = {ring.hosts["m1"], ring.hosts["m2"]}
    ring.deaf = lambda sender, receiver: {sender, receiver} == pair
    ring.run(60)
    assert not ring.deaths()
    assert ring.agreed()


def test_invariant_12_who_was_frozen_finds_itself_dead_and_nobody_else() -> None:
    for seconds in (0.3, 1, 10, 120):
        ring = Ring(5)
        ring.run(1)
        ring.freeze("m3")
        ring.run(seconds)
        ring.thaw("m3")
        ring.expect(ring.agreed, 2)
        assert {name for _, _, name in ring.deaths()} <= {"m3"}
        assert not [at for at, host, _ in ring.deaths() if host == "m3"]
        assert ring.hosts["m3"].protocol.counts.lags >= 1


def test_invariant_12_who_runs_by_fits_and_starts_kills_nobody() -> None:
    """Every member is stopped for up to 0.4 s again and again, as on a machine with more work than processors."""
    ring = Ring(5)
    draw = random.Random(3)
    for _ in range(300):
        names = draw.sample(list(ring.hosts), 2)
        for name in names:
            ring.freeze(name)
        ring.run(draw.uniform(0.05, 0.4))
        for name in names:
            ring.thaw(name)
        ring.run(draw.uniform(0, 0.3))
    assert not ring.deaths()


@pytest.mark.parametrize(("timing", "size"), [(RING, 3), (LAN, 5)], ids=["ring", "lan"])
def test_nobody_dies_falsely_in_an_hour_under_ten_percent_loss(timing: Timing, size: int) -> None:
    ring = Ring(size, timing=timing, seed=11)
    ring.loss = 0.1
    ring.doubled = 0.02
    ring.delay_s = (0.0002, 0.01)
    ring.run(3600)
    assert not ring.deaths()
    ring.loss = 0
    ring.expect(ring.agreed, 10)


def test_loss_does_not_keep_a_ring_from_coming_together_nor_a_death_from_being_found() -> None:
    ring = Ring(10, joined=False)
    ring.loss = 0.3
    first, *others = ring.hosts.values()
    for host in others:
        ring.join(host, first)
    ring.expect(ring.agreed, 30)
    ring.kill("m7")
    ring.expect(lambda: ring.all_see("m7", DEAD), 20)


def test_user_messages_reach_everybody_and_states_are_merged() -> None:
    ring = Ring(30)
    ring.hosts["m3"].state = b"what m3 knows"
    host = ring.hosts["m1"]
    host.protocol.broadcast("topic", b"news", ring.now)
    host.flush()
    ring.expect(lambda: all(b"news" in each.heard or each is host for each in ring.running), 5)
    assert host.protocol.exchange("m3")
    host.flush()
    ring.expect(lambda: b"what m3 knows" in host.merged, 1)
    assert not host.protocol.exchange("nobody")
    assert host.protocol.send(bytes(9000), ["m4"]) == 1
    host.flush()
    ring.expect(lambda: bytes(9000) in ring.hosts["m4"].heard, 1)


def test_invariant_3_keys_are_changed_in_a_live_ring_without_losing_anybody() -> None:
    old, new = Key(bytes(32)), Key(bytes(range(32)))
    ring = Ring(5, keys=[old])
    ring.run(2)
    for keys in ([old, new], [new, old], [new]):
        for host in ring.running:
            host.wire.set_keys(keys)
            ring.run(0.3)
    ring.run(5)
    assert ring.agreed()
    assert not any(host.changes for host in ring.running)
    assert not any(host.protocol.counts.refused_key for host in ring.running)
    ring.hosts["m1"].wire.set_keys([old])
    ring.expect(lambda: ring.all_see("m1", DEAD) or ring.hosts["m1"].sees("m2") is DEAD, 15)
    assert ring.hosts["m2"].protocol.counts.refused_key


@pytest.mark.parametrize("compress", [False, True], ids=["", "compressed"])
@pytest.mark.parametrize("keys", [(), (Key(bytes(16)),)], ids=["plain", "sealed"])
@pytest.mark.parametrize("label", ["", "ring"])
def test_invariant_14_a_ring_is_one_whatever_is_around_its_messages(
    compress: bool, keys: tuple[Key, ...], label: str
) -> None:
    ring = Ring(4, keys=keys, label=label, compress=compress)
    stranger = ring.add("stranger")
    stranger.protocol.wire = stranger.wire = stranger.protocol._outgoing.wire = Wire("another", keys)
    ring.run(3)
    ring.kill("m2")
    ring.expect(lambda: all(host.sees("m2") is DEAD for host in ring.running if host is not stranger), 10)
    assert len(stranger.protocol.members()) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("kill"), st.integers(1, 5)),
        st.tuples(st.just("restart"), st.integers(1, 5)),
        st.tuples(st.just("freeze"), st.integers(1, 5)),
        st.tuples(st.just("thaw"), st.integers(1, 5)),
        st.tuples(st.just("part"), st.integers(1, 4)),
        st.tuples(st.just("heal"), st.just(0)),
        st.tuples(st.just("run"), st.integers(1, 40)),
        st.tuples(st.just("loss"), st.integers(0, 3)),
    ),
    max_size=10,
)


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(0, 1000))
def test_whatever_happened_a_connected_ring_agrees_again(script: list[tuple[str, int]], seed: int) -> None:
    ring = Ring(5, seed=seed)
    for what, value in script:
        name = f"m{value}"
        if what == "kill":
            ring.kill(name)
        elif what == "restart" and not ring.hosts[name].running:
            ring.restart(name, via=f"m{value % 5 + 1}")
        elif what == "freeze":
            ring.freeze(name)
        elif what == "thaw" and ring.hosts[name].frozen:
            ring.thaw(name)
        elif what == "part":
            ring.part([f"m{n}" for n in range(1, value + 1)])
        elif what == "heal":
            ring.heal()
        elif what == "run":
            ring.run(value / 10)
        elif what == "loss":
            ring.loss = value / 10
    ring.heal()
    ring.loss = 0
    for host in ring.running:
        if host.frozen:
            ring.thaw(host.name)
    survivors = ring.running
    for host in survivors[1:]:  # as the joining of configured addresses does
        ring.join(host, survivors[0])
    ring.expect(ring.agreed, 20)


@pytest.mark.parametrize("parted_s", [0.4, 1.0, 3, 8])
def test_nobody_is_believed_dead_by_its_own_side_because_of_a_partition(parted_s: float) -> None:
    """The other side has found it dead, and says so; but only until it is told better."""
    for seed in range(8):
        ring = Ring(6, seed=seed)
        names = list(ring.hosts)
        sides = names[:2], names[2:]
        ring.run(1 + seed / 10)
        ring.part(sides[0])
        ring.run(parted_s)
        ring.heal()
        ring.expect(ring.agreed, 2)
        ring.run(2)
        assert ring.agreed()
        within = [(at, host, name) for at, host, name in ring.deaths() for side in sides if {host, name} <= set(side)]
        assert not within


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """A million records would be looked through again and again, for nothing."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.timeout(400)  # seconds alone, but there may be others on this machine
@pytest.mark.usefixtures("_uncollected")
def test_a_ring_of_a_thousand() -> None:
    """Without confirmations and with the shortest suspicion, to see all of it in little virtual time."""
    size = 1000
    timing = replace(LAN, suspicion_mult=1, confirmations=0, watched=1, recall_s=0.2, forget_s=600.0)
    ring = Ring(size, timing=timing)
    ring.run(0.3)
    sent = sum(ring.packets.values())
    newcomer = ring.add("newcomer")
    ring.join(newcomer, ring.hosts["m1"])
    assert len(newcomer.protocol.members()) == size + 1
    ring.expect(lambda: ring.all_see("newcomer", ALIVE), 3)
    assert (sum(ring.packets.values()) - sent) / size < 30

    island = [f"m{n}" for n in range(1, 6)]
    ring.part(island)
    ring.kill("m500")
    mainland = [host for host in ring.running if host.name not in island]
    lost = [*island, "m500"]
    ring.expect(lambda: all(host.sees(name) is SUSPECT for host in mainland[::50] for name in lost), 4)
    ring.expect(lambda: all(host.sees(name) is DEAD for host in mainland for name in lost), 6)
    ring.heal()
    ring.expect(lambda: all(host.sees(name) is ALIVE for host in mainland for name in island), 10)
    assert {name for _, host, name in ring.deaths() if host not in island} == set(lost)
