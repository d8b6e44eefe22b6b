"""What MetalLB's custom resources ask for, checked and resolved: the values that controller and speaker decide by.

Selectors of nodes, namespaces and pools are resolved when the configuration is read, against the nodes and namespaces
that there are then; selectors of Services are asked for each Service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from cluster.selectors import Selector, any_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arpfast.spans import Span


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """An IPAddressPool."""

    name: str
    labels: dict[str, str] = {}
    """The object's own: by them advertisements select it."""
    spans: tuple[Span, ...]
    """In the order of `spec.addresses`: the first that has a free address of a family gives it."""
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    pinned: bool = False
    """It has `serviceAllocation`, even an empty one: preferred to those that have none."""
    priority: int = 0
    """The least number first; 0 is last."""
    namespaces: frozenset[str] | None = None
    """Those that may use it, by name or by selector; None: all. Selectors that match none leave it to none."""
    service_selectors: tuple[Selector, ...] = ()
    """One of them has to select the Service, if there are any."""

    def admits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a Service of this namespace, with these labels, may have addresses of this pool."""
        if self.namespaces is not None and namespace not in self.namespaces:
            return False
        return not self.service_selectors or any_matches(self.service_selectors, labels)


class L2Advertisement(msgspec.Struct, frozen=True, kw_only=True):
    """An L2Advertisement."""

    name: str
    pools: frozenset[str]
    nodes: frozenset[str]
    """The names of those that may answer: all nodes, where nothing selects."""
    interfaces: frozenset[str] = frozenset()
    """Empty: all."""
    service_selectors: tuple[Selector, ...] = ()
    """One of them has to select the Service, if there are any."""
    preferences: dict[str, int] = {}
    """The summed weight of each node that is preferred."""

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about a Service with these labels."""
        return not self.service_selectors or any_matches(self.service_selectors, labels)


@dataclass(frozen=True)
class Password:
    """What is shown nowhere."""

    text: str = field(repr=False)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A BGPPeer: exactly one of `address` and `interface` says where it is, of `asn` and `dynamic_asn` what it is."""

    name: str
    my_asn: int
    asn: int = 0
    dynamic_asn: str = ""
    """`internal` or `external`: whatever number it says, as long as it is ours, or is not."""
    local_asn: int = 0
    """The number that it is told instead of `my_asn`; 0: none."""
    address: str = ""
    interface: str = ""
    source_address: str = ""
    port: int = 179
    hold_time_s: int | None = None
    keepalive_time_s: int | None = None
    """Both are given or neither is."""
    connect_time_s: int | None = None
    router_id: str = ""
    nodes: frozenset[str]
    """The names of those that speak with it."""
    password: Password | None = None
    bfd_profile: str = ""
    graceful_restart: bool = False
    ebgp_multi_hop: bool = False
    vrf: str = ""
    dual_stack: bool = False
    """Both families over one session."""


class BGPAdvertisement(msgspec.Struct, frozen=True, kw_only=True):
    """A BGPAdvertisement."""

    name: str
    pools: frozenset[str]
    nodes: frozenset[str]
    """The names of those that announce: all nodes, where nothing selects."""
    peers: frozenset[str] | None = None
    """The names of those that are told; None: all."""
    aggregation_length: int = 32
    aggregation_length_v6: int = 128
    local_pref: int = 0
    """0: not said."""
    communities: tuple[str, ...] = ()
    """Resolved, in order: `65000:1`, `large:65000:1:2`."""
    service_selectors: tuple[Selector, ...] = ()
    """One of them has to select the Service, if there are any."""

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about a Service with these labels."""
        return not self.service_selectors or any_matches(self.service_selectors, labels)


class BFDProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A BFDProfile; what is None is the protocol engine's own choice."""

    name: str
    receive_interval_ms: int | None = None
    transmit_interval_ms: int | None = None
    detect_multiplier: int | None = None
    echo_interval_ms: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: int | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it: of each kind of object, what was good when it was last good."""

    pools: dict[str, Pool] = {}
    """By name, in the order of their names."""
    l2_advertisements: tuple[L2Advertisement, ...] = ()
    bgp_advertisements: tuple[BGPAdvertisement, ...] = ()
    peers: tuple[Peer, ...] = ()
    bfd_profiles: dict[str, BFDProfile] = {}
    communities: dict[str, str] = {}
    """What each alias stands for."""

    def pool_of(self, span: Span) -> Pool | None:
        """The pool that has this whole span; pools never overlap."""
        for pool in self.pools.values():
            for own in pool.spans:
                if own.version == span.version and own.first <= span.first and span.last <= own.last:
                    return pool
        return None
