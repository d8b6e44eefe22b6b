"""From whatever the daemon has to what is wanted: by the difference, in an order that no peer suffers from."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.communities import order
from cluster.config import Peer
from speaker.bgp import messages, paths, peers
from speaker.bgp.failure import DaemonError
from speaker.bgp.reconciling import Reconciliation
from speaker.bgp.routes import Plan, Planner, Target
from speaker.bgp.wish import Attributes, Neighbour
from tests.speaker.bgp.stand_in import LOOKALIKE, StandIn

PEERS = ["a", "b", "c"]
PREFIXES = ["198.51.100.0/24", "198.51.100.1/32", "2001:db8:1::/64"]
ATTRIBUTES = st.builds(
    Attributes,
    st.sampled_from([0, 100]),
    st.sets(st.sampled_from(["1:1", "large:1:2:3", LOOKALIKE])).map(lambda some: tuple(sorted(some, key=order))),
)
WISHES = st.tuples(
    st.dictionaries(st.sampled_from(PEERS), st.sampled_from([1, 2])),  # a peer, and the version of its settings
    st.dictionaries(st.sampled_from(PREFIXES), st.dictionaries(st.sampled_from(PEERS), ATTRIBUTES)),
)
Wanted = tuple[dict[str, int], dict[str, dict[str, Attributes]]]


def neighbours(versions: dict[str, int]) -> dict[str, messages.Peer]:
    wanted = {}
    for name, version in versions.items():
        address = f"192.0.2.{PEERS.index(name) + 1}"
        peer = Peer(name=name, my_asn=64512, asn=64512 + version, address=address, nodes=frozenset())
        wanted[name] = peers.write(Neighbour(peer), address)
    return wanted


def plan(wanted: Wanted) -> Plan:
    targets = {name: Target(f"192.0.2.{PEERS.index(name) + 1}") for name in wanted[0]}
    return Planner(targets).plan(wanted[1])


async def apply(daemon: Reconciliation, stand_in: StandIn, wanted: Wanted) -> None:
    planned = plan(wanted)
    stand_in.wanted_before_peers = set(planned.routes)
    await daemon.apply(planned, neighbours(wanted[0]))


def has(stand_in: StandIn, wanted: Wanted) -> bool:
    planned = plan(wanted)
    found = [
        paths.read(messages.Destination(prefix, (path,)), planned.rules) for prefix, path in stand_in.paths.items()
    ]
    digests = {name: peers.known(peer).digest for name, peer in neighbours(wanted[0]).items()}
    statements = {each.name for rule in planned.rules.values() for each in rule.statements}
    return (
        dict(each for each in found if each is not None) == planned.routes
        and stand_in.names() == digests
        and stand_in.statements.keys() == statements
    )


@given(st.lists(st.tuples(WISHES, st.none() | st.integers(0, 20)), min_size=1, max_size=6))
def test_whatever_happened_before_the_daemon_ends_up_with_what_is_wanted(
    story: list[tuple[Wanted, int | None]],
) -> None:
    """Each wish is carried out by a new half of ours, or fails on the way."""

    async def tell() -> None:
        stand_in = StandIn()
        for wanted, fail_after in story:
            stand_in.fail_after = fail_after
            daemon = Reconciliation(stand_in)
            with suppress(DaemonError):
                await daemon.read()
                await apply(daemon, stand_in, wanted)
                assert has(stand_in, wanted)
        stand_in.fail_after = None
        daemon = Reconciliation(stand_in)
        await daemon.read()
        await apply(daemon, stand_in, story[-1][0])
        assert has(stand_in, story[-1][0])
        # Once it has all, it is asked for nothing more, not even by another half of ours.
        stand_in.asked.clear()
        await apply(daemon, stand_in, story[-1][0])
        assert stand_in.asked == []
        again = Reconciliation(stand_in)
        await again.read()
        stand_in.asked.clear()
        await apply(again, stand_in, story[-1][0])
        assert stand_in.asked == []

    asyncio.run(tell())


@given(WISHES, WISHES)
def test_a_change_disturbs_no_peer_that_stays_as_it_is(before: Wanted, after: Wanted) -> None:
    async def tell() -> None:
        stand_in = StandIn()
        daemon = Reconciliation(stand_in)
        await daemon.read()
        await apply(daemon, stand_in, before)
        stand_in.asked.clear()
        await apply(daemon, stand_in, after)
        changed = [name for name in before[0] if before[0][name] != after[0].get(name)]
        added = [name for name in after[0] if before[0].get(name) != after[0][name]]
        assert stand_in.asked.count("DeletePeer") == len(changed)
        assert stand_in.asked.count("AddPeer") == len(added)
        assert stand_in.asked.count("SetPolicies") <= 2
        if plan(before) == plan(after):
            assert "AddPathStream" not in stand_in.asked

    asyncio.run(tell())


def tell(wanted: Wanted, **how: Any) -> tuple[StandIn, Reconciliation]:
    stand_in = StandIn()
    for name, value in how.items():
        setattr(stand_in, name, value)
    daemon = Reconciliation(stand_in)

    async def telling() -> None:
        await daemon.read()
        await apply(daemon, stand_in, wanted)

    asyncio.run(telling())
    return stand_in, daemon


def test_a_peer_that_is_refused_stops_nobody_else() -> None:
    wanted: Wanted = ({"a": 1, "b": 1, "c": 1}, {PREFIXES[0]: dict.fromkeys(PEERS, Attributes())})
    stand_in, daemon = tell(wanted, refuse={"192.0.2.2"})
    assert stand_in.names().keys() == {"a", "c"}
    assert daemon.refused == {"b": "no"}
    stand_in.refuse = set()
    asyncio.run(apply(daemon, stand_in, wanted))
    assert has(stand_in, wanted)
    assert daemon.refused == {}


def test_peers_of_strangers_are_removed() -> None:
    stranger = neighbours({"a": 1})["a"]
    assert stranger.conf is not None
    conf = msgspec.structs.replace(stranger.conf, description="not ours", neighbor_address="192.0.2.77")
    wanted: Wanted = ({"b": 1}, {})
    stand_in, _ = tell(wanted, peers={"192.0.2.77": msgspec.structs.replace(stranger, conf=conf)})
    assert stand_in.peers.keys() == {"192.0.2.2"}


def test_a_peer_that_cannot_be_named_is_left_alone() -> None:
    """To remove it would end the daemon."""
    nameless = messages.Peer(messages.PeerConf(neighbor_address="invalid IP"))
    stand_in, _ = tell(({"b": 1}, {}), peers={"invalid IP": nameless})
    assert "DeletePeer" not in stand_in.asked
    assert stand_in.names().keys() == {"", "b"}


def test_what_is_announced_and_withdrawn_is_counted() -> None:
    everything = {prefix: {"a": Attributes()} for prefix in PREFIXES}
    stand_in, daemon = tell(({"a": 1}, everything))
    assert (daemon.announced, daemon.withdrawn) == (3, 0)
    asyncio.run(apply(daemon, stand_in, ({"a": 1}, {PREFIXES[0]: {"a": Attributes(7)}})))
    assert (daemon.announced, daemon.withdrawn) == (4, 2)


def test_a_daemon_that_is_gone_is_said_so() -> None:
    with pytest.raises(DaemonError, match="gone"):
        tell(({}, {}), fail_after=3)
