"""The configured members beside those that are known: who is not heard, and why; and who was never configured. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from arpfast.gossip.joining import Missing
    from arpfast.gossip.members import Member
    from arpfast.spans import Address


class Absent(msgspec.Struct, frozen=True):
    """Who is not heard."""

    unheard: tuple[Missing, ...] = ()
    """Of whom nothing is known but that they could not be joined."""
    refusals: Mapping[str, str] = {}
    """Why we do not understand any more members that were known once, by their names: they have another key by now."""


def absent(missing: Iterable[Missing], known: Iterable[Member], others: Mapping[str, str]) -> Absent:
    """Who is. `others` are the addresses of the other configured members, by how the gossip writes them."""
    names = {member.address: member.name for member in known}
    there = [(one, names.get(others.get(one.target, ""))) for one in missing]
    return Absent(
        tuple(one for one, name in there if name is None),
        {name: one.why for one, name in there if name is not None and one.refused},
    )


def strangers(known: Iterable[Member], named: Collection[Address]) -> frozenset[str]:
    """Members that the settings do not name (any more), ourselves perhaps: another member had them join."""
    return frozenset(member.name for member in known if ip_address(member.address) not in named)
