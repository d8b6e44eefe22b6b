"""Three nodes that announce by BGP, a router of each kind and a client, as tests find them: `Scene`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.config import BFDProfile
from lab.fabric import FRR_ASN, GOBGP_ASN, NODES_ASN, Fabric
from lab.ring import Ring
from lab.speaking import Speaking, peer
from speaker.bgp.wish import Attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab import Host, Lab
    from lab.routers import Route, Router
    from speaker.bgp.wish import Neighbour, Prefix

PREFIX, PREFIX_6 = "203.0.113.1/32", "2001:db8:7::1/128"
PLAIN = Attributes()
BFD_MS = 300
"""So slow that no busy machine misses a node that is there."""
BFD = BFDProfile(name="bfd", receive_interval_ms=BFD_MS, transmit_interval_ms=BFD_MS, detect_multiplier=3)
ASN = {"frr": FRR_ASN, "bird": NODES_ASN, "gobgp": GOBGP_ASN}


def to(names: Iterable[str], attributes: Attributes = PLAIN) -> dict[str, Attributes]:
    """The same for all of these peers."""
    return dict.fromkeys(names, attributes)


class Scene:
    """Nobody runs yet, but the ring's echo."""

    def __init__(self, lab: Lab, nodes: int = 3, *, addresses: Sequence[str] = ()) -> None:
        self.ring = Ring(lab, nodes, addresses=addresses)
        self.fabric = Fabric(self.ring)
        self.nodes = {host: Speaking(host) for host in self.ring.hosts}

    @property
    def first(self) -> Speaking:
        """The node that a test takes where it needs but one."""
        return self.nodes[self.ring.hosts[0]]

    def start(self, *hosts: Host) -> None:
        for host in hosts or self.ring.hosts:
            self.nodes[host].start()

    def want(
        self, neighbours: Mapping[str, Neighbour], routes: Mapping[Prefix, Mapping[str, Attributes]] | None = None
    ) -> None:
        """The same from all nodes."""
        for node in self.nodes.values():
            node.want(neighbours, routes)

    def address(self, node: Speaking) -> str:
        return self.fabric.node(node.host)

    def addresses(self) -> list[str]:
        return [self.fabric.node(host) for host in self.ring.hosts]

    def only(self, router: Router, prefix: str) -> Route:
        """The one way that the router has, once it has one."""
        (route,) = router.wait_route(prefix)
        return route


def frr(**fields: Any) -> Neighbour:
    """FRR, on the segment's IPv4."""
    return peer("frr", **dict[str, Any]({"address": "192.0.2.1", "asn": FRR_ASN} | fields))


def bird(**fields: Any) -> Neighbour:
    """BIRD, the same; it is in the nodes' network."""
    return peer("bird", **dict[str, Any]({"address": "192.0.2.2", "asn": NODES_ASN} | fields))


def gobgp(**fields: Any) -> Neighbour:
    """GoBGP, the same."""
    return peer("gobgp", **dict[str, Any]({"address": "192.0.2.3", "asn": GOBGP_ASN} | fields))
