"""Paths and statements, judged by a plain model of how GoBGP applies an export policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.bgp import messages, paths
from speaker.bgp.protobuf import decode
from speaker.bgp.routes import LARGE, TAG_ADMIN, Planner, Target, cidr, in_order, numbers
from speaker.bgp.wish import Attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speaker.bgp.routes import Plan

TARGETS = {
    "a": Target("192.0.2.1"),
    "b": Target("192.0.2.2"),
    "c": Target("2001:db8::3"),
    "d": Target("192.0.2.4", ((messages.IPV6, "2001:db8::100"),)),
    "e": Target("2001:db8::5", ((messages.IPV4, "192.0.2.100"),)),
    "f": Target("192.0.2.6", families=(messages.IPV4,)),
}
COMMUNITIES = ["1:1", "65000:1", "65535:65535", "large:0:0:0", "large:65000:1:2", "large:4294967294:4294967295:0"]
ATTRIBUTES = st.builds(
    Attributes, st.sampled_from([0, 1, 100]), st.sets(st.sampled_from(COMMUNITIES), max_size=3).map(in_order)
)
PREFIXES = ["198.51.100.0/24", "198.51.100.1/32", "2001:db8:1::/64", "2001:db8:1::1/128"]
ROUTES = st.dictionaries(
    st.sampled_from(PREFIXES), st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f", "gone"]), ATTRIBUTES)
)


def exported(plan: Plan, prefix: str, address: str) -> tuple[str, int | None, frozenset[str]] | None:
    """Next hop (empty: the session's), local preference and communities that a peer is told; None: nothing."""
    route = plan.routes.get(prefix)
    if route is None:
        return None
    afi = messages.IPV6 if ":" in prefix else messages.IPV4
    tags = {f"{TAG_ADMIN}:{tag >> 32}:{tag & TAG_ADMIN}" for tag in route.tags}
    large = tags | {each.removeprefix(LARGE) for each in route.communities if each.startswith(LARGE)}
    plain = {each for each in route.communities if not each.startswith(LARGE)}
    sets = {each.name: each.list for rule in plan.rules.values() for each in rule.sets}
    for statement in (each for rule in plan.rules.values() for each in rule.statements):
        conditions, actions = statement.conditions, statement.actions
        assert conditions is not None
        assert actions is not None
        assert conditions.neighbor_set is not None
        assert conditions.large_community_set is not None
        assert sets[conditions.neighbor_set.name], "an empty set matches everybody"
        if cidr(address) not in sets[conditions.neighbor_set.name]:
            continue
        if conditions.afi_safi_in and afi not in {family.afi for family in conditions.afi_safi_in}:
            continue
        patterns = sets[conditions.large_community_set.name]
        if not any(re.search(pattern, each) for pattern in patterns for each in large):
            continue
        if actions.community is not None:
            assert actions.community.type == messages.ADD
            plain |= set(actions.community.communities)
        assert actions.large_community is not None
        if actions.large_community.type == messages.REPLACE:
            large = set(actions.large_community.communities)
        else:
            assert actions.large_community.type == messages.REMOVE
            taken_off = actions.large_community.communities
            large = {each for each in large if not any(re.search(pattern, each) for pattern in taken_off)}
        local_pref = route.local_pref if actions.local_pref is None else actions.local_pref.value
        next_hop = "" if actions.nexthop is None else actions.nexthop.address
        return next_hop, local_pref, frozenset(plain | {LARGE + each for each in large})
    return None


def expected(told: Mapping[str, Attributes], name: str, prefix: str, *, draining: bool) -> object:
    if name not in told:
        return None
    afi = messages.IPV6 if ":" in prefix else messages.IPV4
    if TARGETS[name].families and afi not in TARGETS[name].families:
        return None
    attributes = told[name]
    communities, local_pref = frozenset(attributes.communities), attributes.local_pref or None
    if draining:
        communities, local_pref = communities | {"65535:0"}, 0
    return dict(TARGETS[name].next_hops).get(afi, ""), local_pref, communities


@given(ROUTES, st.booleans())
def test_each_peer_hears_what_is_wanted_of_each_prefix(
    routes: dict[str, dict[str, Attributes]], draining: bool
) -> None:
    plan = Planner(TARGETS, draining=draining).plan(routes)
    for prefix, told in routes.items():
        for name, target in TARGETS.items():
            assert exported(plan, prefix, target.address) == expected(told, name, prefix, draining=draining)
    assert set(plan.rules) == {tag for route in plan.routes.values() for tag in route.tags}


@given(ROUTES, ROUTES)
def test_statements_say_for_ever_what_they_said_first(
    before: dict[str, dict[str, Attributes]], after: dict[str, dict[str, Attributes]]
) -> None:
    planner = Planner(TARGETS)
    first, second = planner.plan(before), planner.plan(after)
    assert planner.plan(before) == first == Planner(TARGETS).plan(before)
    for tag in first.rules.keys() & second.rules.keys():
        assert first.rules[tag] == second.rules[tag]


def test_one_statement_for_all_that_is_told_alike() -> None:
    """A thousand prefixes with attributes of their own cost the daemon no more than one."""
    routes = {
        f"198.51.{n >> 8}.{n & 255}/32": dict.fromkeys("ab", Attributes(n + 1, (f"65000:{n}",))) for n in range(1000)
    }
    plan = Planner(TARGETS).plan(routes)
    assert len(plan.routes) == 1000
    assert len(plan.rules) == 1


def test_another_address_of_a_peer_or_of_ours_makes_another_statement() -> None:
    told = {PREFIXES[0]: {"a": Attributes()}}
    tags = [
        tuple(Planner({"a": target}).plan(told).rules)
        for target in (
            Target("192.0.2.1"),
            Target("192.0.2.2"),
            Target("192.0.2.1", ((2, "2001:db8::1"),)),
            Target("192.0.2.1", families=(1,)),
        )
    ]
    assert len(set(tags)) == 4


@given(ROUTES)
def test_a_path_is_read_as_it_was_written(routes: dict[str, dict[str, Attributes]]) -> None:
    plan = Planner(TARGETS).plan(routes)
    for prefix, route in plan.routes.items():
        path = decode(messages.Path, paths.announcement(prefix, route))
        stranger = msgspec.structs.replace(path, pattrs=())
        assert paths.read(messages.Destination(prefix, (stranger, path)), plan.rules) == (prefix, route)
        assert paths.read(messages.Destination(prefix, (stranger,)), plan.rules) is None
        gone = decode(messages.Path, paths.withdrawal(prefix))
        assert (gone.is_withdraw, gone.nlri, gone.family) == (True, path.nlri, path.family)


def test_paths_go_in_chunks() -> None:
    route = Planner(TARGETS).route({"a": Attributes()})
    assert route is not None

    def sizes(count: int) -> list[int]:
        several = (paths.announcement(PREFIXES[0], route) for _ in range(count))
        return [len(request.paths) for request in paths.requests(several)]

    assert sizes(0) == []
    assert sizes(paths.CHUNK) == [paths.CHUNK]
    assert sizes(2 * paths.CHUNK + 1) == [paths.CHUNK, paths.CHUNK, 1]


@pytest.mark.parametrize("bad", ["198.51.100.1/24", "foo", "", "198.51.100.0/64", "2001:db8::/129"])
def test_what_is_no_prefix_never_reaches_the_daemon(bad: str) -> None:
    route = Planner(TARGETS).route({"a": Attributes()})
    assert route is not None
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        paths.announcement(bad, route)
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        paths.withdrawal(bad)


@pytest.mark.parametrize("bad", ["", "1", "1:2:3", "large:1:2", "65536:1", "-1:1", "large:4294967296:0:0", "a:b"])
def test_what_is_no_community_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"expected a community|invalid literal"):
        numbers(bad)
