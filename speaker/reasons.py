"""Why an address is not answered, or not by a certain node. MetalLB's words, for logs and dashboards know them."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Each is about a Service as a whole, or about a Service and a node."""

    NOT_LOAD_BALANCER = "notLoadBalancer"
    NO_IP_ALLOCATED = "noIPAllocated"
    INVALID_IP = "invalidIP"
    IP_NOT_ALLOWED = "ipNotAllowed"
    """Its addresses are not all in one pool."""
    NO_ENDPOINTS = "noEndpoints"
    SHARED_IP_WITH_SERVICE_SELECTOR = "sharedIPWithServiceSelector"
    """It may share its address, which an advertisement by Services' labels might announce for one and not another."""
    NO_MATCHING_ADVERTISEMENT = "noMatchingAdvertisement"
    """No L2Advertisement is about this pool, this Service (and this node); no BGPAdvertisement is about all three."""
    CONFLICTING_ADVERTISEMENTS = "conflictingAdvertisements"
    """Two BGPAdvertisements would tell one peer two local preferences of one prefix."""
    NODE_NETWORK_UNAVAILABLE = "nodeNetworkUnavailable"
    NODE_LABELED_EXCLUDE_BALANCERS = "nodeLabeledExcludeBalancers"
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    """`externalTrafficPolicy: Local`, and nobody on the node serves."""
    NOT_OWNER = "notOwner"
    """Another node is the owner, or no node may be it; by BGP: no BGPAdvertisement of the pool is about this node."""
    SERVICE_DELETED = "serviceDeleted"

    # Not MetalLB's:
    NODE_CORDONED = "nodeCordoned"
    NODE_OUT_OF_SERVICE = "nodeOutOfService"
    NO_COMMON_NODE = "noCommonNode"
    """Services share the address, and this one could be reached by nodes that do not suit the others."""
    NO_PEER = "noPeer"
    """Of the peers that the BGPAdvertisements name, this node speaks with none that takes addresses of this family."""
