"""The kernel's neighbour table as values: what a real peer believes, which is the best judge of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from lab.frames import Mac

if TYPE_CHECKING:
    from collections.abc import Iterable

NTF_PROXY = 0x08
NTF_ROUTER = 0x80


class State(IntFlag):
    """`NUD_…` of <linux/neighbour.h>."""

    NONE = 0
    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


@dataclass(frozen=True)
class Neighbour:
    """One entry: `mac` is None as long as the kernel has none, `router` what the last NA said (IPv6)."""

    index: int
    address: IPv4Address | IPv6Address
    mac: Mac | None
    state: State
    router: bool


def read(messages: Iterable[Any]) -> tuple[Neighbour, ...]:
    """From rtnetlink's RTM_NEWNEIGH, without the kernel's own NOARP entries (multicast, loopback) and proxies."""
    return tuple(
        Neighbour(
            index=message["ifindex"],
            address=ip_address(message.get_attr("NDA_DST")),
            mac=Mac(text) if (text := message.get_attr("NDA_LLADDR")) else None,
            state=State(message["state"]),
            router=bool(message["flags"] & NTF_ROUTER),
        )
        for message in messages
        if message["family"] in {2, 10}
        and not message["state"] & State.NOARP
        and not message["flags"] & NTF_PROXY
        and message.get_attr("NDA_DST")
    )
