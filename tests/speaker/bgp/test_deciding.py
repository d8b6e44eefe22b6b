"""Which prefixes this node announces, to whom, and with what: row by row, and against a plain model."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import BFDProfile
from cluster.selectors import Selector
from cluster.world import Change, Serving, World
from speaker.bgp.deciding import Routes, neighbours, prefixes
from speaker.bgp.wish import Attributes, Neighbour
from speaker.nodes import Rules
from speaker.reasons import Reason
from tests.speaker.bgp_of import bgp, config, peer
from tests.speaker.cluster_of import NODES, RED, key, node, pool, service, serving, step_on, world
from tests.speaker.test_decide import at

if TYPE_CHECKING:
    from collections.abc import Mapping

ME = "iris1"
V4, V6 = "10.20.30.1", "2001:db8::1"
PLAIN = Attributes()


def routes(made: World, rules: Rules = Rules()) -> Routes:  # noqa: B008
    decided = Routes(ME, rules)
    decided.apply(made, Change(config=True), neighbours(made.config, ME))
    return decided


def told(made: World) -> dict[str, dict[str, Attributes]]:
    return {prefix: dict(peers) for prefix, peers in routes(made).routes.items()}


# What is announced


@pytest.mark.parametrize(
    ("ads", "expected"),
    [
        pytest.param([bgp()], {f"{V4}/32": PLAIN, f"{V6}/128": PLAIN}, id="hosts"),
        pytest.param(
            [bgp(aggregation_length=28, aggregation_length_v6=120)],
            {"10.20.30.0/28": PLAIN, "2001:db8::/120": PLAIN}, id="aggregates",
        ),
        pytest.param(
            [bgp(local_pref=200, communities=("1:1",)), bgp("wide", aggregation_length=24, local_pref=100,
                                                            aggregation_length_v6=64)],
            {f"{V4}/32": Attributes(200, ("1:1",)), f"{V6}/128": Attributes(200, ("1:1",)),
             "10.20.30.0/24": Attributes(100), "2001:db8::/64": Attributes(100)}, id="hosts-and-aggregates",
        ),
        pytest.param(
            [bgp(communities=("2:1", "large:1:2:3")), bgp("more", communities=("1:1", "2:1"))],
            {f"{V4}/32": Attributes(0, ("large:1:2:3", "1:1", "2:1")),
             f"{V6}/128": Attributes(0, ("large:1:2:3", "1:1", "2:1"))}, id="communities-are-united",
        ),
    ],
)  # fmt: skip
def test_prefixes_and_attributes(ads: list[Any], expected: dict[str, Attributes]) -> None:
    made = world([service("web", V4, V6)], config=config(*ads))
    assert told(made) == {prefix: {"tor": attributes} for prefix, attributes in expected.items()}


def test_peers_by_name_by_node_and_by_family() -> None:
    peers = [
        peer("both"), peer("v4", address="198.51.100.2", dual_stack=False), peer("else", nodes=["iris2"]),
        peer("v6", address="2001:db8:f::1", dual_stack=False),
        peer("cable", address="", interface="eth1", dual_stack=False),
    ]  # fmt: skip
    made = config(bgp(peers=["both", "v4", "else", "nobody"]), bgp("rest", communities=("1:1",)), peers=peers)
    more = Attributes(0, ("1:1",))
    assert told(world([service("web", V4, V6)], config=made)) == {
        f"{V4}/32": {"both": more, "v4": more, "cable": more},
        f"{V6}/128": {"both": more, "v6": more, "cable": more},
    }


def test_neighbours_are_this_nodes_with_their_profiles() -> None:
    quick = BFDProfile(name="quick", detect_multiplier=3)
    made = config(
        peers=[peer("a", bfd_profile="quick"), peer("b", nodes=["iris2"]), peer("c", bfd_profile="gone"), peer("d")],
        profiles=[quick],
    )
    assert neighbours(made, ME, {"d"}) == {
        "a": Neighbour(peer("a", bfd_profile="quick"), quick),
        "c": Neighbour(peer("c", bfd_profile="gone")),
    }


# Why nothing is announced

BLUE = Selector(match_labels={"colour": "blue"})


@pytest.mark.parametrize(
    ("ads", "fields", "reason"),
    [
        pytest.param([bgp()], {"type": "ClusterIP"}, Reason.NOT_LOAD_BALANCER, id="type"),
        pytest.param([], {}, Reason.NOT_OWNER, id="no-advertisement"),
        pytest.param([bgp(pools=["other"])], {}, Reason.NOT_OWNER, id="another-pool"),
        pytest.param([bgp(nodes=["iris2"])], {}, Reason.NOT_OWNER, id="another-node"),
        pytest.param([bgp(service_selectors=(BLUE,))], {}, Reason.NO_MATCHING_ADVERTISEMENT, id="another-service"),
        pytest.param([bgp(), bgp("b", local_pref=1)], {}, Reason.CONFLICTING_ADVERTISEMENTS, id="conflict"),
        pytest.param(
            [bgp(), bgp("b", local_pref=1, aggregation_length=24)], {}, Reason.CONFLICTING_ADVERTISEMENTS,
            id="conflict-in-the-other-family-of-the-pool",
        ),
        pytest.param([bgp(), bgp("b", local_pref=1, nodes=["iris2"])], {}, None, id="no-conflict-elsewhere"),
        pytest.param(
            [bgp(), bgp("b", local_pref=1, service_selectors=(BLUE,))], {}, None, id="no-conflict-of-others"
        ),
        pytest.param(
            [bgp(peers=["tor"]), bgp("b", local_pref=1, peers=["x"])], {}, None, id="no-conflict-of-other-peers"
        ),
        pytest.param([bgp(peers=["x"])], {}, Reason.NO_PEER, id="nobody-to-tell"),
        pytest.param([bgp()], {"local": True}, Reason.NO_LOCAL_ENDPOINTS, id="local"),
    ],
)  # fmt: skip
def test_refused(ads: list[Any], fields: dict[str, Any], reason: Reason | None) -> None:
    made = world([service("web", V4, **fields)], serving("iris2"), config=config(*ads))
    decided = routes(made)
    assert decided.why(made, key(), ME) is reason
    assert bool(decided.routes) is (reason is None)


@pytest.mark.parametrize(
    ("stands", "rules", "reason"),
    [
        ({"unavailable": True, "excluded": True}, Rules(), Reason.NODE_NETWORK_UNAVAILABLE),
        ({"excluded": True}, Rules(), Reason.NODE_LABELED_EXCLUDE_BALANCERS),
        ({"excluded": True}, Rules(ignore_excluded=True), None),
        ({"cordoned": True}, Rules(avoid_cordoned=True), None),
    ],
)
def test_the_node_itself(stands: dict[str, Any], rules: Rules, reason: Reason | None) -> None:
    made = world([service("web", V4)], nodes=[node(ME, **stands)], config=config(bgp()))
    decided = routes(made, rules)
    assert decided.why(made, key(), ME) is reason
    assert decided.avoided is (rules.avoid_cordoned and bool(stands.get("cordoned")))


def test_nobody_serves() -> None:
    made = world([service("web", V4)], Serving(), config=config(bgp()))
    assert routes(made).why(made, key(), ME) is Reason.NO_ENDPOINTS
    assert routes(made).why(made, key("gone"), ME) is Reason.SERVICE_DELETED


def test_any_node_knows_why_another_announces_nothing() -> None:
    made = world([service("web", V4, local=True)], serving("iris2"), nodes=[node("iris3", excluded=True)],
                 config=config(bgp()))  # fmt: skip
    decided = routes(made)
    assert [decided.why(made, key(), name) for name in NODES] == [
        Reason.NO_LOCAL_ENDPOINTS, None, Reason.NODE_LABELED_EXCLUDE_BALANCERS,
    ]  # fmt: skip


# Several Services


def test_an_aggregate_goes_with_its_last_service() -> None:
    made = config(bgp(aggregation_length=24))
    decided = Routes(ME)
    decided.apply(world([service("a", "10.20.30.1"), service("b", "10.20.30.2")], config=made), Change(),
                  neighbours(made, ME))  # fmt: skip
    assert decided.holders("10.20.30.0/24") == [key("a"), key("b")]
    left = world([service("b", "10.20.30.2")], config=made)
    assert decided.apply(left, Change(services=frozenset({key("a")})), neighbours(made, ME)) == {key("a")}
    assert list(decided.routes) == ["10.20.30.0/24"]
    decided.apply(world([], config=made), Change(services=frozenset({key("b")})), neighbours(made, ME))
    assert not decided.routes
    assert decided.holders("10.20.30.0/24") == []


def test_services_that_share_an_address_unite_what_is_told() -> None:
    made = config(
        bgp("red", service_selectors=(RED,), local_pref=50, communities=("9:9",)),
        bgp("blue", service_selectors=(BLUE,), local_pref=70, communities=("1:1",)),
    )
    both = [service("a", V4, labels={"colour": "red"}), service("b", V4, labels={"colour": "blue"})]
    assert told(world(both, config=made)) == {f"{V4}/32": {"tor": Attributes(70, ("1:1", "9:9"))}}


def test_prefixes_of_an_address() -> None:
    found = list(prefixes(at(V4)))
    assert (found[0], found[8], found[-1], len(found)) == (f"{V4}/32", "10.20.30.0/24", "0.0.0.0/0", 33)
    assert (next(prefixes(at(V6))), len(list(prefixes(at(V6))))) == (f"{V6}/128", 129)


# While others are to come before


def test_what_nobody_else_announces_is_needed() -> None:
    services = [service("all", "10.20.30.1"), service("here", "10.20.30.2", local=True)]
    served = {"all": serving(*NODES), "here": serving(ME)}
    made = world(services, served, config=config(bgp()))
    assert list(routes(made).needed()) == ["10.20.30.2/32"]
    rack = [peer(), peer("far", nodes=["iris2"], address="198.51.100.2")]
    apart = msgspec.structs.replace(made, config=config(bgp(), peers=[peer(nodes=[ME]), *rack[1:]]))
    assert list(routes(apart).needed()) == ["10.20.30.2/32"]
    apart = msgspec.structs.replace(made, config=config(bgp(peers=["tor"]), peers=[peer(nodes=[ME]), *rack[1:]]))
    assert len(routes(apart).needed()) == 2, "expected nodes without a peer to be no help"
    alone = [node(name, excluded=True) for name in NODES if name != ME]
    made = world(services, served, nodes=alone, config=config(bgp()))
    assert len(routes(made).needed()) == 2


# What a change costs

MANY = 10_000


def test_one_service_among_many_costs_one() -> None:
    many = [service(f"s{number}", f"10.20.{number // 250}.{number % 250}") for number in range(MANY)]
    made = config(bgp(), pools=[pool("pool", "10.20.0.0/16")])
    decided = routes(world(many, config=made))
    assert (len(decided.routes), decided.judged) == (MANY, MANY)
    later = world([*many, service("s77", "10.20.200.1")], config=made)
    same = neighbours(made, ME)
    assert decided.apply(later, Change(services=frozenset({key("s77")})), same) == {key("s77")}
    assert decided.apply(later, Change(nodes=frozenset({"iris2"})), same) == set()
    assert decided.judged == MANY + 1


def test_where_nothing_is_announced_nothing_is_looked_at() -> None:
    decided = routes(world([service(f"s{number}", V4) for number in range(10)], config=config()))
    assert decided.judged == 0


IPS = st.sampled_from(["10.20.30.1", "10.20.30.2", "10.20.30.200", V6, "2001:db8::2", "192.0.2.1"])
SERVICES = st.builds(
    lambda name, ips, local, red: service(name, *ips, local=local, labels={"colour": "red"} if red else {}),
    st.sampled_from("abcd"), st.lists(IPS, max_size=2, unique=True), st.booleans(), st.booleans(),
)  # fmt: skip
SERVED = st.builds(lambda nodes: Serving(bool(nodes), nodes), st.frozensets(st.sampled_from(NODES)))
ADS = st.builds(
    lambda name, nodes, peers, v4, pref, communities, red: bgp(
        name, nodes=nodes, peers=peers, aggregation_length=32 if red else v4, local_pref=pref,
        communities=tuple(sorted(communities)), service_selectors=(RED,) if red else (),
    ),
    st.sampled_from("xyz"), st.sampled_from([NODES, ["iris2"], [ME]]), st.sampled_from([None, ["tor"], ["v6", "gone"]]),
    st.sampled_from([32, 24, 25]), st.sampled_from([0, 0, 100]), st.frozensets(st.sampled_from(["1:1", "2:2"])),
    st.booleans(),
)  # fmt: skip
PEERS = st.lists(
    st.sampled_from([peer(), peer("v6", address="2001:db8:f::1", dual_stack=False), peer("far", nodes=["iris2"])]),
    unique_by=lambda each: each.name,
)
CONFIGS = st.builds(
    lambda ads, peers: config(*ads, peers=peers), st.lists(ADS, max_size=3, unique_by=lambda each: each.name), PEERS
)
NODE = st.builds(
    lambda name, excluded, cordoned: node(name, excluded=excluded, cordoned=cordoned),
    st.sampled_from(NODES), st.booleans(), st.booleans(),
)  # fmt: skip
STEPS = st.lists(
    st.one_of(SERVICES, st.tuples(st.sampled_from("abcd"), SERVED), CONFIGS, NODE, st.sampled_from("abcd"))
)


@given(STEPS)
def test_step_by_step_comes_to_the_plain_model(steps: list[object]) -> None:
    rules = Rules(avoid_cordoned=True)
    now = world([])
    decided = Routes(ME, rules)
    decided.apply(now, Change(), {})
    for step in steps:
        now, change = step_on(now, step)
        before = dict(decided.shares)
        changed = decided.apply(now, change, neighbours(now.config, ME))
        again = routes(now, rules)
        assert (decided.routes, decided.shares, decided.needed()) == (again.routes, again.shares, again.needed())
        assert decided.routes == plain(now)
        assert changed == {
            each for each in before.keys() | decided.shares.keys() if before.get(each) != decided.shares.get(each)
        }


def plain(now: World) -> Mapping[str, Mapping[str, Attributes]]:
    """The same without anything that is kept: for each peer and prefix, all who would tell it."""
    found: dict[str, dict[str, list[Attributes]]] = {}
    if ME in now.nodes and "node.kubernetes.io/exclude-from-external-load-balancers" in now.nodes[ME].metadata.labels:
        return {}
    for each in now.services.values():
        ips = [ingress.ip for ingress in each.status.load_balancer.ingress]
        served = now.serving.get(each.key, Serving())
        local = each.spec.external_traffic_policy == "Local"
        if not ips or "192.0.2.1" in ips or not (ME in served.nodes if local else served.anywhere):
            continue
        red = each.metadata.labels.get("colour") == "red"
        ads = [ad for ad in now.config.bgp_advertisements if ME in ad.nodes and (red or not ad.service_selectors)]
        clash = any(
            one.local_pref != two.local_pref
            and (one.peers is None or two.peers is None or one.peers & two.peers)
            for one in ads for two in ads
        )  # fmt: skip
        if clash:  # the pool has IPv6, and all announce that by single addresses
            continue
        for ad in ads:
            for ip in ips:
                length = 128 if ":" in ip else ad.aggregation_length
                prefix = str(ip_network(f"{ip}/{length}", strict=False))
                for one in now.config.peers:
                    speaks = ME in one.nodes and (one.dual_stack or ":" in ip)
                    if speaks and (ad.peers is None or one.name in ad.peers):
                        attributes = Attributes(ad.local_pref, ad.communities)
                        found.setdefault(prefix, {}).setdefault(one.name, []).append(attributes)
    return {
        prefix: {
            name: Attributes(max(one.local_pref for one in all_of_them),
                             tuple(sorted({c for one in all_of_them for c in one.communities})))
            for name, all_of_them in peers.items()
        }
        for prefix, peers in found.items()
    }  # fmt: skip
