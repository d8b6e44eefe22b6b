"""The objects of Kubernetes, reduced to what we read of them, decoded from the API's bytes by msgspec.

Names are Kubernetes'. A field that is absent has its zero value, as in Go; what we don't name is passed over, and so
are the annotations of others: `kubectl` alone keeps a copy of the whole object in one. Nothing here refers to itself,
so the garbage collector need not look at it, which with 10 000 Services would take it tens of milliseconds each time.
"""

from __future__ import annotations

from sys import intern
from typing import NamedTuple

import msgspec

ADDRESS_POOL = "metallb.io/address-pool"
LOAD_BALANCER_IPS = "metallb.io/loadBalancerIPs"
ALLOW_SHARED_IP = "metallb.io/allow-shared-ip"
ALLOCATED_FROM = "metallb.io/ip-allocated-from-pool"
PREFIX, OLD_PREFIX = "metallb.io/", "metallb.universe.tf/"
_OURS = PREFIX, OLD_PREFIX
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class Key(NamedTuple):
    """What an object is called; `namespace` is empty for what has none."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A part of an object."""


class Metadata(Struct, frozen=True):
    """`metav1.ObjectMeta`."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str = ""

    def __post_init__(self) -> None:
        """Keep only annotations of MetalLB's, and each label's and namespace's name once in memory."""
        if self.annotations:
            ours = {name: value for name, value in self.annotations.items() if name.startswith(_OURS)}
            msgspec.structs.force_setattr(self, "annotations", ours)
        if self.labels:
            labels = {intern(name): intern(value) for name, value in self.labels.items()}
            msgspec.structs.force_setattr(self, "labels", labels)
        msgspec.structs.force_setattr(self, "namespace", intern(self.namespace))


class Object(Struct, frozen=True):
    """Anything with metadata."""

    metadata: Metadata

    @property
    def key(self) -> Key:
        """Its namespace and name."""
        return Key(self.metadata.namespace, self.metadata.name)


class ServicePort(Struct, frozen=True):
    """A port that a Service is reached by."""

    port: int
    protocol: str = "TCP"
    name: str = ""


class ServiceSpec(Struct, frozen=True):
    """What is wished of a Service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    external_traffic_policy: str = ""
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    load_balancer_class: str | None = None


class Ingress(Struct, frozen=True):
    """An address that a Service is reached at."""

    ip: str = ""


class LoadBalancerStatus(Struct, frozen=True):
    """Where a Service is reached from outside."""

    ingress: tuple[Ingress, ...] = ()


class ServiceStatus(Struct, frozen=True):
    """What is so of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object, frozen=True):
    """`v1.Service`."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    def annotation(self, name: str) -> str | None:
        """One of MetalLB's annotations, by its present name; the old prefix is honoured where the new one is absent."""
        annotations = self.metadata.annotations
        if name in annotations:
            return annotations[name]
        return annotations.get(OLD_PREFIX + name.partition("/")[2])


class Conditions(Struct, frozen=True):
    """What is known of an endpoint; None: nobody has said."""

    ready: bool | None = None
    serving: bool | None = None


class Endpoint(Struct, frozen=True):
    """Who serves a Service."""

    addresses: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    node_name: str = ""

    @property
    def serves(self) -> bool:
        """Whether it takes connections: ready (or nobody said that it is not), or terminating but still serving."""
        return self.conditions.ready is not False or bool(self.conditions.serving)


class EndpointSlice(Object, frozen=True):
    """`discovery.k8s.io/v1.EndpointSlice`."""

    endpoints: tuple[Endpoint, ...] | None = ()

    @property
    def service(self) -> Key:
        """The Service that it belongs to; with an empty name, none."""
        return Key(self.metadata.namespace, self.metadata.labels.get("kubernetes.io/service-name", ""))


class Condition(Struct, frozen=True):
    """A condition of an object."""

    type: str
    status: str


class Taint(Struct, frozen=True):
    """What keeps Pods off a Node."""

    key: str
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """What is wished of a Node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Struct, frozen=True):
    """An address of a Node."""

    type: str
    address: str


class NodeStatus(Struct, frozen=True):
    """What is so of a Node."""

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Node(Object, frozen=True):
    """`v1.Node`."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(Object, frozen=True):
    """`v1.Namespace`."""


class Secret(Object, frozen=True):
    """`v1.Secret`; its values are in base64."""

    type: str = ""
    data: dict[str, str] = {}

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"Secret({self.key})"


class PodSpec(Struct, frozen=True):
    """What is wished of a Pod."""

    node_name: str = ""


class PodAddress(Struct, frozen=True):
    """An address of a Pod."""

    ip: str = ""


class PodStatus(Struct, frozen=True):
    """What is so of a Pod."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodAddress, ...] = msgspec.field(default=(), name="podIPs")
    conditions: tuple[Condition, ...] = ()


class Pod(Object, frozen=True):
    """`v1.Pod`."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
