"""The `ring` of the settings file: the same file can lie on every member, for each finds itself by its own address."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, field

from arpfast.seconds import Seconds

if TYPE_CHECKING:
    from arpfast.spans import Address

PORT = 7946
"""Memberlist's."""

Profile = Literal["default", "fast"]
Election = Literal["balanced", "metallb"]
KeyRule = Literal["sha256", "metallb"]


class RingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who else there is, and how they agree."""

    members: Annotated[
        tuple[
            Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]{2,45}$", extra={"what": "the address of a member"})],
            ...,
        ],
        Meta(
            min_length=1,
            description="The address of every member, this one among them: it is how they find each other. "
            "What is answered must not be among them.",
            extra={"what": "a list of the members' addresses"},
        ),
    ]
    port: Annotated[int, Meta(ge=1, le=65535, description="UDP and TCP port of the gossip, on every member.")] = PORT
    profile: Annotated[
        Profile,
        Meta(
            description="How soon a silent owner is succeeded: when the ring suspects it and the wire agrees "
            "(default), or as soon as its heir, who watches it all the time, sees it silent on the wire (fast)."
        ),
    ] = "default"
    election: Annotated[
        Election,
        Meta(
            description="Who owns what: evenly, with as few moves as possible (balanced), or by MetalLB's order, "
            "so that its speakers may be members."
        ),
    ] = "balanced"
    quorum: Annotated[bool, Meta(description="Answer only while more than half of the members are there.")] = False
    weight: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="This member's share, compared with the weights of the others; 0: only what no other may have.",
        ),
    ] = 100
    hold_down_s: Annotated[
        Seconds,
        Meta(
            description="How long a member that comes (back) takes nothing from others.",
            extra={"least_s": 0.1, "most_s": 86_400},
        ),
    ] = field(default=Seconds(10), name="hold_down")
    key_files: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^/[^\0]+$", extra={"what": "an absolute path"})], ...],
        Meta(
            description="Files that hold a secret each: the first one encrypts, any of them decrypts. "
            "Without any, the gossip is neither encrypted nor authenticated."
        ),
    ] = ()
    key_rule: Annotated[
        KeyRule, Meta(description="How a secret becomes a key: its SHA-256, or as MetalLB makes one of its secret.")
    ] = "sha256"
    label: Annotated[
        str, Meta(pattern=r"^[!-~]{1,255}$", description="Keeps rings apart that share a network.",
                  extra={"what": "up to 255 visible ASCII characters"})
    ] | None = None  # fmt: skip

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        addresses = [_parsed(member) for member in self.members]
        if len(set(addresses)) < len(addresses):
            raise ValueError("expected each member once")
        if len({address.version for address in addresses}) > 1:
            raise ValueError("expected the addresses of all members in one family")

    @property
    def addresses(self) -> frozenset[Address]:
        """Those of all members."""
        return frozenset(map(ip_address, self.members))


def _parsed(member: str) -> Address:
    try:
        address = ip_address(member)
    except ValueError:
        raise ValueError(f"expected the address of a member, not {member!r}") from None
    if address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local):
        raise ValueError(f"expected an address by which the others reach a member, not {member!r}")
    return address


def own_address(members: tuple[str, ...]) -> str:
    """Which of the members' addresses is one of this host's. Raises OSError, saying so, if none or several are."""
    found = [member for member in members if _is_ours(member)]
    if len(found) == 1:
        return found[0]
    many = f"{', '.join(found)} all are" if found else "none of them is"
    raise OSError(errno.EADDRNOTAVAIL, f"expected one of ring.members to be an address of this host, but {many}")


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True
