"""Which nodes may answer, row by row."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from arpfast.spans import Span
from cluster.resources import Metadata, Service
from cluster.selectors import Selector
from cluster.world import Change, Serving, World
from speaker.decide import Decider, Decision, decide
from speaker.nodes import Rules
from speaker.reasons import Reason
from tests.speaker.cluster_of import (
    NODES,
    RED,
    ad,
    config,
    endpoint,
    key,
    node,
    pool,
    reduced,
    service,
    serving,
    world,
)

V4, V6 = "10.20.30.1", "2001:db8::1"
AVOID = Rules(avoid_cordoned=True, avoid_out_of_service=True)


def at(address: str) -> Span:
    return Span.of(ip_address(address))


def one(made: World, address: str = V4) -> Decision:
    return decide(made)[at(address)]


# The order is MetalLB's


@pytest.mark.parametrize(
    ("address", "order"),
    [
        (V4, "iris2 iris1"),
        ("172.18.0.200", "iris1 iris2"),
        (V6, "iris2 iris1"),
        (V4, "node-b node-c node-a"),
        ("172.18.0.200", "node-b node-a node-c"),
        (V6, "node-b node-a node-c"),
        (V4, "edge-b edge-a"),
        ("172.18.0.200", "edge-b edge-a"),
        (V6, "edge-b edge-a"),
        (V4, "kind-control-plane kind-worker2 kind-worker"),
        ("172.18.0.200", "kind-control-plane kind-worker2 kind-worker"),
        (V6, "kind-worker2 kind-worker kind-control-plane"),
        (V4, "w3 w2 w4 w1 w5"),
        ("172.18.0.200", "w3 w4 w5 w1 w2"),
        (V6, "w4 w2 w1 w3 w5"),
    ],
)
def test_order_of_succession(address: str, order: str) -> None:
    made = world(
        [service("web", address)],
        config=config(ad(nodes=order.split()), pools=[pool("pool", "0.0.0.0/0", "2001:db8::/32")]),
    )
    assert one(made, address).succession == tuple(order.split())


def test_an_address_mapped_into_ipv6_is_of_ipv4() -> None:
    assert decide(world([service("web", f"::ffff:{V4}")])) == decide(world([service("web", V4)]))


# Services that nobody answers for


@pytest.mark.parametrize(
    ("made", "served", "reason"),
    [
        pytest.param(service("web", V4, type="ClusterIP"), None, Reason.NOT_LOAD_BALANCER, id="type"),
        pytest.param(service("web"), None, Reason.NO_IP_ALLOCATED, id="no-ingress"),
        pytest.param(service("web", "10.20.30"), None, Reason.INVALID_IP, id="no-address"),
        pytest.param(service("web", ""), None, Reason.INVALID_IP, id="a-name-instead"),
        pytest.param(service("web", "fe80::1%eth0"), None, Reason.INVALID_IP, id="a-zone"),
        pytest.param(service("web", V4, "nonsense"), None, Reason.INVALID_IP, id="second-is-no-address"),
        pytest.param(service("web", "10.20.31.1"), None, Reason.IP_NOT_ALLOWED, id="in-no-pool"),
        pytest.param(service("web", V4, "10.99.0.1"), None, Reason.IP_NOT_ALLOWED, id="in-two-pools"),
        pytest.param(service("web", V4), Serving(), Reason.NO_ENDPOINTS, id="nobody-serves"),
    ],
)
def test_refused(made: Service, served: Serving | None, reason: Reason) -> None:
    decider = Decider()
    decider.apply(world([made], served, config=config(pools=[pool(), pool("other", "10.99.0.0/24")])), Change())
    assert all(not decision.succession for decision in decider.decisions.values())
    assert decider.refusal(key()) is reason
    assert decider.why(key(), "iris1") == (reason,)


def test_a_service_that_is_not_there() -> None:
    assert Decider().why(key(), "iris1") == (Reason.SERVICE_DELETED,)


# Endpoints


@pytest.mark.parametrize(
    ("endpoints", "local", "nodes"),
    [
        pytest.param([endpoint("iris1", ready=True)], False, {*NODES}, id="ready"),
        pytest.param([endpoint("iris1")], False, {*NODES}, id="nobody-says-whether-ready"),
        pytest.param([endpoint("iris1", ready=False)], False, set(), id="not-ready"),
        pytest.param([endpoint("iris1", ready=False, serving=True)], False, {*NODES}, id="terminating-but-serving"),
        pytest.param([endpoint("iris1", ready=False, serving=False)], False, set(), id="terminating"),
        pytest.param([endpoint("")], False, {*NODES}, id="on-no-node"),
        pytest.param([endpoint("")], True, set(), id="local-on-no-node"),
        pytest.param([endpoint("iris1"), endpoint("iris3")], True, {"iris1", "iris3"}, id="local"),
        pytest.param(
            [endpoint("iris1", ready=False), endpoint("iris1"), endpoint("iris2", ready=False)], True, {"iris1"},
            id="local-one-of-two-ready",
        ),
        pytest.param([endpoint("iris2", ready=False, serving=True)], True, {"iris2"}, id="local-terminating"),
        pytest.param([endpoint("elsewhere")], True, set(), id="local-on-a-node-without-advertisement"),
    ],
)  # fmt: skip
def test_endpoints(endpoints: list[object], local: bool, nodes: set[str]) -> None:
    made = world([service("web", V4, local=local)], reduced(*endpoints))  # type: ignore[arg-type]
    assert set(one(made).succession) == nodes


def test_without_a_local_endpoint_says_so() -> None:
    decider = Decider()
    decider.apply(world([service("web", V4, local=True)], serving("iris1")), Change())
    assert decider.why(key(), "iris1") == ()
    assert decider.why(key(), "iris2") == (Reason.NO_LOCAL_ENDPOINTS,)


# Nodes


@pytest.mark.parametrize(
    ("fields", "rules", "reasons", "place"),
    [
        pytest.param({}, Rules(), (), 0, id="in-order"),
        pytest.param({"ready": False}, AVOID, (), 0, id="not-ready-is-the-members-affair"),
        pytest.param({"unavailable": True}, Rules(), (Reason.NODE_NETWORK_UNAVAILABLE,), None,
                     id="network-unavailable"),
        pytest.param({"unavailable": True}, Rules(ignore_excluded=True), (Reason.NODE_NETWORK_UNAVAILABLE,), None,
                     id="network-unavailable-is-never-ignored"),
        pytest.param({"excluded": True}, Rules(), (Reason.NODE_LABELED_EXCLUDE_BALANCERS,), None, id="excluded"),
        pytest.param({"excluded": True}, Rules(ignore_excluded=True), (), 0, id="excluded-ignored"),
        pytest.param({"cordoned": True}, Rules(), (), 0, id="cordoned"),
        pytest.param({"cordoned": True}, AVOID, (Reason.NODE_CORDONED,), 2, id="cordoned-avoided"),
        pytest.param({"taints": "node.kubernetes.io/out-of-service"}, Rules(), (), 0, id="out-of-service"),
        pytest.param({"taints": "node.kubernetes.io/out-of-service"}, AVOID, (Reason.NODE_OUT_OF_SERVICE,), 2,
                     id="out-of-service-avoided"),
        pytest.param({"taints": "dedicated"}, AVOID, (), 0, id="another-taint"),
    ],
)  # fmt: skip
def test_nodes(fields: dict[str, object], rules: Rules, reasons: tuple[Reason, ...], place: int | None) -> None:
    decider = Decider(rules)
    decider.apply(world([service("web", V4)], nodes=[node("iris3", **fields)]), Change())  # type: ignore[arg-type]
    succession = decider.decisions[at(V4)].succession
    assert (succession.index("iris3") if "iris3" in succession else None) == place
    assert decider.why(key(), "iris3") == reasons
    assert len(succession) == (2 if place is None else 3)


def test_a_node_that_is_no_object_yet_is_as_good_as_any() -> None:
    made = world([service("web", V4)], config=config(ad(nodes=["iris1", "new"])))
    assert set(one(made).succession) == {"iris1", "new"}


def test_several_reasons_are_all_told() -> None:
    decider = Decider()
    made = world([service("web", V4, local=True)], serving("iris1"), config=config(ad(nodes=["iris1"])),
                 nodes=[node("iris2", unavailable=True, excluded=True)])  # fmt: skip
    decider.apply(made, Change())
    assert decider.why(key(), "iris2") == (
        Reason.NO_MATCHING_ADVERTISEMENT,
        Reason.NODE_NETWORK_UNAVAILABLE,
        Reason.NODE_LABELED_EXCLUDE_BALANCERS,
        Reason.NO_LOCAL_ENDPOINTS,
    )


# Advertisements


def test_an_advertisement_of_another_pool_does_not_count() -> None:
    assert (
        one(world([service("web", V4)], config=config(ad(pools=["other"])))).reason is Reason.NO_MATCHING_ADVERTISEMENT
    )


@pytest.mark.parametrize(
    ("labels", "nodes"), [({"colour": "red"}, {"iris1"}), ({"colour": "blue"}, set[str]()), ({}, set[str]())]
)
def test_service_selectors(labels: dict[str, str], nodes: set[str]) -> None:
    made = config(ad(nodes=["iris1"], service_selectors=(RED, Selector(match_labels={"colour": "green"}))))
    assert set(one(world([service("web", V4, labels=labels)], config=made)).succession) == nodes


def test_nodes_of_several_advertisements_are_united() -> None:
    made = config(ad("one", ["iris1"]), ad("two", ["iris3"]), ad("no", ["iris2"], service_selectors=(RED,)))
    decider = Decider()
    decider.apply(world([service("web", V4)], config=made), Change())
    assert set(decider.decisions[at(V4)].succession) == {"iris1", "iris3"}
    assert decider.why(key(), "iris2") == (Reason.NO_MATCHING_ADVERTISEMENT,)


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        pytest.param([{}], "iris3 iris2 iris1", id="none"),
        pytest.param([{"iris1": 10}], "iris1 iris3 iris2", id="one"),
        pytest.param([{"iris1": 10, "iris2": 20}], "iris2 iris1 iris3", id="the-heavier-first"),
        pytest.param([{"iris1": 10, "iris2": 10}], "iris2 iris1 iris3", id="equal-by-digest"),
        pytest.param([{"iris1": 10, "iris2": 15}, {"iris1": 10}], "iris1 iris2 iris3", id="summed-over-advertisements"),
        pytest.param([{"elsewhere": 100}], "iris3 iris2 iris1", id="not-eligible"),
    ],
)
def test_preferred_nodes(weights: list[dict[str, int]], order: str) -> None:
    made = config(*(ad(f"ad{number}", preferences=one) for number, one in enumerate(weights)))
    assert one(world([service("web", V4)], config=made)).succession == tuple(order.split())


def test_preferences_count_where_the_advertisement_covers_the_node() -> None:
    made = config(ad("all"), ad("one", ["iris1"], preferences={"iris3": 100, "iris1": 1}))
    assert one(world([service("web", V4)], config=made)).succession == ("iris1", "iris3", "iris2")


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        pytest.param([["eth0"]], frozenset({"eth0"}), id="one"),
        pytest.param([["eth0"], ["eth1"]], frozenset({"eth0", "eth1"}), id="united"),
        pytest.param([["eth0"], []], None, id="one-that-names-none-means-all"),
        pytest.param([[]], None, id="all"),
    ],
)
def test_interfaces(interfaces: list[list[str]], expected: frozenset[str] | None) -> None:
    ads = (ad(f"ad{number}", interfaces=frozenset(names)) for number, names in enumerate(interfaces))
    elsewhere = ad("elsewhere", ["iris3"], interfaces=frozenset({"eth9"}))
    assert one(world([service("web", V4)], config=config(*ads, elsewhere))).interfaces("iris1") == expected


# Several addresses, several Services


def test_a_service_of_both_families_stays_on_one_node_by_its_first_address() -> None:
    found = decide(world([service("web", V4, V6)]))
    assert found[at(V4)].succession == found[at(V6)].succession == one(world([service("web", V4)])).succession
    reverse = decide(world([service("web", V6, V4)]))
    assert reverse[at(V4)].succession == one(world([service("web", V6)]), V6).succession


def test_services_that_share_an_address_are_decided_together() -> None:
    made = world(
        [service("a", V4, local=True, shared=True), service("b", V4, local=True, shared=True), service("c", V4)],
        {"a": serving("iris1", "iris2"), "b": serving("iris1", "iris3"), "c": serving("iris3")},
    )
    found = one(made)
    assert found.services == (key("a"), key("b"), key("c"))
    assert found.succession[0] == "iris1"
    assert found.common == 1


def test_if_no_node_suits_all_the_one_that_suits_most_comes_first() -> None:
    made = world(
        [service("a", V4, local=True), service("b", V4, local=True), service("c", V4, local=True)],
        {"a": serving("iris1"), "b": serving("iris3"), "c": serving("iris3")},
    )
    decider = Decider()
    decider.apply(made, Change())
    found = decider.decisions[at(V4)]
    assert (found.succession, found.common) == (("iris3", "iris1"), 0)
    assert decider.why(key("a"), "iris1") == (Reason.NO_COMMON_NODE,)
    assert decider.why(key("a"), "iris3") == (Reason.NO_LOCAL_ENDPOINTS,)


def test_who_asks_for_nothing_has_no_say_in_what_is_shared() -> None:
    made = world([service("a", V4), service("b", V4, local=True)], {"a": Serving(), "b": serving("iris1")})
    found = one(made)
    assert (found.succession, found.common) == (("iris1",), 1)
    assert found.reason is None


def test_services_joined_over_both_families_stay_together() -> None:
    made = world(
        [service("a", V4), service("b", V4, V6), service("c", V6, local=True)],
        {"a": serving("iris1"), "b": serving("iris1"), "c": serving("iris3")},
    )
    found = decide(made)
    assert found[at(V4)].succession[0] == found[at(V6)].succession[0] == "iris3"


@pytest.mark.parametrize("shared", [False, True])
def test_shared_addresses_and_advertisements_by_service_do_not_go_together(shared: bool) -> None:
    made = config(ad("all"), ad("red", service_selectors=(RED,)))
    found = one(world([service("web", V4, shared=shared, labels={"colour": "red"})], config=made))
    assert found.reason is (Reason.SHARED_IP_WITH_SERVICE_SELECTOR if shared else None)
    blue = one(world([service("web", V4, shared=shared, labels={"colour": "blue"})], config=made))
    assert blue.reason is None, "expected an advertisement that is not about this Service not to count"


def test_the_old_annotation_counts_though_it_is_empty() -> None:
    made = service("web", V4, labels={"colour": "red"})
    old = Metadata("web", "shop", labels={"colour": "red"}, annotations={"metallb.universe.tf/allow-shared-ip": ""})
    found = one(world([Service(old, made.spec, made.status)], config=config(ad(service_selectors=(RED,)))))
    assert found.reason is Reason.SHARED_IP_WITH_SERVICE_SELECTOR
