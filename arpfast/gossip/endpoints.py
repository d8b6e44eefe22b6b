"""Addresses: as a person writes them, as sockets take them, and which of our own the others should use."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.gossip.members import Endpoint

RESOLVE_S = 5.0
_SOMEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


class Target(NamedTuple):
    """Where a member may be reached."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_target(text: str, default_port: int) -> Target:
    """`host`, `host:port`, an address of either family, `[address]:port`. Raises ValueError."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, closed, rest = host[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"expected [address]:port, not {text!r}")
        port = rest[1:] if rest else ""
        if rest == ":":
            raise ValueError(f"expected a port after the colon, not {text!r}")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        if not port:
            raise ValueError(f"expected a port after the colon, not {text!r}")
    if not host or any(space in host for space in " \t/"):
        raise ValueError(f"expected a host or an address, not {text!r}")
    if (":" in host or text.lstrip().startswith("[")) and not _is_ipv6(host):
        raise ValueError(f"expected an IPv6 address or one port, not {text!r}")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"expected a port of 1 to 65535, not {port!r} in {text!r}")
    return Target(host, int(port) if port else default_port)


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def family_of(address: str) -> socket.AddressFamily:
    """Of a numeric address. Raises ValueError for anything else."""
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


async def resolve(target: Target, family: socket.AddressFamily) -> list[Endpoint]:
    """Where the target is, in one family. Raises OSError, TimeoutError; an address needs no waiting."""
    try:
        numeric = ip_address(target.host)
    except ValueError:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(target.host, target.port, family=family, type=socket.SOCK_STREAM)
        return list(dict.fromkeys((str(where[0]), int(where[1])) for *_, where in found))
    if numeric.version != (4 if family == socket.AF_INET else 6):
        raise OSError(f"expected an address of the ring's family, not {numeric}")
    return [(str(numeric), target.port)]


def is_local(address: str) -> bool:
    """Whether this host has the address, by what the kernel lets us bind."""
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def source_towards(endpoints: Iterable[Endpoint], family: socket.AddressFamily) -> str:
    """Our address on the way to the first of these that there is a way to, else towards anywhere. Raises OSError.

    Nothing is sent: connecting a datagram socket is a look into the routing table.
    """
    for endpoint in (*endpoints, (_SOMEWHERE[family], 9)):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(endpoint)
            except OSError:
                continue
            found: str = probe.getsockname()[0]
            if not ip_address(found).is_unspecified:
                return found
    raise OSError("expected an address to advertise, since this host has no route to any member; set it")
