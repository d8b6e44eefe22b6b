"""L2Advertisements and BGPAdvertisements: what is refused, row by row, and what the good ones resolve to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast.spans import Span, Spans
from cluster.advertisements import shortest_prefix
from tests.cluster.configuring import NODES, bgp, community, l2, parsed, peer, pool, told

if TYPE_CHECKING:
    from cluster.resources import Object

GOLD, RACK_B = {"matchLabels": {"tier": "gold"}}, {"matchLabels": {"rack": "b"}}
BAD = {"matchExpressions": [{"key": "rack", "operator": "In", "values": []}]}
V4, V6 = pool("v4", "192.0.2.0/24", labels={"tier": "gold"}), pool("v6", "2001:db8::/64")
COMMUNITY = "65000:1, large:65000:1:2 or the name of an alias"


def rack(*values: str, also: list[str] | None = None) -> dict[str, Any]:
    """A selector of these racks, and, by a second expression, of those."""
    return {
        "matchExpressions": [
            {"key": "rack", "operator": "In", "values": list(each)} for each in (values, also) if each is not None
        ]
    }


REFUSED: dict[str, tuple[list[Object], list[str]]] = {
    "l2: duplicate name": ([l2("a"), l2("a")], ["metadata.name: each name once"]),
    "l2: duplicate pools": ([l2(ipAddressPools=["x", "x"])], ["spec.ipAddressPools[1]: each once"]),
    "l2: duplicate pool selectors": (
        [l2(ipAddressPoolSelectors=[GOLD, GOLD])],
        ["spec.ipAddressPoolSelectors[1]: each selector once"],
    ),
    "l2: duplicate node selectors": (
        [l2(nodeSelectors=[GOLD, GOLD])],
        ["spec.nodeSelectors[1]: each selector once"],
    ),
    "l2: duplicate service selectors": (
        [l2(serviceSelectors=[GOLD, GOLD])],
        ["spec.serviceSelectors[1]: each selector once"],
    ),
    "l2: invalid selectors": (
        [l2(nodeSelectors=[BAD], serviceSelectors=[BAD], ipAddressPoolSelectors=[BAD])],
        [
            f"spec.{field}[0].matchExpressions[0].values: values for In"
            for field in ("nodeSelectors", "ipAddressPoolSelectors", "serviceSelectors")
        ],
    ),
    "l2: invalid preference": (
        [l2(preferredNodeSelectors=[{"weight": 1, "preference": BAD}])],
        ["spec.preferredNodeSelectors[0].preference.matchExpressions[0].values: values for In"],
    ),
    "l2: weight": (
        [l2(preferredNodeSelectors=[{"weight": weight, "preference": GOLD} for weight in (0, 1, 100, 101)])],
        [f"spec.preferredNodeSelectors[{at}].weight: 1 to 100" for at in (0, 3)],
    ),
    "bgp: duplicate pools, communities, peers": (
        [bgp(ipAddressPools=["x", "x"], communities=["1:2", "1:2"], peers=["p", "p"])],
        ["spec.peers[1]: each once", "spec.communities[1]: each once", "spec.ipAddressPools[1]: each once"],
    ),
    "bgp: duplicate selectors": (
        [bgp(ipAddressPoolSelectors=[GOLD, GOLD], nodeSelectors=[GOLD, GOLD], serviceSelectors=[GOLD, GOLD])],
        [
            f"spec.{field}[1]: each selector once"
            for field in ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")
        ],
    ),
    "bgp: a value twice, and an expression": (
        [bgp(ipAddressPoolSelectors=[rack("a", "a")], nodeSelectors=[rack("a", "b", also=["b", "a"])])],
        [
            "spec.ipAddressPoolSelectors[0].matchExpressions[0].values[1]: each once",
            "spec.nodeSelectors[0].matchExpressions[1]: each expression once",
        ],
    ),
    "l2: the same selector in another order": (
        [l2(nodeSelectors=[rack("a", "b"), rack("b", "a")])],
        ["spec.nodeSelectors[1]: each selector once"],
    ),
    "bgp: invalid selector": (
        [bgp(nodeSelectors=[BAD])],
        ["spec.nodeSelectors[0].matchExpressions[0].values: values for In"],
    ),
    "bgp: service selectors with aggregation": (
        [bgp(serviceSelectors=[GOLD], aggregationLength=24)],
        ["spec.aggregationLength: 32 where spec.serviceSelectors select"],
    ),
    "bgp: service selectors with aggregation of IPv6": (
        [bgp(serviceSelectors=[GOLD], aggregationLengthV6=64)],
        ["spec.aggregationLengthV6: 128 where spec.serviceSelectors select"],
    ),
    "bgp: aggregation beyond an address": (
        [bgp(aggregationLength=33, aggregationLengthV6=129)],
        ["spec.aggregationLength: 1 to 32", "spec.aggregationLengthV6: 0 to 128"],
    ),
    "bgp: aggregation of nothing": ([bgp(aggregationLength=0)], ["spec.aggregationLength: 1 to 32"]),
    "bgp: unknown community": ([bgp(communities=["gone"])], [f"spec.communities[0]: {COMMUNITY} (T)"]),
    "bgp: three numbers": ([bgp(communities=["1:2:3"])], [f"spec.communities[0]: {COMMUNITY}"]),
    "bgp: wrong marker": ([bgp(communities=["small:1:2:3"])], [f"spec.communities[0]: {COMMUNITY}"]),
    "bgp: overflow": (
        [bgp(communities=["65536:1"])],
        [f"spec.communities[0]: {COMMUNITY}, of numbers below 65536"],
    ),
    "bgp: overflow of a large one": (
        [bgp(communities=["large:1:2:4294967296"])],
        [f"spec.communities[0]: {COMMUNITY}, of numbers below 4294967296"],
    ),
    "bgp: aggregation wider than the pool": (
        [pool("p", "192.0.2.0/28"), bgp(aggregationLength=24)],
        ["spec.aggregationLength: at least 28, as pool p has 192.0.2.0/28"],
    ),
    "bgp: aggregation wider than the widest of a range": (
        [pool("p", "192.0.2.1-192.0.2.9"), bgp(aggregationLength=28)],
        ["spec.aggregationLength: at least 30, as pool p has 192.0.2.1-192.0.2.9"],
    ),
    "bgp: aggregation of IPv6 wider than the pool": (
        [pool("p", "2001:db8::/64"), bgp(aggregationLengthV6=56)],
        ["spec.aggregationLengthV6: at least 64, as pool p has 2001:db8::/64"],
    ),
    "bgp: localPref conflict": (
        [V4, bgp("a", localPref=100), bgp("b", localPref=200)],
        ["spec.localPref: 100, as a has for the same prefixes of pool v4"],
    ),
    "bgp: localPref conflict in the one family that agrees": (
        [V6, bgp("a", localPref=100, aggregationLength=24), bgp("b", localPref=200)],
        ["spec.localPref: 100, as a has for the same prefixes of pool v6"],
    ),
    "bgp: localPref conflict towards one peer": (
        [V4, bgp("a", localPref=100, peers=["p", "q"]), bgp("b", localPref=200, peers=["q", "r"])],
        ["spec.localPref: 100, as a has for the same prefixes of pool v4"],
    ),
    "bgp: localPref beyond 32 bits": ([bgp(localPref=1 << 32)], ["spec.localPref: 0 to 4294967295"]),
    "bgp: duplicate name": ([bgp("a"), bgp("a")], ["metadata.name: each name once"]),
}  # fmt: skip

ACCEPTED: dict[str, list[Object]] = {
    "unknown pools and peers": [l2(ipAddressPools=["gone"]), bgp(ipAddressPools=["gone"], peers=["gone"])],
    "aggregation of another family": [V6, bgp(aggregationLength=8)],
    "aggregation as wide as the pool": [V4, bgp(aggregationLength=24)],
    "one interface twice": [l2(interfaces=["eth0", "eth0"])],
    "an alias": [community(no_export="65535:65281"), bgp(communities=["no-export"])],
    "localPref: the same": [V4, bgp("a", localPref=100), bgp("b", localPref=100)],
    "localPref: other pools": [
        V4, V6, bgp("a", localPref=100, ipAddressPools=["v4"]), bgp("b", localPref=200, ipAddressPools=["v6"]),
    ],
    "localPref: other aggregation": [V4, bgp("a", localPref=100), bgp("b", localPref=200, aggregationLength=24)],
    "localPref: other peers": [V4, bgp("a", localPref=100, peers=["p"]), bgp("b", localPref=200, peers=["q"])],
    "localPref: other nodes": [
        V4,
        bgp("a", localPref=100, nodeSelectors=[{"matchLabels": {"rack": "a"}}]),
        bgp("b", localPref=200, nodeSelectors=[RACK_B]),
    ],
    "localPref: by service": [V4, bgp("a", localPref=100, serviceSelectors=[GOLD]), bgp("b", localPref=200)],
}  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(written: list[Object], expected: list[str]) -> None:
    assert told(*written) == expected


@pytest.mark.parametrize("written", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(written: list[Object]) -> None:
    assert told(*written) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"v4", "v6"}),
        ({"ipAddressPools": ["v6", "gone"]}, {"v6"}),
        ({"ipAddressPoolSelectors": [GOLD]}, {"v4"}),
        ({"ipAddressPools": ["v6"], "ipAddressPoolSelectors": [GOLD]}, {"v4", "v6"}),
        ({"ipAddressPools": ["v4"], "ipAddressPoolSelectors": [GOLD]}, {"v4"}),
        ({"ipAddressPools": ["gone"]}, set()),
        ({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "none"}}]}, set()),
    ],
)
def test_pools_by_name_and_by_label(spec: dict[str, Any], expected: set[str]) -> None:
    config = parsed(V4, V6, l2(**spec), bgp(**spec)).config
    assert config.l2_advertisements[0].pools == frozenset(expected)
    assert config.bgp_advertisements[0].pools == frozenset(expected)


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ([], set(NODES)),
        ([RACK_B], {"n2", "n3"}),
        ([{"matchLabels": {"disk": "ssd"}}, {"matchLabels": {"rack": "a"}}], {"n1", "n3"}),
        ([{"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}], {"n1", "n2"}),
        ([{}], set(NODES)),
        ([{"matchLabels": {"rack": "z"}}], set()),
    ],
)
def test_nodes_by_label(selectors: list[object], expected: set[str]) -> None:
    config = parsed(l2(nodeSelectors=selectors), bgp(nodeSelectors=selectors), peer(nodeSelectors=selectors)).config
    assert config.l2_advertisements[0].nodes == frozenset(expected)
    assert config.bgp_advertisements[0].nodes == frozenset(expected)
    assert config.peers[0].nodes == frozenset(expected)


def test_preferences_are_summed_over_the_eligible() -> None:
    preferred = [{"weight": 30, "preference": RACK_B}, {"weight": 5, "preference": {"matchLabels": {"disk": "ssd"}}}]
    (one,) = parsed(l2(preferredNodeSelectors=preferred)).config.l2_advertisements
    assert one.preferences == {"n2": 30, "n3": 35}
    (one,) = parsed(
        l2(preferredNodeSelectors=preferred, nodeSelectors=[{"matchLabels": {"kubernetes.io/hostname": "n1"}}])
    ).config.l2_advertisements
    assert one.preferences == {}


def test_an_empty_preference_is_for_every_eligible_node() -> None:
    (one,) = parsed(
        l2(nodeSelectors=[RACK_B], preferredNodeSelectors=[{"weight": 7, "preference": {}}])
    ).config.l2_advertisements
    assert one.preferences == {"n2": 7, "n3": 7}


def test_communities_are_resolved_and_in_order() -> None:
    written = bgp(communities=["large:65000:1:2", "no-export", "0007:1", "1:1"])
    (one,) = parsed(community(no_export="65535:65281"), written).config.bgp_advertisements
    assert one.communities == ("large:65000:1:2", "1:1", "7:1", "65535:65281")
    assert one.peers is None


@given(st.sampled_from([4, 6]), st.integers(0, 1 << 12), st.integers(0, 1 << 12))
def test_the_shortest_prefix_is_that_of_the_fewest_prefixes(version: int, first: int, more: int) -> None:
    span = Span(version, first, first + more)  # type: ignore[arg-type]
    fewest = Spans([span]).prefixes()
    assert shortest_prefix(span) == min(int(prefix.partition("/")[2]) for prefix in fewest)
