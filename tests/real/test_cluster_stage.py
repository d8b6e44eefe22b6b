"""The stage for the cluster, by itself: a real API server, and kube-proxy that carries what a client sends.

Nothing of ours answers here: the address is given to a Service and put on a node by hand.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest

from lab import Lab, wait_until
from lab.api import ApiError
from lab.cluster import Answer, Cluster, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.api import Json
    from lab.control_plane import ControlPlane

ADDRESSES = ("192.0.2.100", "2001:db8::100")
DEADLINE_S = 45.0
PROTOCOLS: tuple[Literal["tcp", "udp"], ...] = ("tcp", "udp")


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def objects(control: ControlPlane) -> set[str]:
    """All that there is but Events, which controllers tell when they come to it."""
    return {path for path in control.paths() if "/events/" not in path}


def announce(cluster: Cluster, node: int) -> None:
    """Have the kernel of a node answer for the addresses, as who owns them would."""
    for address in ADDRESSES:
        cluster.nodes[node].eth0.add_address(f"{address}/{128 if ':' in address else 32}")


def test_an_account_may_do_what_it_is_bound_to(control: ControlPlane) -> None:
    api = control.api
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keeper", "namespace": "shop"}})
    keeper = api.acting_as(control.token("shop", "keeper"))
    with pytest.raises(ApiError, match='"system:serviceaccount:shop:keeper" cannot list resource "pods"') as caught:
        keeper.list("pods")
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "keeper"}}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    api.create(rights | {"kind": "ClusterRole", "rules": [rule]})
    api.create(rights | {
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keeper"},
        "subjects": [{"kind": "ServiceAccount", "name": "keeper", "namespace": "shop"}],
    })  # fmt: skip
    wait_until(lambda: allowed(lambda: keeper.list("pods")), DEADLINE_S, what="the binding to count")
    with pytest.raises(ApiError, match="cannot create"):
        keeper.create(config_map("mine"))


def test_what_a_test_leaves_is_deleted_and_what_is_kept_stays(control: ControlPlane) -> None:
    api = control.api
    kept = objects(control)
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for number in range(3):
        api.create(config_map(f"left-{number}"))
    control.clean()
    assert objects(control) == kept


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_tcp_and_udp_reach_a_backend_through_a_balancers_address(lab: Lab, control: ControlPlane, mode: Mode) -> None:
    cluster = Cluster(lab, control, 2, proxy=mode)
    cluster.service("web", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"])
    announce(cluster, 0)
    pod = cluster.pod("web-b", cluster.node("b"))
    cluster.set_ingress("web", *ADDRESSES)
    for address in ADDRESSES:
        for protocol in PROTOCOLS:
            answer = cluster.wait_answer(address, protocol=protocol)
            assert answer.node == "b"
            assert answer.asker in cluster.node("a").mgmt_addresses  # kube-proxy hides the client from another node
    cluster.api.patch("services", "web", {"spec": {"externalTrafficPolicy": "Local"}})
    cluster.pod("web-a", cluster.node("a"))
    for address, asker in zip(ADDRESSES, ("198.51.100.2", "2001:db8:1::2"), strict=True):
        wait_until(partial(asked_by, cluster, address, asker), DEADLINE_S, what="to be asked by the client itself")
    cluster.set_ready(pod, False)
    endpoints = wait_until(lambda: ready(cluster, False), DEADLINE_S, what="an endpoint that is not ready")
    assert endpoints == {"b"}


def test_the_api_server_goes_and_comes_while_traffic_flows(lab: Lab, control: ControlPlane) -> None:
    cluster = Cluster(lab, control, 1)
    cluster.service("web")
    announce(cluster, 0)
    cluster.pod("web-a", cluster.node("a"))
    cluster.set_ingress("web", ADDRESSES[0])
    assert cluster.wait_answer(ADDRESSES[0]).node == "a"
    control.kill_apiserver()
    with pytest.raises(OSError, match="refused"):
        control.api.list("services")
    assert cluster.ask(ADDRESSES[0]) == Answer("a", "198.51.100.2")
    control.start_apiserver()
    assert cluster.ingress("web") == [ADDRESSES[0]]
    with control.api.watch("configmaps", "default") as events:
        control.api.create(config_map("after"))
        assert next(event["object"]["metadata"]["name"] for event in events) == "after"
    control.stop_apiserver()
    assert control.apiserver.status == 0


def test_etcd_returns_to_what_it_had(control: ControlPlane) -> None:
    control.api.create(config_map("it", version="1"))
    saved = control.save()
    control.api.patch("configmaps", "it", {"data": {"version": "2"}})
    control.api.create(config_map("later"))
    control.restore(saved)
    assert [each["metadata"]["name"] for each in control.api.list("configmaps", "default")] == ["it"]
    assert control.api.get("configmaps", "it")["data"] == {"version": "1"}


def asked_by(cluster: Cluster, address: str, asker: str) -> bool:
    """Whether the Pod on the first node says that."""
    return cluster.ask(address) == Answer("a", asker)


def ready(cluster: Cluster, wanted: bool) -> set[str]:
    """The nodes of the endpoints that are or are not ready."""
    slices = cluster.api.list("endpointslices", "default")
    return {
        endpoint["nodeName"]
        for one in slices
        for endpoint in one["endpoints"] or ()
        if endpoint["conditions"]["ready"] is wanted
    }


def allowed(ask: Callable[[], object]) -> bool:
    """Whether it is not refused."""
    try:
        ask()
    except ApiError:
        return False
    return True
