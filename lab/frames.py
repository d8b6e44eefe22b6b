"""ARP (RFC 826) and neighbour discovery (RFC 4861 §4.3, 4.4) frames as values, for tests: read, written, compared.

Written from the RFCs alone and sharing nothing with the C code, so that each can be held against the other. Fields
carry the RFCs' names. `encode()` writes what it is told, wrong values too: a hop limit, a checksum or an option that no
one should accept is one argument away. For what no field can say, cut the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Self

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPES_VLAN = (0x8100, 0x88A8)
REQUEST, REPLY = 1, 2
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
SOURCE_LINK_LAYER_ADDRESS, TARGET_LINK_LAYER_ADDRESS, NONCE = 1, 2, 14
ALL_NODES = IPv6Address("ff02::1")
UNSPECIFIED = IPv6Address("::")


class Mac(bytes):
    """Six bytes that are shown as people write them; made from those or from bytes."""

    __slots__ = ()

    def __new__(cls, value: str | bytes) -> Self:
        """Raises ValueError unless it has six bytes."""
        raw = bytes.fromhex(value.replace(":", "")) if isinstance(value, str) else bytes(value)
        if len(raw) != 6:
            raise ValueError(f"expected a MAC of six bytes, not {value!r}")
        return super().__new__(cls, raw)

    def __str__(self) -> str:
        """As in 02:00:00:00:01:01."""
        return self.hex(":")

    __repr__ = __str__


BROADCAST = Mac(b"\xff" * 6)
NO_MAC = Mac(bytes(6))


def solicited_node(address: str | IPv6Address) -> IPv6Address:
    """The solicited-node multicast address (RFC 4291 §2.7.1)."""
    return IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(IPv6Address(address)) & 0xFFFFFF)


def multicast_mac(group: str | IPv6Address) -> Mac:
    """The Ethernet address of an IPv6 group (RFC 2464 §7)."""
    return Mac(b"\x33\x33" + IPv6Address(group).packed[12:])


def checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """The ICMPv6 checksum of the message, whose own checksum field counts as it stands (RFC 4443 §2.3)."""
    data = source.packed + destination.packed + struct.pack("!II", len(message), 58) + message
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ethernet(destination: Mac, source: Mac, tags: tuple[tuple[int, int], ...], ethertype: int) -> bytes:
    return destination + source + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", ethertype)


@dataclass(frozen=True, kw_only=True)
class Arp:
    """An ARP packet for IPv4 over Ethernet. `tags` are VLAN tags, outermost first: (ethertype, tci)."""

    destination: Mac = BROADCAST
    source: Mac
    operation: int = REQUEST
    sha: Mac
    spa: IPv4Address
    tha: Mac = NO_MAC
    tpa: IPv4Address
    tags: tuple[tuple[int, int], ...] = ()
    trailer: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def request(
        cls, mac: bytes, spa: str | IPv4Address, tpa: str | IPv4Address, *, destination: bytes = BROADCAST
    ) -> Self:
        """Who has `tpa`? Tell `spa`. A probe (RFC 5227 §1.1) has 0.0.0.0 as `spa`, an announcement both alike."""
        mac = Mac(mac)
        return cls(
            destination=Mac(destination), source=mac, sha=mac, spa=IPv4Address(spa), tpa=IPv4Address(tpa)
        )  # fmt: skip

    @classmethod
    def reply(
        cls, mac: bytes, spa: str | IPv4Address, tha: bytes, tpa: str | IPv4Address, *, destination: bytes | None = None
    ) -> Self:
        """`spa` is at `mac`: to `tha`, unless another Ethernet destination is given."""
        return cls(
            destination=Mac(tha if destination is None else destination), source=Mac(mac), operation=REPLY,
            sha=Mac(mac), spa=IPv4Address(spa), tha=Mac(tha), tpa=IPv4Address(tpa),
        )  # fmt: skip

    def encode(self) -> bytes:
        """The frame, padded to Ethernet's 60 bytes; a trailer of its own comes before the padding."""
        packet = struct.pack(
            "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, self.operation, self.sha, self.spa.packed, self.tha, self.tpa.packed
        )
        return (_ethernet(self.destination, self.source, self.tags, ETHERTYPE_ARP) + packet + self.trailer).ljust(
            60, b"\0"
        )


