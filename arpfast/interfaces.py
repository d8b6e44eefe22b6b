"""The interfaces of this host as values, and which of them are used. Pure; `following` makes them."""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import Address, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from ipaddress import IPv4Interface, IPv6Address, IPv6Interface

    Snapshot = Mapping[int, "Interface"]


class Refusal(StrEnum):
    """Why an interface is not used."""

    NOT_NAMED = "not among the interfaces to use"
    LOOPBACK = "a loopback"
    NOT_ETHERNET = "not Ethernet-like"
    NO_MAC = "without a unicast hardware address"
    ENSLAVED = "a port of another interface, which is the one to use"
    NO_ARP = "set not to use ARP"
    DOWN = "down"


class Interface(msgspec.Struct, frozen=True):
    """One interface as the kernel has it."""

    index: int
    name: str
    mac: bytes = b""
    """6 bytes on anything Ethernet-like."""
    up: bool = False
    """Switched on by the administrator."""
    carrier: bool = False
    """Frames can pass: link present, authenticated, not dormant."""
    master: int = 0
    """ifindex of the bridge, bond, team or VRF that it belongs to, or 0."""
    enslaved: bool = False
    """Its frames are its master's, as on a port of a bridge or bond; membership of a VRF is no such thing."""
    ethernet: bool = True
    loopback: bool = False
    arp: bool = True
    """Not IFF_NOARP."""
    mtu: int = 1500
    ipv6: bool = False
    """IPv6 runs on it."""
    ipv6_ended: int = 0
    """How often IPv6 has ended on it (or may have), and with it every multicast membership there."""
    router6: bool = False
    """Forwards IPv6: a router in the sense of the R flag (RFC 4861 §4.4)."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    """The kernel's own, tentative ones included, those which failed DAD not; in order."""
    gateways: tuple[Address, ...] = ()
    """Next hops of default routes through it, of both families; in order."""
    link_local: IPv6Address | None = None
    """The address that an NA for someone else's sake is sent from; none while it is tentative."""


class Choice(msgspec.Struct, frozen=True):
    """Which interfaces to use: name globs (`eth*`), addresses or prefixes that an interface has (`192.0.2.0/24`), and
    either with `!` before it to leave those out. Without a positive pattern: all that can be used at all.
    """

    patterns: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    """Regular expressions, as MetalLB has them: a name in which one of them is found is not used."""

    def refusal(self, interface: Interface) -> Refusal | None:
        """Why `interface` is not used, or None if it is. What is plainly unusable stays so, however it is named."""
        wanted = [pattern for pattern in self.patterns if not pattern.startswith("!")]
        unwanted = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        if (
            any(_matches(pattern, interface) for pattern in unwanted)
            or (wanted and not any(_matches(pattern, interface) for pattern in wanted))
            or any(re.search(pattern, interface.name) for pattern in self.unless)
        ):
            return Refusal.NOT_NAMED
        if interface.loopback:
            return Refusal.LOOPBACK
        if not interface.ethernet:
            return Refusal.NOT_ETHERNET
        if len(interface.mac) != 6 or interface.mac[0] & 1 or not any(interface.mac):
            return Refusal.NO_MAC
        if interface.enslaved:
            return Refusal.ENSLAVED
        if not interface.arp:
            return Refusal.NO_ARP
        return None if interface.up else Refusal.DOWN

    def unmatched(self, interfaces: Collection[Interface]) -> tuple[str, ...]:
        """The patterns that are meant to choose something, and that none of these is matched by."""
        wanted = (pattern for pattern in self.patterns if not pattern.startswith("!"))
        return tuple(one for one in wanted if not any(_matches(one, interface) for interface in interfaces))


def _matches(pattern: str, interface: Interface) -> bool:
    if ":" in pattern or pattern[:1].isdigit():
        try:
            span = Span.parse(pattern)
        except ValueError:
            pass  # `0eth` and `eth0:1` are names
        else:
            return any(address.ip in span for address in interface.addresses)
    return fnmatchcase(interface.name, pattern)


def kernel_addresses(interfaces: Iterable[Interface]) -> Spans:
    """All addresses that the kernel itself owns and answers for."""
    return Spans(Span.of(address.ip) for interface in interfaces for address in interface.addresses)


def networks(interfaces: Iterable[Interface]) -> Spans:
    """The prefixes that these interfaces have, but for those that every link has."""
    return Spans(
        Span(network.version, int(network[0]), int(network[-1]))
        for interface in interfaces
        for network in (address.network for address in interface.addresses)
        if not network.is_link_local
    )
