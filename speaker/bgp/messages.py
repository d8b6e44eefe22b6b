"""The messages of GoBGP's API (v4, `api.GoBgpService`) that are spoken here: of each the fields that are used.

Names and numbers are those of its `.proto` files; enums have their values below. 0 is "unspecified" in all of them.
"""

from __future__ import annotations

from typing import Annotated

from speaker.bgp.protobuf import Message

GLOBAL_TABLE = 1
IPV4, IPV6, UNICAST = 1, 2, 1
NEIGHBOUR_SET, LARGE_COMMUNITY_SET = 2, 7
ANY, ALL = 1, 2
ADD, REMOVE, REPLACE = 1, 2, 3
ACCEPT, REJECT = 1, 2
IMPORT, EXPORT = 1, 2
LOCAL_ROUTE = 3
ADMIN_DOWN = 2
BFD_UP = 1


class Family(Message, frozen=True):
    afi: Annotated[int, 1] = 0
    safi: Annotated[int, 2] = 0


class Empty(Message, frozen=True):
    """No field, or none of interest: most answers."""


class Timestamp(Message, frozen=True):
    seconds: Annotated[int, 1] = 0
    nanos: Annotated[int, 2] = 0


# The daemon


class Global(Message, frozen=True):
    asn: Annotated[int, 1] = 0
    router_id: Annotated[str, 2] = ""
    listen_port: Annotated[int, 3] = 0


class StartBgpRequest(Message, frozen=True):
    global_: Annotated[Global | None, 1] = None


class GetBgpResponse(Message, frozen=True):
    global_: Annotated[Global | None, 1] = None


class StopBgpRequest(Message, frozen=True):
    allow_graceful_restart: Annotated[bool, 1] = False


# Peers


class PeerConf(Message, frozen=True):
    auth_password: Annotated[str, 1] = ""
    description: Annotated[str, 2] = ""
    local_asn: Annotated[int, 3] = 0
    neighbor_address: Annotated[str, 4] = ""
    peer_asn: Annotated[int, 5] = 0

    def __repr__(self) -> str:
        """The daemon tells the password to whoever asks; we do not."""
        return f"PeerConf({self.description!r}, {self.neighbor_address!r}, {self.local_asn}, {self.peer_asn})"


class EbgpMultihop(Message, frozen=True):
    enabled: Annotated[bool, 1] = False
    multihop_ttl: Annotated[int, 2] = 0


class BfdAsyncCounters(Message, frozen=True):
    transmitted_packets: Annotated[int, 3] = 0
    received_packets: Annotated[int, 4] = 0


class BfdPeerState(Message, frozen=True):
    session_state: Annotated[int, 1] = 0
    failure_transitions: Annotated[int, 4] = 0
    bfd_async: Annotated[BfdAsyncCounters | None, 10] = None


class MessageCounts(Message, frozen=True):
    notification: Annotated[int, 1] = 0
    update: Annotated[int, 2] = 0
    open: Annotated[int, 3] = 0
    keepalive: Annotated[int, 4] = 0
    refresh: Annotated[int, 5] = 0
    total: Annotated[int, 7] = 0


class Messages(Message, frozen=True):
    received: Annotated[MessageCounts | None, 1] = None
    sent: Annotated[MessageCounts | None, 2] = None


class PeerState(Message, frozen=True):
    local_asn: Annotated[int, 3] = 0
    messages: Annotated[Messages | None, 4] = None
    neighbor_address: Annotated[str, 5] = ""
    peer_asn: Annotated[int, 6] = 0
    session_state: Annotated[int, 13] = 0
    admin_state: Annotated[int, 15] = 0
    disconnect_reason: Annotated[int, 21] = 0
    disconnect_message: Annotated[str, 22] = ""
    bfd_state: Annotated[BfdPeerState | None, 23] = None


class TimersConfig(Message, frozen=True):
    """All in seconds."""

    connect_retry: Annotated[int, 1] = 0
    hold_time: Annotated[int, 2] = 0
    keepalive_interval: Annotated[int, 3] = 0
    idle_hold_time_after_reset: Annotated[int, 5] = 0


class TimersState(Message, frozen=True):
    uptime: Annotated[Timestamp | None, 6] = None
    downtime: Annotated[Timestamp | None, 7] = None


