"""Finds the router at the other end of an interface, and lets it find us: for peers that have no address (unnumbered).

Its link-local address is the kernel's to know: it keeps it as a neighbour once it has heard of it. So that it does we
ask all routers on the link to advertise themselves (RFC 4861 section 6.3.7), and all nodes for an echo, which makes
those that answer ask for our hardware address. Routers that look for their peers in the same way (FRR) want to hear an
advertisement: they get one that says we are no way to anywhere (a router lifetime of 0, section 6.2.3). All of it
needs CAP_NET_RAW.

A link with several that could be meant is one with none: a router among other nodes is chosen, a node among other
nodes is not. Who was found is kept as long as the kernel knows it.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from arpfast.rtnetlink import NLMSG_DONE, NLMSG_ERROR, header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
ASK_EVERY_S, ADVERTISE_EVERY_S = 1.0, 10.0
_ECHO_REQUEST, _SOLICITATION, _ADVERTISEMENT = 128, 133, 134
_SOL_NETLINK, _GET_STRICT_CHECK = 270, 12
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_DUMP = 0x301
_NDA_DST, _NDA_IFINDEX = 1, 8
_INCOMPLETE, _FAILED, _NOARP = 0x01, 0x20, 0x40
_ROUTER = 0x80
_NEIGHBOUR = struct.Struct("=B3xiHBB")  # struct ndmsg: family, ifindex, state, flags, type
_DATAGRAM = 1 << 16


class Neighbour(NamedTuple):
    """One that the kernel knows on an interface."""

    address: IPv6Address
    router: bool


class Finder:
    """Finds routers by interface. Not thread-safe, never blocks."""

    def __init__(self) -> None:
        """Nobody is known."""
        self._found: dict[str, IPv6Address] = {}
        self._asked: dict[str, float] = {}
        self._advertised: dict[str, float] = {}

    def find(self, interface: str, now_s: float) -> str | None:
        """The address, with its zone, of the router there; None as long as nobody knows it, and then it was asked for.

        To be called every second or so.
        """
        try:
            index = socket.if_nametoindex(interface)
            known = list(known_neighbours(index))
        except OSError:
            return None
        chosen = choose(known, self._found.get(interface))
        try:
            if chosen is None and now_s - self._asked.get(interface, -ASK_EVERY_S) >= ASK_EVERY_S:
                self._asked[interface] = now_s
                _send(index, ALL_ROUTERS, bytes((_SOLICITATION, 0, 0, 0, 0, 0, 0, 0)))
                _send(index, ALL_NODES, bytes((_ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0)))
            if now_s - self._advertised.get(interface, -ADVERTISE_EVERY_S) >= ADVERTISE_EVERY_S:
                self._advertised[interface] = now_s
                _send(index, ALL_NODES, advertisement())
        except OSError:
            pass  # an interface that is down, or without an address yet
        if chosen is None:
            self._found.pop(interface, None)
            return None
        self._found[interface] = chosen
        return f"{chosen}%{interface}"


def choose(known: Iterable[Neighbour], before: IPv6Address | None) -> IPv6Address | None:
    """The one that must be meant, if there is one."""
    there = sorted(set(known))
    if before is not None and any(each.address == before for each in there):
        return before
    routers = [each.address for each in there if each.router]
    for candidates in (routers, [each.address for each in there]):
        if len(candidates) == 1:
            return candidates[0]
    return None


def advertisement() -> bytes:
    """A router advertisement of one that is no default router; the kernel adds the checksum."""
    return struct.pack(">BBHBBHII", _ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)


def known_neighbours(index: int) -> Iterator[Neighbour]:
    """Who the kernel knows on the interface by a link-local address. Raises OSError."""
    body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0) + struct.pack("=HHI", 8, _NDA_IFINDEX, index)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(1.0)
        asking.setsockopt(_SOL_NETLINK, _GET_STRICT_CHECK, 1)  # or else nothing is a filter
        asking.send(header.pack(header.size + len(body), _RTM_GETNEIGH, _DUMP, 1, 0) + body)
        while True:
            datagram = asking.recv(_DATAGRAM)
            at = 0
            while at + header.size <= len(datagram):
                length, kind, *_ = header.unpack_from(datagram, at)
                if length < header.size or kind in (NLMSG_DONE, NLMSG_ERROR):
                    return
                if kind == _RTM_NEWNEIGH and (found := decode(datagram[at + header.size : at + length], index)):
                    yield found
                at += length + 3 & ~3


def decode(body: bytes, index: int) -> Neighbour | None:
    """A neighbour on this interface, if it can be spoken with by a link-local address."""
    if len(body) < _NEIGHBOUR.size:
        return None
    family, there, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    if family != socket.AF_INET6 or there != index or state & (_INCOMPLETE | _FAILED | _NOARP):
        return None
    at = _NEIGHBOUR.size
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4 or at + length > len(body):
            return None
        if kind == _NDA_DST and length == 20 and (address := IPv6Address(body[at + 4 : at + 20])).is_link_local:
            return Neighbour(address, bool(flags & _ROUTER))
        at += length + 3 & ~3
    return None


def _send(index: int, group: str, message: bytes) -> None:
    """Raises OSError."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as raw:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        raw.sendto(message, (group, 0, 0, index))
