"""Routers around a ring: FRR is where its router was, BIRD and GoBGP stand beside it on the switch.

        client ---- frr ---- switch ---- a, b, c …
                192.0.2.1     |    |     192.0.2.11, 12, 13 …
                           bird    gobgp
                      192.0.2.2    192.0.2.3

FRR and GoBGP are in networks of their own (eBGP), BIRD is in the nodes' (iBGP). What FRR learns is in its kernel, and
so the client, which is behind it, is sent over all nodes that announce an address: by addresses *and* ports of each
connection (`fib_multipath_hash_policy` 1), for else everything between the two would take one way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.routers import Bird, Frr, Gobgp, Peering

if TYPE_CHECKING:
    from lab.host import Host
    from lab.ring import Ring
    from lab.routers import Router
    from lab.routers.router import Family

NODES_ASN, FRR_ASN, GOBGP_ASN = 64500, 64601, 64603
_BY_CONNECTION = {"net.ipv4.fib_multipath_hash_policy": 1, "net.ipv6.fib_multipath_hash_policy": 1}


class Fabric:
    """The routers; a test starts those that it needs: `fabric.frr.start(fabric.nodes(bfd_ms=100))`."""

    def __init__(self, ring: Ring) -> None:
        """Make the hosts of BIRD and GoBGP; FRR has one."""
        self.ring = ring
        ring.router.set(_BY_CONNECTION)
        self.frr = Frr(ring.router, FRR_ASN, ())
        self.bird = Bird(self._join("bird", 2), NODES_ASN, ())
        self.gobgp = Gobgp(self._join("gobgp", 3), GOBGP_ASN, ())
        self.all: tuple[Router, ...] = (self.frr, self.bird, self.gobgp)

    def _join(self, name: str, last: int) -> Host:
        host = self.ring.lab.host(name)
        host.link(self.ring.switch, addresses=[f"192.0.2.{last}/24", f"2001:db8::{last}/64"])
        return host

    def address(self, router: Router, family: Family = "ipv4") -> str:
        """Where nodes find the router."""
        last = self.all.index(router) + 1
        return f"192.0.2.{last}" if family == "ipv4" else f"2001:db8::{last}"

    def node(self, host: Host, family: Family = "ipv4") -> str:
        """Where routers find a node."""
        last = 11 + self.ring.hosts.index(host)
        return f"192.0.2.{last}" if family == "ipv4" else f"2001:db8::{last}"

    def nodes(self, family: Family = "ipv4", **options: Any) -> list[Peering]:
        """What a router is told of the nodes: a peer each, at its address of this family."""
        return [Peering(address=self.node(host, family), asn=NODES_ASN, **options) for host in self.ring.hosts]
