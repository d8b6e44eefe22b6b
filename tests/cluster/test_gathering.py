"""The world, and what differs in it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from immutables import Map

from cluster import kinds
from cluster.gathering import Gathering, of_class
from cluster.resources import Key, Node, Service
from cluster.watching import Changed
from cluster.world import NOBODY, NOTHING, Change, Serving
from tests.cluster.configuring import l2, peer, pool, secret

WEB = Key("shop", "web")


class Cluster:
    """What the watches would tell."""

    def __init__(self, lb_class: str = "") -> None:
        self.gathering = Gathering(lb_class)
        self._known: dict[tuple[str, Key], Any] = {}

    def put(self, kind: kinds.Kind[Any], what: Any) -> Cluster:
        one = what if isinstance(what, kind.struct) else msgspec.convert(what, kind.struct)
        return self._tell(kind, one.key, self.gathering.keep(kind)(one))

    def drop(self, kind: kinds.Kind[Any], name: str, namespace: str = "") -> Cluster:
        return self._tell(kind, Key(namespace, name), None)

    def _tell(self, kind: kinds.Kind[Any], key: Key, after: Any) -> Cluster:
        before = self._known.get((kind.name, key))
        self._known[kind.name, key] = after
        if before != after:
            self.gathering.changed(kind, [Changed(key, before, after)])
        return self

    def service(self, name: str = "web", version: int = 1, **spec: Any) -> Cluster:
        metadata = {"namespace": "shop", "name": name, "resourceVersion": str(version)}
        return self.put(kinds.SERVICE, {"metadata": metadata, "spec": {"type": "LoadBalancer", **spec}})

    def slice(self, name: str, *nodes: str, service: str = "web", serving: bool = True, version: int = 1) -> Cluster:
        labels = {"kubernetes.io/service-name": service}
        metadata = {"namespace": "shop", "name": name, "labels": labels, "resourceVersion": str(version)}
        endpoints = [{"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": serving}} for node in nodes]
        return self.put(kinds.ENDPOINT_SLICE, {"metadata": metadata, "endpoints": endpoints})

    def node(self, name: str, version: int = 1, labels: dict[str, str] | None = None, **status: str) -> Cluster:
        metadata = {"name": name, "labels": labels or {}, "resourceVersion": str(version)}
        conditions = [{"type": kind, "status": value, "lastHeartbeatTime": "x"} for kind, value in status.items()]
        return self.put(kinds.NODE, {"metadata": metadata, "status": {"conditions": conditions}})


def services(*names: str) -> Change:
    return Change(services=frozenset(Key("shop", name) for name in names))


class TestServices:
    def test_one_that_comes_changes_and_goes(self) -> None:
        cluster = Cluster().service(version=1)
        cluster.gathering.flush()
        before = cluster.gathering.world
        assert cluster.service(version=2).gathering.flush() == services("web")
        assert before.services[WEB].metadata.resource_version == "1"
        assert cluster.gathering.world.services[WEB].metadata.resource_version == "2"
        assert cluster.drop(kinds.SERVICE, "web", "shop").gathering.flush() == services("web")
        assert not cluster.gathering.world.services
        assert cluster.gathering.flush() == NOTHING

    def test_a_burst_is_one_change(self) -> None:
        cluster = Cluster()
        cluster.gathering.flush()
        for number in range(100):
            cluster.service(f"s{number}")
        assert len(cluster.gathering.flush().services) == 100
        assert cluster.gathering.flush() == NOTHING

    def test_one_that_came_and_went_is_told(self) -> None:
        cluster = Cluster()
        cluster.gathering.flush()
        cluster.service().drop(kinds.SERVICE, "web", "shop")
        assert cluster.gathering.flush() == services("web")

    @pytest.mark.parametrize(
        ("its", "ours", "expected"),
        [("", "", True), ("", "mine", False), ("mine", "mine", True), ("other", "mine", False), ("other", "", False)],
    )
    def test_of_our_class(self, its: str, ours: str, expected: bool) -> None:
        spec = {"loadBalancerClass": its} if its else {}
        one = msgspec.convert({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}, Service)
        assert of_class(one, ours) is expected
        cluster = Cluster(ours)
        cluster.service("web", 1, **spec)
        assert (WEB in cluster.gathering.world.services) is expected


class TestServing:
    def test_slices_of_a_service_are_one(self) -> None:
        cluster = Cluster().service().slice("one", "n1").slice("two", "n2", "n3")
        cluster.gathering.flush()
        assert cluster.gathering.world.serving[WEB] == Serving(True, frozenset({"n1", "n2", "n3"}))
        assert cluster.slice("two", "n2").gathering.flush() == services("web")
        assert cluster.gathering.world.serving[WEB].nodes == {"n1", "n2"}
        cluster.drop(kinds.ENDPOINT_SLICE, "one", "shop").drop(kinds.ENDPOINT_SLICE, "two", "shop")
        assert cluster.gathering.flush() == services("web")
        assert cluster.gathering.world.serving.get(WEB, NOBODY) == NOBODY

    def test_another_endpoint_on_the_same_node_wakes_nobody(self) -> None:
        cluster = Cluster().service().slice("one", "n1")
        cluster.gathering.flush()
        assert cluster.slice("one", "n1", "n1", version=2).gathering.flush() == NOTHING
        assert cluster.slice("two", "n1").gathering.flush() == NOTHING

    def test_who_does_not_serve_is_not_there(self) -> None:
        cluster = Cluster().service().slice("one", "n1", serving=False)
        cluster.gathering.flush()
        assert not cluster.gathering.world.serving

    def test_slices_before_their_service(self) -> None:
        cluster = Cluster().slice("one", "n1")
        cluster.gathering.flush()
        assert cluster.service().gathering.flush() == services("web")
        assert cluster.gathering.world.serving[WEB].anywhere

    def test_a_service_of_another_type_or_class_wakes_nobody(self) -> None:
        cluster = Cluster().service("inner", type="ClusterIP")
        cluster.gathering.flush()
        assert cluster.slice("x", "n1", service="inner").slice("y", "n1", service="other").gathering.flush() == NOTHING
        assert cluster.service("inner", 2).gathering.flush() == services("inner")
        assert cluster.gathering.world.serving[Key("shop", "inner")].anywhere

    def test_a_slice_that_changes_its_service(self) -> None:
        cluster = Cluster().service("a").service("b").slice("x", "n1", service="a")
        cluster.gathering.flush()
        assert cluster.slice("x", "n1", service="b").gathering.flush() == services("a", "b")
        assert set(cluster.gathering.world.serving) == {Key("shop", "b")}

    def test_a_slice_of_no_service(self) -> None:
        cluster = Cluster()
        cluster.slice("x", "n1", service="")
        assert not cluster.gathering.world.serving


class TestNodes:
    def test_a_heartbeat_wakes_nobody(self) -> None:
        cluster = Cluster().node("n1", Ready="True", MemoryPressure="False")
        cluster.gathering.flush()
        assert cluster.node("n1", 2, Ready="True", MemoryPressure="True").gathering.flush() == NOTHING
        assert cluster.gathering.configured == 1

    def test_what_matters_is_told_and_read_no_more_than_needed(self) -> None:
        cluster = Cluster().node("n1", Ready="True")
        cluster.gathering.flush()
        assert cluster.node("n1", Ready="False").gathering.flush() == Change(nodes=frozenset({"n1"}))
        assert cluster.gathering.configured == 1
        assert cluster.drop(kinds.NODE, "n1").gathering.flush().nodes == {"n1"}
        assert not cluster.gathering.world.nodes

    def test_all_of_a_node_that_decides(self) -> None:
        node = {
            "metadata": {"name": "n1"},
            "spec": {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "x"}]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }
        cluster = Cluster().put(kinds.NODE, node)
        kept = cluster.gathering.world.nodes["n1"]
        assert isinstance(kept, Node)
        assert (kept.spec.unschedulable, kept.spec.taints[0].key) == (True, "node.kubernetes.io/out-of-service")
        assert kept.status.addresses[0].address == "192.0.2.1"


class TestConfiguration:
    def test_labels_of_nodes_are_read_into_it(self) -> None:
        cluster = Cluster().put(kinds.L2_ADVERTISEMENT, l2(nodeSelectors=[{"matchLabels": {"rack": "a"}}]))
        assert cluster.node("n1").gathering.flush().config
        change = cluster.node("n1", labels={"rack": "a"}).gathering.flush()
        assert (change.nodes, change.config) == (frozenset({"n1"}), True)
        assert cluster.gathering.world.config.l2_advertisements[0].nodes == {"n1"}
        change = cluster.node("n1", labels={"rack": "a", "other": "x"}).gathering.flush()
        assert (change.nodes, change.config) == (frozenset({"n1"}), False)

    def test_labels_of_namespaces_are_read_into_it(self) -> None:
        allocation = {"namespaceSelectors": [{"matchLabels": {"team": "web"}}]}
        cluster = Cluster().put(kinds.ADDRESS_POOL, pool("a", "192.0.2.0/24", serviceAllocation=allocation))
        cluster.gathering.flush()
        assert cluster.gathering.world.config.pools["a"].namespaces == frozenset()
        cluster.put(kinds.NAMESPACE, {"metadata": {"name": "shop", "labels": {"team": "web"}}})
        assert cluster.gathering.flush() == Change(config=True)
        assert cluster.gathering.world.config.pools["a"].namespaces == {"shop"}
        assert cluster.put(kinds.NAMESPACE, {"metadata": {"name": "bank"}}).gathering.flush() == NOTHING

    def test_a_status_that_is_written_is_no_change(self) -> None:
        written = {"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"addresses": ["192.0.2.0/24"]}}
        cluster = Cluster().put(kinds.ADDRESS_POOL, written)
        cluster.gathering.flush()
        again = {**written, "metadata": {"name": "a", "resourceVersion": "2"}, "status": {"assignedIPv4": 7}}
        assert cluster.put(kinds.ADDRESS_POOL, again).gathering.flush() == NOTHING
        assert cluster.gathering.configured == 1

    def test_the_last_good_one_stays(self) -> None:
        cluster = Cluster().put(kinds.ADDRESS_POOL, pool("a", "192.0.2.0/24"))
        assert cluster.gathering.flush().config
        assert cluster.put(kinds.ADDRESS_POOL, pool("a", "192.0.2.0/99")).gathering.flush() == NOTHING
        assert list(cluster.gathering.world.config.pools) == ["a"]
        assert len(cluster.gathering.problems) == 1
        assert cluster.put(kinds.ADDRESS_POOL, pool("a", "192.0.2.0/25")).gathering.flush().config
        assert not cluster.gathering.problems

    def test_pools_that_were_never_good_are_not_loaded(self) -> None:
        cluster = Cluster().put(kinds.ADDRESS_POOL, pool("a", "192.0.2.0/99"))
        cluster.gathering.flush()
        loaded = [cluster.gathering.loaded]
        for addresses in ("192.0.2.0/24", ""):
            cluster.put(kinds.ADDRESS_POOL, pool("a", addresses)).gathering.flush()
            loaded.append(cluster.gathering.loaded)
        assert loaded == [False, True, True]

    def test_a_secret_that_a_peer_refers_to(self) -> None:
        cluster = Cluster().node("n1").put(kinds.BGP_PEER, peer(passwordSecret={"name": "bgp"}))
        assert cluster.gathering.secrets == {"bgp"}
        cluster.gathering.flush()
        assert cluster.gathering.problems[0].transient
        cluster.put(kinds.SECRET, secret("bgp", password="aHVudGVyMg=="))
        assert cluster.gathering.flush() == Change(config=True)
        assert cluster.gathering.world.config.peers[0].password is not None

    def test_everything_for_one_who_knew_nothing(self) -> None:
        cluster = Cluster().service().node("n1")
        cluster.gathering.flush()
        assert cluster.gathering.everything() == Change(frozenset({WEB}), frozenset({"n1"}), True)


def test_maps_share_what_is_the_same() -> None:
    """One Service among many costs one: the others are the same objects, in the same map."""
    cluster = Cluster()
    for number in range(1000):
        cluster.service(f"s{number}")
    before = cluster.gathering.world.services
    cluster.service("s1", 2)
    after = cluster.gathering.world.services
    assert isinstance(after, Map)
    assert sum(before[key] is after[key] for key in after) == 999