class Timers(Message, frozen=True):
    config: Annotated[TimersConfig | None, 1] = None
    state: Annotated[TimersState | None, 2] = None


class Transport(Message, frozen=True):
    local_address: Annotated[str, 1] = ""
    remote_port: Annotated[int, 6] = 0


class GracefulRestart(Message, frozen=True):
    enabled: Annotated[bool, 1] = False
    restart_time: Annotated[int, 2] = 0
    deferral_time: Annotated[int, 4] = 0
    local_restarting: Annotated[bool, 10] = False


class MpGracefulRestartConfig(Message, frozen=True):
    enabled: Annotated[bool, 1] = False


class MpGracefulRestart(Message, frozen=True):
    config: Annotated[MpGracefulRestartConfig | None, 1] = None


class AfiSafiConfig(Message, frozen=True):
    family: Annotated[Family | None, 1] = None
    enabled: Annotated[bool, 2] = False


class AfiSafi(Message, frozen=True):
    mp_graceful_restart: Annotated[MpGracefulRestart | None, 1] = None
    config: Annotated[AfiSafiConfig | None, 2] = None


class BfdPeerConfig(Message, frozen=True):
    """Intervals in microseconds."""

    enabled: Annotated[bool, 1] = False
    desired_minimum_tx_interval: Annotated[int, 3] = 0
    required_minimum_receive: Annotated[int, 4] = 0
    detection_multiplier: Annotated[int, 5] = 0


class Peer(Message, frozen=True):
    conf: Annotated[PeerConf | None, 2] = None
    ebgp_multihop: Annotated[EbgpMultihop | None, 3] = None
    state: Annotated[PeerState | None, 5] = None
    timers: Annotated[Timers | None, 6] = None
    transport: Annotated[Transport | None, 7] = None
    graceful_restart: Annotated[GracefulRestart | None, 9] = None
    afi_safis: Annotated[tuple[AfiSafi, ...], 10] = ()
    bfd: Annotated[BfdPeerConfig | None, 12] = None


class AddPeerRequest(Message, frozen=True):
    peer: Annotated[Peer | None, 1] = None


class PeerRequest(Message, frozen=True):
    """DeletePeer, EnablePeer, DisablePeer."""

    address: Annotated[str, 1]


class DisablePeerRequest(Message, frozen=True):
    address: Annotated[str, 1]
    communication: Annotated[str, 2] = ""


class ListPeerResponse(Message, frozen=True):
    peer: Annotated[Peer | None, 1] = None


class WatchEventRequest(Message, frozen=True):
    peer: Annotated[Empty | None, 1] = None


class PeerEvent(Message, frozen=True):
    type: Annotated[int, 1] = 0
    peer: Annotated[Peer | None, 2] = None


class WatchEventResponse(Message, frozen=True):
    peer: Annotated[PeerEvent | None, 2] = None


# Paths


class IPAddressPrefix(Message, frozen=True):
    prefix_len: Annotated[int, 1] = 0
    prefix: Annotated[str, 2] = ""


class NLRI(Message, frozen=True):
    prefix: Annotated[IPAddressPrefix | None, 1] = None


class OriginAttribute(Message, frozen=True):
    origin: Annotated[int, 1] = 0


class NextHopAttribute(Message, frozen=True):
    next_hop: Annotated[str, 1] = ""


class LocalPrefAttribute(Message, frozen=True):
    local_pref: Annotated[int, 1] = 0


class CommunitiesAttribute(Message, frozen=True):
    communities: Annotated[tuple[int, ...], 1] = ()


class MpReachNLRIAttribute(Message, frozen=True):
    family: Annotated[Family | None, 1] = None
    next_hops: Annotated[tuple[str, ...], 2] = ()
    nlris: Annotated[tuple[NLRI, ...], 3] = ()


class LargeCommunity(Message, frozen=True):
    global_admin: Annotated[int, 1] = 0
    local_data1: Annotated[int, 2] = 0
    local_data2: Annotated[int, 3] = 0


class LargeCommunitiesAttribute(Message, frozen=True):
    communities: Annotated[tuple[LargeCommunity, ...], 1] = ()


