"""How a member is reached: by which of our interfaces, at which of its hardware addresses, and for what of its. Pure.

An address is at home on the network whose prefix covers it: hosts there ask for it there, and nowhere else. So a
member that has fallen silent on one network has lost what is at home there, and nothing else, however well it is heard
on another; and what is at home on no network that we share with it, it has lost once it is silent on all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from arpfast.interfaces import networks
from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.interfaces import Interface
    from arpfast.ring.standing import Links, Standing

Way = tuple["Interface", bytes]
"""An interface of ours, and a hardware address that the member may answer with there."""


class Reach(msgspec.Struct, frozen=True):
    """What a member claims that is asked for in the same way."""

    claimed: Spans
    ways: tuple[Way, ...]
    network: Spans = NOTHING
    """Where this is at home, if the member is reached otherwise, too."""


def links(interfaces: Iterable[Interface]) -> Links:
    """The networks that each hardware address of these is reached on."""
    found: Links = {}
    for interface in interfaces:
        found[interface.mac] = found.get(interface.mac, NOTHING) | networks((interface,))
    return found


def reaches(standing: Standing, interfaces: Iterable[Interface], settled: Spans) -> list[Reach]:
    """All that a member claims, by how it is asked for it. What is not in `settled` may be answered elsewhere than at
    home.
    """
    usable = [interface for interface in interfaces if interface.carrier]
    theirs = standing.links or dict.fromkeys(standing.macs, standing.networks)
    found: list[tuple[Spans, list[Way]]] = []
    for interface in usable:
        ways: list[Way] = []
        network = NOTHING
        for mac, there in theirs.items():
            if any(address.ip in there for address in interface.addresses):
                ways.append((interface, mac))
                network |= networks((interface,)) & there
        if not ways:
            continue
        same = [each for each in found if each[0] & network]  # two interfaces of ours may be on one network
        found = [each for each in found if each not in same]
        for before, more in same:
            network, ways = network | before, more + ways
        found.append((network, ways))
    if len(found) < 2:
        (_, ways), *_ = found or [(NOTHING, [(interface, mac) for interface in usable for mac in standing.macs])]
        return [Reach(standing.owned, tuple(ways))]
    at_home = [
        Reach(claimed, tuple(ways), network)
        for network, ways in found
        if (claimed := standing.owned & settled & network)
    ]
    rest = standing.owned - Spans(span for reach in at_home for span in reach.claimed)
    anywhere = [Reach(rest, tuple(way for _, ways in found for way in ways))] if rest else []
    return at_home + anywhere
