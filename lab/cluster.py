"""A cluster without containers: nodes that are hosts, kube-proxy on each, and Pods that are addresses of their node.

        client ---- router ---- switch ---- a, b, c …        the scene of `lab/ring.py`
                                            | | |
        control -------------- management --+-+-+            10.98.1.<node>, fd98::1:<node>

The cluster knows a node by its addresses on the switch, 192.0.2.<10 + node> and 2001:db8::<10 + node>, where it is a
client's and its fellows' neighbour. Its Pods have addresses of 10.97.<node>.0/24 and fd97:0:0:<node>::/64, local to its
host, and these are reached, as the API server is, over the management network: cutting a node off the switch takes
neither away. What kube-proxy makes of a Service, and that it hides the client from another node's Pod, is all real.

No Pod is scheduled and no kubelet runs: Node and Pod objects are made here, with the status that a kubelet would give.
`clean` of the control plane deletes them; the hosts go with their lab, which may be another than the control plane's.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

from lab.link import Link
from lab.native import HERE
from lab.programs import PROXY
from lab.ring import Ring
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.api import Api, Json
    from lab.control_plane import ControlPlane
    from lab.host import Host
    from lab.network import Lab
    from lab.process import Process

Mode = Literal["nftables", "iptables"]
PORT = 80
"""Where Pods answer."""
POD_RANGES = "10.97.0.0/16,fd97::/48"
START_S = 60.0
ASK_S = 2.0
_HEALTH_PORT = 10256
_LOOPBACK = 1
_READY = {"type": "Ready", "status": "True"}


@dataclass
class Node:
    """One node: its host, and its place among the others, from 1."""

    host: Host
    place: int
    eth0: Link
    """On the switch."""
    mgmt: Link
    proxy: Process | None = None
    _places: Iterator[int] = field(default_factory=lambda: count(2))

    @property
    def name(self) -> str:
        """As the cluster calls it."""
        return self.host.name

    @property
    def addresses(self) -> tuple[str, str]:
        """Its own, on the switch, by which it is known to the cluster."""
        return f"192.0.2.{10 + self.place}", f"2001:db8::{10 + self.place}"

    @property
    def mgmt_addresses(self) -> tuple[str, str]:
        """Those on the management network."""
        return f"10.98.1.{self.place}", f"fd98::1:{self.place}"

    @property
    def pod_ranges(self) -> tuple[str, str]:
        """Where its Pods are."""
        return f"10.97.{self.place}.0/24", f"fd97:0:0:{self.place}::/64"

    def new_pod_addresses(self) -> tuple[str, str]:
        """Two that no other Pod has."""
        last = next(self._places)
        return f"10.97.{self.place}.{last}", f"fd97:0:0:{self.place}::{last}"


@dataclass(frozen=True)
class Pod:
    """A Pod that answers on TCP and UDP port 80 of its addresses, as `traffic/backend.py` says."""

    name: str
    namespace: str
    node: Node
    addresses: tuple[str, str]
    backend: Process


@dataclass(frozen=True)
class Answer:
    """What a backend said: the name of its node, and from which address it was asked."""

    node: str
    asker: str


class Cluster:
    """Nodes with a kube-proxy each, ready when made."""

    def __init__(self, lab: Lab, control: ControlPlane, nodes: int = 3, *, proxy: Mode | None = "nftables") -> None:
        """`proxy` says how kube-proxy is to work; None: there is none."""
        self.lab, self.control = lab, control
        self.ring = Ring(lab, nodes, addresses=())
        self.client = self.ring.client
        self.nodes = [self._join(host, place) for place, host in enumerate(self.ring.hosts, 1)]
        for node in self.nodes:
            self._route_to(node)
            self.make_node(node)
        if proxy is not None:
            for node in self.nodes:
                self.begin_proxy(node, proxy)
            for node in self.nodes:
                self.wait_proxy(node)

    @property
    def api(self) -> Api:
        """The API, as its master."""
        return self.control.api

    def node(self, name: str) -> Node:
        """By its name. Raises LookupError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LookupError(f"expected the name of a node, not {name!r}")

    def _join(self, host: Host, place: int) -> Node:
        host.set({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        mgmt = host.link(self.control.management, name="mgmt", addresses=[f"10.98.1.{place}/16", f"fd98::1:{place}/64"])
        return Node(host, place, self.ring.links[host], mgmt)

    def _route_to(self, node: Node) -> None:
        """Let everybody on the management network reach its Pods."""
        for host in (*(other.host for other in self.nodes if other is not node), self.control.host):
            for prefix, via in zip(node.pod_ranges, node.mgmt_addresses, strict=True):
                family = socket.AF_INET6 if ":" in via else socket.AF_INET
                host.netlink("route", "replace", family=family, dst=prefix, gateway=via)

    # Objects that a kubelet would make

    def make_node(self, node: Node, **labels: str) -> Json:
        """Its Node object, ready."""
        made = self.api.apply({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name, **labels}},
            "spec": {"podCIDR": node.pod_ranges[0], "podCIDRs": list(node.pod_ranges)},
        })  # fmt: skip
        addresses = [{"type": "InternalIP", "address": address} for address in node.addresses]
        status = {"addresses": addresses, "conditions": [_READY]}
        self.api.patch("nodes", node.name, {"status": status}, subresource="status")
        return made

    def pod(self, name: str, node: Node, labels: Mapping[str, str] | None = None, *, namespace: str = "default") -> Pod:
        """A Pod on the node that answers, with these labels (`app=web`); ready."""
        addresses = node.new_pod_addresses()
        for address in addresses:
            Link(node.host, _LOOPBACK).add_address(f"{address}/{128 if ':' in address else 32}")
        backend = node.host.spawn(
            [sys.executable, "-I", "-S", HERE / "traffic" / "backend.py", node.name, str(PORT), *addresses]
        )
        backend.wait_for_line("^ready$", START_S)
        self.make_pod(name, node.name, addresses, labels or {"app": "web"}, namespace=namespace)
        return Pod(name, namespace, node, addresses, backend)

    def make_pod(
        self, name: str, node: str, addresses: tuple[str, ...], labels: Mapping[str, str], *, namespace: str = "default"
    ) -> Json:
        """The Pod object of something that runs, ready."""
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
        self.api.create({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
        })  # fmt: skip
        status = {
            "phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses],
            "conditions": [_READY],
        }  # fmt: skip
        return self.api.patch("pods", name, {"status": status}, namespace, subresource="status")

    def set_ready(self, pod: Pod, ready: bool) -> None:
        """Have it pass or fail its readiness probe."""
        condition = {"type": "Ready", "status": str(ready)}
        self.api.patch(
            "pods", pod.name, {"status": {"conditions": [condition]}}, pod.namespace, subresource="status"
        )  # fmt: skip

    def service(
        self,
        name: str,
        *,
        namespace: str = "default",
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: object,
    ) -> Json:
        """A Service of type LoadBalancer for Pods with `app=web`: TCP and UDP port 80, and UDP port 7 (`traffic.echo`).

        `spec` is put over that. It asks for no node ports: there are only so many.
        """
        ports = [("tcp", "TCP", PORT), ("udp", "UDP", PORT), ("echo", "UDP", 7)]
        wish = {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "selector": {"app": "web"},
            "ports": [{"name": word, "protocol": protocol, "port": port} for word, protocol, port in ports],
        }  # fmt: skip
        metadata = {
            "name": name, "namespace": namespace, "annotations": dict(annotations or {}), "labels": dict(labels or {})
        }  # fmt: skip
        return self.api.create(
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": wish | spec}
        )  # fmt: skip

    def ingress(self, name: str, namespace: str = "default") -> list[str]:
        """The addresses that a Service has."""
        balancer = self.api.get("services", name, namespace)["status"]["loadBalancer"]
        return [each["ip"] for each in balancer.get("ingress", ())]

    def set_ingress(self, name: str, *addresses: str, namespace: str = "default") -> None:
        """Give a Service these addresses, as a controller would."""
        status = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
        self.api.patch("services", name, {"status": status}, namespace, subresource="status")

    # kube-proxy

    def begin_proxy(self, node: Node, mode: Mode) -> None:
        """Start it, and do not wait. It leaves the machine's own settings alone."""
        soon = {"minSyncPeriod": "100ms"}
        whole = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.control.kubeconfig("system:kube-proxy"))},
            "hostnameOverride": node.name, "clusterCIDR": POD_RANGES, "mode": mode, mode: soon, "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "healthzBindAddress": f"127.0.0.1:{_HEALTH_PORT}", "metricsBindAddress": "127.0.0.1:10249",
        }  # fmt: skip
        path = self.lab.directory / f"kube-proxy-{node.name}.json"
        path.write_text(json.dumps(whole, indent=1))
        node.proxy = node.host.spawn([PROXY.path(), "--config", path])

    def wait_proxy(self, node: Node) -> None:
        """Wait until it has made its first rules."""
        proxy = node.proxy
        assert proxy

        def healthy() -> bool:
            assert proxy.alive, proxy.output
            with suppress(OSError, http.client.HTTPException):
                return node.host.call(_healthy)
            return False

        wait_until(healthy, START_S, what=f"kube-proxy on {node.name} to be ready", every_ms=50)

    # What a client sees

    def ask(
        self, address: str, port: int = PORT, *, protocol: Literal["tcp", "udp"] = "tcp", asker: Host | None = None
    ) -> Answer | None:
        """Ask once, from the client or another host; None if nobody answers."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with (asker or self.client).socket(family, kind) as question, suppress(OSError):
            question.settimeout(ASK_S)
            question.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                question.send(b"?")
            node, _, told = question.recv(256).decode().strip().partition(" ")
            return Answer(node, told) if told else None
        return None

    def wait_answer(
        self, address: str, port: int = PORT, *, protocol: Literal["tcp", "udp"] = "tcp", asker: Host | None = None
    ) -> Answer:
        """Ask until somebody answers."""
        answer = wait_until(
            lambda: self.ask(address, port, protocol=protocol, asker=asker),
            START_S, what=f"{protocol} port {port} of {address} to answer", every_ms=20,
        )  # fmt: skip
        assert answer
        return answer

    def shares(self, address: str, count: int, port: int = PORT) -> Counter[str]:
        """Open as many connections from the client, one after the other: how many each node's backend answered.

        Under the empty name those that nobody did.
        """
        program = str(HERE / "traffic" / "connections.py")
        command = [sys.executable, "-I", "-S", program, address, str(port), str(count)]
        return Counter(json.loads(self.client.run(command, timeout_s=START_S).stdout))


def _healthy() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", _HEALTH_PORT, timeout=5)
    connection.request("GET", "/healthz")
    with closing(connection), connection.getresponse() as response:
        return response.status == http.client.OK
