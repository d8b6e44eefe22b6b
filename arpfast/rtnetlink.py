"""rtnetlink on the wire: requests out, the few facts that we use in. Pure: bytes and values, no socket.

pyroute2 decodes all of rtnetlink, and costs 13 MiB and 0.1 s to import, a third of what the whole daemon may hold,
since its package loads every protocol that it knows. Its message classes alone can only be had by planting a false
parent package, and take 0.2 ms a link where this takes 0.02. So here is what a responder must know, and nothing else:
links, addresses, *default* routes and the forwarding state, as laid out in <linux/rtnetlink.h>, <linux/if_link.h>,
<linux/if_addr.h> and <linux/netconf.h>. The laboratory, which must build networks, uses pyroute2.

The kernel is trusted to mean what it says, not to be well-formed: a message or attribute that does not fit in what was
received ends the decoding of that datagram.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arpfast.spans import Address, Version

header = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNETCONF, RTM_DELNETCONF, RTM_GETNETCONF = 80, 81, 82

GROUPS = sum(1 << group - 1 for group in (1, 5, 7, 9, 11, 25))
"""Multicast groups to bind to: links, addresses and routes of both families, IPv6 forwarding."""


def _as_loaded(kind: int) -> int:
    """A classic filter loads nlmsg_type big-endian, whatever the host is."""
    return int.from_bytes(struct.pack("=H", kind), "big")


DEFAULT_ROUTES_ONLY = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, 4),  # ldh [nlmsg_type]
        (0x15, 1, 0, _as_loaded(RTM_NEWROUTE)),
        (0x15, 0, 2, _as_loaded(RTM_DELROUTE)),
        (0x30, 0, 0, 17),  # ldb [rtm_dst_len]
        (0x15, 0, 1, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
        (0x06, 0, 0, 0),
    )
)
"""A classic socket filter (struct sock_filter[]) for events: keeps out the routes that `decode` would pass over."""

_REQUEST_DUMP = 0x301
_REQUEST_NEW, _REQUEST_DELETE = 0x605, 0x005  # with an answer; a new one must not exist
_DUMP_INTERRUPTED = 0x10
_AF_INET, _AF_INET6 = 2, 10
_ATTRIBUTE_TYPE = 0x3FFF
_RTN_UNICAST = 1
_RT_SCOPE_HOST = 254
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_FOREVER = 0xFFFFFFFF


class Link(NamedTuple):
    """RTM_NEWLINK or, if `gone`, RTM_DELLINK."""

    gone: bool
    ifindex: int
    kind: int
    """ARPHRD_…"""
    flags: int
    """IFF_…"""
    name: str = ""
    mac: bytes = b""
    mtu: int = 0
    master: int = 0
    slave_kind: str = ""
    """What the master makes of it: `bridge`, `bond`, `vrf`, …"""


class LinkAddress(NamedTuple):
    """RTM_NEWADDR or, if `gone`, RTM_DELADDR."""

    gone: bool
    ifindex: int
    address: IPv4Interface | IPv6Interface
    flags: int
    """IFA_F_…"""
    metric: int = 0
    """IFA_RT_PRIORITY; 0: none was given."""


class DefaultRoute(NamedTuple):
    """RTM_NEWROUTE or, if `gone`, RTM_DELROUTE, of a default route: its next hops as (ifindex, router)."""

    gone: bool
    hops: tuple[tuple[int, Address], ...]


class Forwarding(NamedTuple):
    """RTM_NEWNETCONF of IPv6: IPv6 runs on the interface, and whether it forwards; if `gone`, runs no more."""

    gone: bool
    ifindex: int
    forwards: bool


class Done(NamedTuple):
    """The end of an answer: `error` is an errno, 0 if all went well, EINTR if the state changed under the dump."""

    error: int


class NewAddress(NamedTuple):
    """What to add with RTM_NEWADDR, or take away with RTM_DELADDR: a single address that no subnet comes with."""

    ifindex: int
    version: Version
    value: int
    metric: int


Message = Link | LinkAddress | DefaultRoute | Forwarding | Done


def dump_request(what: int, sequence: int) -> bytes:
    """A request for all links, addresses, routes or forwarding states (`what`: RTM_GET…)."""
    family = _AF_INET6 if what == RTM_GETNETCONF else 0
    return header.pack(32, what, _REQUEST_DUMP, sequence, 0) + struct.pack("=B15x", family)


def address_request(what: int, address: NewAddress, sequence: int) -> bytes:
    """A request to add or remove an address (`what`: RTM_NEWADDR or RTM_DELADDR); it is answered by one `Done`.

    IPv4 gets the scope host, IPv6 is deprecated from the start: neither is chosen as the source of what somebody on
    this host begins. Nor does IPv6 probe for it (no DAD) or make a route of it.
    """
    bits = 32 if address.version == 4 else 128
    packed = address.value.to_bytes(bits // 8, "big")
    body = _attribute(2, packed) + _attribute(1, packed)
    if what == RTM_NEWADDR:
        body += _attribute(9, struct.pack("=I", address.metric))
        if address.version == 6:
            body += _attribute(8, struct.pack("=I", _IFA_F_NODAD | _IFA_F_NOPREFIXROUTE))
            body += _attribute(6, struct.pack("=IIII", 0, _FOREVER, 0, 0))  # preferred: no longer; valid: for ever
    family, scope = (_AF_INET, _RT_SCOPE_HOST) if address.version == 4 else (_AF_INET6, 0)
    body = struct.pack("=BBBBI", family, bits, 0, scope, address.ifindex) + body
    flags = _REQUEST_NEW if what == RTM_NEWADDR else _REQUEST_DELETE
    return header.pack(header.size + len(body), what, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value  # all of ours are multiples of 4 long


def decode(datagram: bytes, *, sequence: int | None = None) -> Iterator[Message]:
    """What a datagram from the kernel says; with `sequence`, only its answers to that request.

    Messages about other things (bridge ports as seen by the bridge, wireless events in link's clothing, cloned and
    more specific routes, IPv4 forwarding) are passed over.
    """
    at = 0
    while at + 16 <= len(datagram):
        length, kind, flags, number, _ = header.unpack_from(datagram, at)
        if length < 16 or at + length > len(datagram):
            return
        if sequence is None or number == sequence:
            if sequence is not None and flags & _DUMP_INTERRUPTED:
                yield Done(errno.EINTR)
                return
            try:
                message = _decode_one(kind, datagram[at + 16 : at + length])
            except (struct.error, ValueError, IndexError):
                return
            if message is not None:
                yield message
        at += length + 3 & ~3


def _decode_one(kind: int, body: bytes) -> Message | None:
    if kind in {RTM_NEWLINK, RTM_DELLINK}:
        return _link(body, gone=kind == RTM_DELLINK)
    if kind in {RTM_NEWADDR, RTM_DELADDR}:
        return _address(body, gone=kind == RTM_DELADDR)
    if kind in {RTM_NEWROUTE, RTM_DELROUTE}:
        return _route(body, gone=kind == RTM_DELROUTE) if body[1] == 0 else None
    if kind in {RTM_NEWNETCONF, RTM_DELNETCONF}:
        return _forwarding(body, gone=kind == RTM_DELNETCONF)
    if kind in {NLMSG_DONE, NLMSG_ERROR}:
        (error,) = struct.unpack_from("=i", body) if len(body) >= 4 else (0,)
        return Done(-error)
    return None


def _attributes(body: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4 or at + length > len(body):
            break
        found[kind & _ATTRIBUTE_TYPE] = body[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else 0


def _link(body: bytes, *, gone: bool) -> Link | None:
    family, kind, index, flags = struct.unpack_from("=BxHiI", body)
    if family != 0:
        return None  # AF_BRIDGE: a port left its bridge, which must not read as an interface that vanished
    found = _attributes(body, 16)
    if 11 in found:
        return None  # IFLA_WIRELESS: an event of a radio, with nearly all attributes missing
    slave_kind = ""
    if 18 in found:  # IFLA_LINKINFO: IFLA_INFO_SLAVE_KIND
        slave_kind = _text(_attributes(found[18], 0).get(4, b""))
    return Link(
        gone,
        index,
        kind,
        flags,
        name=_text(found.get(3, b"")),
        mac=found.get(1, b""),
        mtu=_number(found.get(4)),
        master=_number(found.get(10)),
        slave_kind=slave_kind,
    )


def _address(body: bytes, *, gone: bool) -> LinkAddress | None:
    family, prefix, flags, _, index = struct.unpack_from("=BBBBI", body)
    found = _attributes(body, 8)
    value = found.get(2, found.get(1, b""))  # IFA_LOCAL: on a point-to-point link IFA_ADDRESS is the peer's
    flags |= _number(found.get(8))
    metric = _number(found.get(9))
    if family == _AF_INET and len(value) == 4:
        return LinkAddress(gone, index, IPv4Interface((value, prefix)), flags, metric)
    if family == _AF_INET6 and len(value) == 16:
        return LinkAddress(gone, index, IPv6Interface((value, prefix)), flags, metric)
    return None


def _router(found: dict[int, bytes]) -> Address | None:
    value = found.get(5)  # RTA_GATEWAY
    if value is None and 18 in found:  # RTA_VIA: a router of the other family, after two bytes of which
        value = found[18][2:]
    if value is None:
        return None
    if len(value) == 4:
        return IPv4Address(value)
    return IPv6Address(value) if len(value) == 16 else None


def _route(body: bytes, *, gone: bool) -> DefaultRoute | None:
    family, _, _, _, _, _, _, kind, _ = struct.unpack_from("=8BI", body)
    if family not in {_AF_INET, _AF_INET6} or kind != _RTN_UNICAST:
        return None
    found = _attributes(body, 12)
    hops: list[tuple[int, Address]] = []
    router = _router(found)
    if router is not None and 4 in found:
        hops.append((_number(found[4]), router))
    paths, at = found.get(9, b""), 0  # RTA_MULTIPATH: struct rtnexthop, each with attributes of its own
    while at + 8 <= len(paths):
        length, _, _, index = struct.unpack_from("=HBBi", paths, at)
        if length < 8:
            break
        router = _router(_attributes(paths[at : at + length], 8))
        if router is not None:
            hops.append((index, router))
        at += length + 3 & ~3
    return DefaultRoute(gone, tuple(hops))


def _forwarding(body: bytes, *, gone: bool) -> Forwarding | None:
    if body[0] != _AF_INET6:
        return None
    found = _attributes(body, 4)
    index = _number(found.get(1))
    if index == 0 or index > 0x7FFFFFFF:
        return None  # "all" and "default": what concerns an interface is said of it, too
    if not gone and 2 not in found:
        return None
    return Forwarding(gone, index, _number(found.get(2)) != 0)
