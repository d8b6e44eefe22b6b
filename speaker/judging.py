"""What one Service asks for by itself: its addresses, the nodes that suit it and how well, or why none does. Pure.

The tests come in MetalLB's order, and the first that fails gives the reason.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import Span
from cluster.resources import ALLOW_SHARED_IP
from speaker.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cluster.config import Config, L2Advertisement, Pool
    from cluster.resources import Service
    from cluster.world import Serving
    from speaker.nodes import Standing


class Judgement(msgspec.Struct, frozen=True):
    """What one Service asks for."""

    addresses: tuple[Span, ...] = ()
    """As its status has them; the first is the key of the election. None if they are no good."""
    reason: Reason | None = None
    """Why nobody answers for it."""
    advertisements: tuple[L2Advertisement, ...] = ()
    """Those that are about it."""
    nodes: frozenset[str] | None = None
    """Those that serve it, if only they will do; None: any will."""


_REFUSED = {reason: Judgement(reason=reason) for reason in Reason}
"""Once in memory: most Services of a cluster are of another type."""
NOTHING_ASKED = _REFUSED[Reason.SERVICE_DELETED]


def judge(service: Service, serving: Serving, config: Config) -> Judgement:
    """What this Service asks for, by the configuration."""
    found = addressed(service, config)
    if isinstance(found, Reason):
        return _REFUSED[found]
    addresses, pool = found
    if not serving.anywhere:
        return Judgement(addresses, Reason.NO_ENDPOINTS)
    labels = service.metadata.labels
    matching = tuple(each for each in config.l2_advertisements if pool.name in each.pools and each.covers(labels))
    if service.annotation(ALLOW_SHARED_IP) is not None and any(each.service_selectors for each in matching):
        return Judgement(addresses, Reason.SHARED_IP_WITH_SERVICE_SELECTOR)
    if not matching:
        return Judgement(addresses, Reason.NO_MATCHING_ADVERTISEMENT)
    local = service.spec.external_traffic_policy == "Local"
    return Judgement(addresses, None, matching, serving.nodes if local else None)


def addressed(service: Service, config: Config) -> tuple[tuple[Span, ...], Pool] | Reason:
    """The addresses of a Service, as its status has them, and the pool that all of them are of; or why there are none
    that this could be said of.
    """
    if service.spec.type != "LoadBalancer":
        return Reason.NOT_LOAD_BALANCER
    texts = [ingress.ip for ingress in service.status.load_balancer.ingress]
    if not texts:
        return Reason.NO_IP_ALLOCATED
    try:
        addresses = tuple(dict.fromkeys(map(parse, texts)))
    except ValueError:
        return Reason.INVALID_IP
    pools = [config.pool_of(address) for address in addresses]
    pool = pools[0]
    if pool is None or any(other is not pool for other in pools):
        return Reason.IP_NOT_ALLOWED
    return addresses, pool


def score(judgement: Judgement, standings: Mapping[str, Standing]) -> dict[str, int]:
    """The nodes that suit, with the sum of the weights by which they are preferred."""
    covered = frozenset[str]().union(*(each.nodes for each in judgement.advertisements))
    if judgement.nodes is not None:
        covered &= judgement.nodes
    return {
        node: sum(each.preferences.get(node, 0) for each in judgement.advertisements if node in each.nodes)
        for node in covered
        if node not in standings or not standings[node].barred
    }


def refusals(judgement: Judgement, node: str, standing: Standing) -> tuple[Reason, ...]:
    """Everything for which this node does not suit; nothing if it does."""
    if judgement.reason is not None:
        return (judgement.reason,)
    covered = any(node in each.nodes for each in judgement.advertisements)
    served = judgement.nodes is None or node in judgement.nodes
    return (
        *(() if covered else (Reason.NO_MATCHING_ADVERTISEMENT,)),
        *standing.barred,
        *(() if served else (Reason.NO_LOCAL_ENDPOINTS,)),
    )


def interfaces(advertisements: Collection[L2Advertisement], node: str) -> frozenset[str] | None:
    """The names of those to answer on at this node; None: all that are used."""
    there = [each.interfaces for each in advertisements if node in each.nodes]
    return None if not all(there) else frozenset[str]().union(*there)


def parse(text: str) -> Span:
    """An address as a status has it. Raises ValueError. One of IPv4 that is mapped into IPv6 is of IPv4, as in Go."""
    if "%" in text:
        raise ValueError(f"expected an address without a zone, not {text!r}")
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return Span.of(mapped or address)
