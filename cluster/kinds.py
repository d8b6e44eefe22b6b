"""The kinds of objects that we read or write, and where the API has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from cluster import custom, resources
from cluster.resources import Object

T_co = TypeVar("T_co", bound=Object, covariant=True)


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """A kind of object; `group` is empty for the core."""

    group: str
    version: str
    name: str
    plural: str
    struct: type[T_co]

    @property
    def resource(self) -> str:
        """As RBAC rules and error messages name it: `services`, `ipaddresspools.metallb.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects say it: `v1`, `metallb.io/v1beta1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Where one object is, or all of a namespace, or (without a namespace) all of the cluster."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(quote(part, safe="") for part in parts)


METALLB = "metallb.io"

SERVICE = Kind("", "v1", "Service", "services", resources.Service)
NODE = Kind("", "v1", "Node", "nodes", resources.Node)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", resources.Namespace)
POD = Kind("", "v1", "Pod", "pods", resources.Pod)
SECRET = Kind("", "v1", "Secret", "secrets", resources.Secret)
EVENT = Kind("", "v1", "Event", "events", resources.Object)
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", resources.EndpointSlice)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases", resources.Object)

ADDRESS_POOL = Kind(METALLB, "v1beta1", "IPAddressPool", "ipaddresspools", custom.IPAddressPool)
L2_ADVERTISEMENT = Kind(METALLB, "v1beta1", "L2Advertisement", "l2advertisements", custom.L2Advertisement)
BGP_ADVERTISEMENT = Kind(METALLB, "v1beta1", "BGPAdvertisement", "bgpadvertisements", custom.BGPAdvertisement)
BGP_PEER = Kind(METALLB, "v1beta2", "BGPPeer", "bgppeers", custom.BGPPeer)
BFD_PROFILE = Kind(METALLB, "v1beta1", "BFDProfile", "bfdprofiles", custom.BFDProfile)
COMMUNITY = Kind(METALLB, "v1beta1", "Community", "communities", custom.Community)
CONFIGURATION_STATE = Kind(METALLB, "v1beta1", "ConfigurationState", "configurationstates", resources.Object)
SERVICE_L2_STATUS = Kind(METALLB, "v1beta1", "ServiceL2Status", "servicel2statuses", resources.Object)
SERVICE_BGP_STATUS = Kind(METALLB, "v1beta1", "ServiceBGPStatus", "servicebgpstatuses", resources.Object)