@dataclass(frozen=True, kw_only=True)
class _NeighbourDiscovery:
    """What solicitations and advertisements share; `options` are (type, content after type and length)."""

    destination: Mac
    source: Mac
    ip_source: IPv6Address
    ip_destination: IPv6Address
    target: IPv6Address
    options: tuple[tuple[int, bytes], ...] = ()
    hop_limit: int = 255
    code: int = 0
    checksum: int | None = None
    """None when writing means the right one, and when read that it was right."""
    tags: tuple[tuple[int, int], ...] = ()
    trailer: bytes = field(default=b"", repr=False, compare=False)

    def option(self, kind: int) -> bytes | None:
        """The content of the first option of this type."""
        return next((content for type_, content in self.options if type_ == kind), None)

    def _encode(self, message_type: int, reserved: int) -> bytes:
        options = b"".join(struct.pack("!BB", type_, (len(text) + 9) // 8) + text for type_, text in self.options)
        body = struct.pack("!I", reserved) + self.target.packed + options
        sum_ = self.checksum
        if sum_ is None:
            sum_ = checksum(self.ip_source, self.ip_destination, struct.pack("!BBH", message_type, self.code, 0) + body)
        message = struct.pack("!BBH", message_type, self.code, sum_) + body
        header = struct.pack(
            "!IHBB16s16s", 6 << 28, len(message), 58, self.hop_limit, self.ip_source.packed, self.ip_destination.packed
        )
        return _ethernet(self.destination, self.source, self.tags, ETHERTYPE_IPV6) + header + message + self.trailer


@dataclass(frozen=True, kw_only=True)
class Solicitation(_NeighbourDiscovery):
    """A neighbour solicitation (RFC 4861 §4.3)."""

    reserved: int = 0

    @classmethod
    def ask(
        cls,
        mac: bytes,
        source: str | IPv6Address,
        target: str | IPv6Address,
        *,
        to: bytes | None = None,
        slla: bytes | None = b"",
        nonce: bytes | None = None,
    ) -> Self:
        """A correct question: by multicast, or by unicast to the MAC `to`.

        The source link-layer option is `mac`, `slla`, or missing when `slla` is None or the source unspecified (DAD).
        """
        mac, source, target = Mac(mac), IPv6Address(source), IPv6Address(target)
        group = solicited_node(target)
        options: tuple[tuple[int, bytes], ...] = ()
        if slla is not None and source != UNSPECIFIED:
            options = ((SOURCE_LINK_LAYER_ADDRESS, slla or bytes(mac)),)
        if nonce is not None:
            options += ((NONCE, nonce),)
        return cls(
            destination=multicast_mac(group) if to is None else Mac(to), source=mac, ip_source=source,
            ip_destination=group if to is None else target, target=target, options=options,
        )  # fmt: skip

    @property
    def source_mac(self) -> bytes | None:
        """The source link-layer address option."""
        return self.option(SOURCE_LINK_LAYER_ADDRESS)

    @property
    def nonce(self) -> bytes | None:
        """The nonce option (RFC 3971 §5.3.2), as RFC 7527 uses it."""
        return self.option(NONCE)

    def encode(self) -> bytes:
        """The frame."""
        return self._encode(NEIGHBOUR_SOLICITATION, self.reserved)


@dataclass(frozen=True, kw_only=True)
class Advertisement(_NeighbourDiscovery):
    """A neighbour advertisement (RFC 4861 §4.4)."""

    router: bool = False
    solicited: bool = False
    override: bool = False

    @classmethod
    def tell(
        cls,
        mac: bytes,
        target: str | IPv6Address,
        *,
        to: bytes | None = None,
        ip_destination: str | IPv6Address = ALL_NODES,
        source: str | IPv6Address | None = None,
        router: bool = False,
        solicited: bool = False,
        override: bool = True,
    ) -> Self:
        """`target` is at `mac`: to all nodes, unless a MAC and an address are given."""
        ip_destination = IPv6Address(ip_destination)
        return cls(
            destination=multicast_mac(ip_destination) if to is None else Mac(to), source=Mac(mac),
            ip_source=IPv6Address(target if source is None else source), ip_destination=ip_destination,
            target=IPv6Address(target), options=((TARGET_LINK_LAYER_ADDRESS, bytes(Mac(mac))),),
            router=router, solicited=solicited, override=override,
        )  # fmt: skip

    @property
    def target_mac(self) -> bytes | None:
        """The target link-layer address option."""
        return self.option(TARGET_LINK_LAYER_ADDRESS)

    def encode(self) -> bytes:
        """The frame."""
        return self._encode(NEIGHBOUR_ADVERTISEMENT, self.router << 31 | self.solicited << 30 | self.override << 29)


Decoded = Arp | Solicitation | Advertisement


def decode(frame: bytes) -> Decoded | None:
    """Read a frame that is well-formed enough to have all its fields; None for anything else.

    Judges nothing beyond that: hop limit, code, flags and addresses are as they came, and a `checksum` that is not
    None was wrong.
    """
    if len(frame) < 14:
        return None
    destination, source = Mac(frame[:6]), Mac(frame[6:12])
    tags: list[tuple[int, int]] = []
    at = 12
    (ethertype,) = struct.unpack_from("!H", frame, at)
    while ethertype in ETHERTYPES_VLAN and len(frame) >= at + 6:
        tag = struct.unpack_from("!HHH", frame, at)
        tags.append((tag[0], tag[1]))
        ethertype = tag[2]
        at += 4
    packet = frame[at + 2 :]
    if ethertype == ETHERTYPE_ARP:
        arp = _decode_arp(destination, source, packet)
        return arp and replace(arp, tags=tuple(tags))
    if ethertype == ETHERTYPE_IPV6:
        discovery = _decode_discovery(destination, source, packet)
        return discovery and replace(discovery, tags=tuple(tags))
    return None


def _decode_arp(destination: Mac, source: Mac, packet: bytes) -> Arp | None:
    if len(packet) < 28:
        return None
    *kinds, operation, sha, spa, tha, tpa = struct.unpack_from("!HHBBH6s4s6s4s", packet)
    if kinds != [1, 0x0800, 6, 4]:
        return None
    return Arp(
        destination=destination, source=source, operation=operation, sha=Mac(sha), spa=IPv4Address(spa), tha=Mac(tha),
        tpa=IPv4Address(tpa), trailer=packet[28:],
    )  # fmt: skip


def _decode_discovery(destination: Mac, source: Mac, packet: bytes) -> Solicitation | Advertisement | None:
    if len(packet) < 40 + 24:
        return None
    head, length, next_header, hop_limit, ip_source, ip_destination = struct.unpack_from("!IHBB16s16s", packet)
    message = packet[40 : 40 + length]
    if head >> 28 != 6 or next_header != 58 or length < 24 or len(message) < length:
        return None
    type_, code, sum_, word, target = struct.unpack_from("!BBHI16s", message)
    options = []
    at = 24
    while at + 2 <= length:
        size = message[at + 1] * 8
        if size == 0 or at + size > length:
            return None
        options.append((message[at], message[at + 2 : at + size]))
        at += size
    shared = {
        "destination": destination, "source": source, "ip_source": IPv6Address(ip_source),
        "ip_destination": IPv6Address(ip_destination), "target": IPv6Address(target), "options": tuple(options),
        "hop_limit": hop_limit, "code": code, "trailer": packet[40 + length :],
        "checksum": None if checksum(IPv6Address(ip_source), IPv6Address(ip_destination), message) == 0 else sum_,
    }  # fmt: skip
    if type_ == NEIGHBOUR_SOLICITATION:
        return Solicitation(reserved=word, **shared)
    if type_ == NEIGHBOUR_ADVERTISEMENT:
        return Advertisement(
            router=bool(word >> 31),
            solicited=bool(word >> 30 & 1),
            override=bool(word >> 29 & 1),
            **shared,
        )
    return None