class Attribute(Message, frozen=True):
    """One of them."""

    origin: Annotated[OriginAttribute | None, 2] = None
    next_hop: Annotated[NextHopAttribute | None, 4] = None
    local_pref: Annotated[LocalPrefAttribute | None, 6] = None
    communities: Annotated[CommunitiesAttribute | None, 9] = None
    mp_reach: Annotated[MpReachNLRIAttribute | None, 12] = None
    large_communities: Annotated[LargeCommunitiesAttribute | None, 21] = None


class Path(Message, frozen=True):
    nlri: Annotated[NLRI | None, 1] = None
    pattrs: Annotated[tuple[Attribute, ...], 2] = ()
    is_withdraw: Annotated[bool, 5] = False
    family: Annotated[Family | None, 9] = None


class AddPathStreamRequest(Message, frozen=True):
    table_type: Annotated[int, 1] = 0
    paths: Annotated[tuple[bytes, ...], 3] = ()
    """Each a Path, written already."""


class ListPathRequest(Message, frozen=True):
    table_type: Annotated[int, 1] = 0
    family: Annotated[Family | None, 3] = None
    batch_size: Annotated[int, 10] = 0


class Destination(Message, frozen=True):
    prefix: Annotated[str, 1] = ""
    paths: Annotated[tuple[Path, ...], 2] = ()


class ListPathResponse(Message, frozen=True):
    destination: Annotated[Destination | None, 1] = None


# Policies


class DefinedSet(Message, frozen=True):
    defined_type: Annotated[int, 1] = 0
    name: Annotated[str, 2] = ""
    list: Annotated[tuple[str, ...], 3] = ()


class MatchSet(Message, frozen=True):
    type: Annotated[int, 1] = 0
    name: Annotated[str, 2] = ""


class Conditions(Message, frozen=True):
    neighbor_set: Annotated[MatchSet | None, 2] = None
    route_type: Annotated[int, 8] = 0
    large_community_set: Annotated[MatchSet | None, 9] = None
    afi_safi_in: Annotated[tuple[Family, ...], 11] = ()


class CommunityAction(Message, frozen=True):
    type: Annotated[int, 1] = 0
    communities: Annotated[tuple[str, ...], 2] = ()


class NexthopAction(Message, frozen=True):
    address: Annotated[str, 1] = ""


class LocalPrefAction(Message, frozen=True):
    value: Annotated[int, 1] = 0


class Actions(Message, frozen=True):
    route_action: Annotated[int, 1] = 0
    community: Annotated[CommunityAction | None, 2] = None
    nexthop: Annotated[NexthopAction | None, 6] = None
    local_pref: Annotated[LocalPrefAction | None, 7] = None
    large_community: Annotated[CommunityAction | None, 8] = None


class Statement(Message, frozen=True):
    name: Annotated[str, 1] = ""
    conditions: Annotated[Conditions | None, 2] = None
    actions: Annotated[Actions | None, 3] = None


class Policy(Message, frozen=True):
    name: Annotated[str, 1] = ""
    statements: Annotated[tuple[Statement, ...], 2] = ()


class PolicyAssignment(Message, frozen=True):
    name: Annotated[str, 1] = ""
    direction: Annotated[int, 2] = 0
    policies: Annotated[tuple[Policy, ...], 4] = ()
    default_action: Annotated[int, 5] = 0


class SetPoliciesRequest(Message, frozen=True):
    defined_sets: Annotated[tuple[DefinedSet, ...], 1] = ()
    policies: Annotated[tuple[Policy, ...], 2] = ()


class SetPolicyAssignmentRequest(Message, frozen=True):
    assignment: Annotated[PolicyAssignment | None, 1] = None


class ListPolicyAssignmentRequest(Message, frozen=True):
    name: Annotated[str, 1] = ""
    direction: Annotated[int, 2] = 0


class ListPolicyAssignmentResponse(Message, frozen=True):
    assignment: Annotated[PolicyAssignment | None, 1] = None


class ListPolicyResponse(Message, frozen=True):
    policy: Annotated[Policy | None, 1] = None


class ListDefinedSetRequest(Message, frozen=True):
    defined_type: Annotated[int, 1] = 0


class ListDefinedSetResponse(Message, frozen=True):
    defined_set: Annotated[DefinedSet | None, 1] = None
