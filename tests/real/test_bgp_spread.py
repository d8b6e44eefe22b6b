"""Connections of a client behind FRR, to an address that three nodes announce: every node gets its share of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from lab import Lab, wait_until
from lab.cluster import Cluster
from lab.fabric import FRR_ASN, NODES_ASN, Fabric
from lab.manifests import NAMESPACE
from tests.real.cluster_speakers import DEADLINE_S, Speakers

if TYPE_CHECKING:
    from lab.control_plane import ControlPlane

V4, V6 = "192.0.2.100", "2001:db8::100"
CONNECTIONS = 3000


@pytest.mark.timeout(300)
def test_frr_spreads_connections_over_all_nodes_that_have_somebody_to_answer(lab: Lab, installed: ControlPlane) -> None:
    cluster = Cluster(lab, installed)
    fabric = Fabric(cluster.ring)
    Speakers(cluster, bgp=True)

    def make(kind: str, version: str = "v1beta1", **spec: Any) -> None:
        metadata = {"name": "all", "namespace": NAMESPACE}
        cluster.api.create({"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": metadata, "spec": spec})

    def ways(prefix: str, count: int) -> bool:
        return len(fabric.frr.kernel_next_hops(prefix)) == count

    place = {"peerAddress": fabric.address(fabric.frr), "peerASN": FRR_ASN, "myASN": NODES_ASN}
    make("BGPPeer", "v1beta2", **place, dualStackAddressFamily=True)
    make("BGPAdvertisement")
    fabric.frr.start(fabric.nodes())
    pods = [cluster.pod(f"web-{node.name}", node) for node in cluster.nodes]
    both: dict[str, Any] = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}
    cluster.service("web", externalTrafficPolicy="Local", **both)
    cluster.set_ingress("web", V4, V6)
    nodes = [fabric.node(host) for host in cluster.ring.hosts]
    for prefix in (f"{V4}/32", f"{V6}/128"):
        fabric.frr.wait_route(prefix, *nodes)
        wait_until(partial(ways, prefix, len(nodes)), DEADLINE_S, what="every way to be in the kernel")
    for address in (V4, V6):
        for node in cluster.nodes:  # kube-proxy has its rules everywhere
            cluster.wait_answer(address, asker=node.host)
        shares = cluster.shares(address, CONNECTIONS)
        assert set(shares) == {node.name for node in cluster.nodes}, shares
        assert all(0.25 <= share / CONNECTIONS <= 0.42 for share in shares.values()), shares

    cluster.set_ready(pods[0], ready=False)
    for prefix in (f"{V4}/32", f"{V6}/128"):
        fabric.frr.wait_route(prefix, *nodes[1:])
    wait_until(partial(ways, V4, len(nodes) - 1), DEADLINE_S, what="one way less to be in the kernel")
    assert set(cluster.shares(V4, CONNECTIONS // 10)) == {node.name for node in cluster.nodes[1:]}
