"""MetalLB's custom resources (group `metallb.io`, each in MetalLB's namespace) as they are written, not yet checked.

Names and defaults are those of the CRDs. What the schema requires is optional here: whoever wrote an object that lacks
it is told so by `cluster.parse`, together with all else that is wrong.
"""

from __future__ import annotations

from msgspec import field

from cluster.resources import Object, Struct
from cluster.selectors import Selector


class ServiceAllocation(Struct, frozen=True):
    """To whom an IPAddressPool is kept."""

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()


class IPAddressPoolSpec(Struct, frozen=True):
    """What an IPAddressPool holds."""

    addresses: tuple[str, ...] = ()
    auto_assign: bool = True
    avoid_buggy_ips: bool = field(default=False, name="avoidBuggyIPs")
    service_allocation: ServiceAllocation | None = None


class IPAddressPool(Object, frozen=True):
    """`metallb.io/v1beta1.IPAddressPool`."""

    spec: IPAddressPoolSpec = IPAddressPoolSpec()


class PreferredNodes(Struct, frozen=True):
    """Nodes that are preferred, and by how much."""

    weight: int = 0
    preference: Selector = Selector()


class L2AdvertisementSpec(Struct, frozen=True):
    """What is answered for, by whom, and where."""

    ip_address_pools: tuple[str, ...] = ()
    ip_address_pool_selectors: tuple[Selector, ...] = ()
    node_selectors: tuple[Selector, ...] = ()
    interfaces: tuple[str, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    preferred_node_selectors: tuple[PreferredNodes, ...] = ()


class L2Advertisement(Object, frozen=True):
    """`metallb.io/v1beta1.L2Advertisement`."""

    spec: L2AdvertisementSpec = L2AdvertisementSpec()


class BGPAdvertisementSpec(Struct, frozen=True):
    """What is announced, by whom, to whom, and how."""

    aggregation_length: int = 32
    aggregation_length_v6: int = 128
    local_pref: int = 0
    communities: tuple[str, ...] = ()
    ip_address_pools: tuple[str, ...] = ()
    ip_address_pool_selectors: tuple[Selector, ...] = ()
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    peers: tuple[str, ...] = ()


class BGPAdvertisement(Object, frozen=True):
    """`metallb.io/v1beta1.BGPAdvertisement`."""

    spec: BGPAdvertisementSpec = BGPAdvertisementSpec()


class SecretReference(Struct, frozen=True):
    """`v1.SecretReference`."""

    name: str = ""
    namespace: str = ""


class BGPPeerSpec(Struct, frozen=True):
    """A router, and how to speak with it."""

    my_asn: int = field(default=0, name="myASN")
    peer_asn: int = field(default=0, name="peerASN")
    dynamic_asn: str = field(default="", name="dynamicASN")
    local_asn: int = field(default=0, name="localASN")
    peer_address: str = ""
    interface: str = ""
    source_address: str = ""
    peer_port: int = 179
    hold_time: str | None = None
    keepalive_time: str | None = None
    connect_time: str | None = None
    router_id: str = field(default="", name="routerID")
    node_selectors: tuple[Selector, ...] = ()
    password: str = ""
    password_secret: SecretReference = SecretReference()
    bfd_profile: str = ""
    enable_graceful_restart: bool = False
    ebgp_multi_hop: bool = False
    vrf: str = ""
    dual_stack_address_family: bool = False

    def __repr__(self) -> str:
        """Without the password."""
        return f"BGPPeerSpec({self.peer_address or self.interface})"


class BGPPeer(Object, frozen=True):
    """`metallb.io/v1beta2.BGPPeer`."""

    spec: BGPPeerSpec = BGPPeerSpec()


class BFDProfileSpec(Struct, frozen=True):
    """How the path to a router is watched."""

    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: int | None = None


class BFDProfile(Object, frozen=True):
    """`metallb.io/v1beta1.BFDProfile`."""

    spec: BFDProfileSpec = BFDProfileSpec()


class CommunityAlias(Struct, frozen=True):
    """A community, and what to call it."""

    name: str = ""
    value: str = ""


class CommunitySpec(Struct, frozen=True):
    """Several of them."""

    communities: tuple[CommunityAlias, ...] = ()


class Community(Object, frozen=True):
    """`metallb.io/v1beta1.Community`."""

    spec: CommunitySpec = CommunitySpec()


class Objects(Struct, frozen=True):
    """All of them that there are."""

    pools: tuple[IPAddressPool, ...] = ()
    l2_advertisements: tuple[L2Advertisement, ...] = ()
    bgp_advertisements: tuple[BGPAdvertisement, ...] = ()
    peers: tuple[BGPPeer, ...] = ()
    bfd_profiles: tuple[BFDProfile, ...] = ()
    communities: tuple[Community, ...] = ()
