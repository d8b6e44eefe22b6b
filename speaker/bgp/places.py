"""Where a peer is, as seen from here, and who we are to it: what has to be asked of this host.

The kernel says by which of our addresses it would speak to a peer; nothing is sent for that. The interface that has
this address gives the next hop for the other family, where both go over one session: GoBGP by itself would say
`::ffff:192.0.2.1`, which no router can use.
"""

from __future__ import annotations

import socket
from binascii import crc32
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import msgspec

from speaker.bgp import messages
from speaker.bgp.routes import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.interfaces import Interface, Snapshot
    from arpfast.spans import Address
    from cluster.config import Peer
    from speaker.bgp.unnumbered import Finder
    from speaker.bgp.wish import Neighbour

_AFI = {4: messages.IPV4, 6: messages.IPV6}


class Place(msgspec.Struct, frozen=True):
    """Where a peer is."""

    address: str
    """With a zone where it needs one."""
    target: Target


def locate(peer: Peer, snapshot: Snapshot, finder: Finder, now_s: float) -> Place | None:
    """Where it is; None as long as nobody knows."""
    found = peer.address or finder.find(peer.interface, now_s)
    if found is None:
        return None
    bare, percent, zone = found.partition("%")
    try:
        bare = str(ip_address(bare))
    except ValueError:  # nothing that is no address may reach the daemon
        return None
    target = Target(bare)
    if peer.dual_stack and peer.address:
        ours = local_address(bare, peer.source_address)
        companion = None if ours is None else _companion(ours, snapshot.values())
        if companion is None:  # nothing that a router could use as a next hop
            target = Target(bare, families=(_AFI[6 if ":" in bare else 4],))
        else:
            target = Target(bare, ((_AFI[companion.version], str(companion)),))
    return Place(bare + percent + zone, target)


def router_id(node: str, neighbours: Mapping[str, Neighbour], snapshot: Snapshot) -> str:
    """What identifies this node to all its peers: what they ask for; else our IPv4 address towards the first of them
    that has any, or of the interface towards it; else a checksum of the node's name. As MetalLB's native mode.
    """
    wanted = [neighbours[name].peer for name in sorted(neighbours)]
    for peer in wanted:
        if peer.router_id:
            return peer.router_id
    for peer in wanted:
        ours = local_address(peer.address, peer.source_address) if peer.address else None
        if ours is not None and ours.version == 6:
            ours = _companion(ours, snapshot.values())
        if ours is not None:
            return str(ours)
    return str(IPv4Address(crc32(node.encode()).to_bytes(4, "little")))


def local_address(address: str, source: str = "") -> Address | None:
    """Our own address towards another; None if there is no way."""
    if source:
        return ip_address(source)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 179))
            return ip_address(probe.getsockname()[0])
    except OSError:
        return None


def _companion(ours: Address, interfaces: Iterable[Interface]) -> Address | None:
    """The first address of the other family on the interface that has this one; none that is good on one link only."""
    for interface in interfaces:
        there = [each.ip for each in interface.addresses]
        if ours in there:
            return next((each for each in there if each.version != ours.version and not each.is_link_local), None)
    return None
