"""Which speaker finds out about which address that nobody has been given yet, and where. Pure.

Each address has one scout: of the speakers that could answer for it, the one that the election by names puts first, and
so most likely the one that is going to answer. It looks on the interfaces on which it would answer, for another host
that has the address elsewhere is no harm. What no L2Advertisement is about, nobody has to look for: some speaker says
so, that the controller need not wait.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from arpfast.spans import Span, address_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from arpfast.spans import Spans
    from cluster.config import Config, L2Advertisement


class Errand(NamedTuple):
    """One address of ours to find out about."""

    address: Span
    interfaces: frozenset[str] | None
    """Where; None: on all that are used."""
    free: bool = False
    """There is nothing to find out: it is not answered for on a link."""


def share(asked: Spans, config: Config, members: Collection[str], me: str) -> list[Errand]:
    """What of all that is asked is for us to find out. `members`: the speakers that are there, ourselves included."""
    found = []
    places = sorted((*span, pool.name) for pool in config.pools.values() for span in pool.spans)
    at = 0
    for version, first, last in asked:
        for value in range(first, last + 1):
            while at < len(places) and (places[at][0], places[at][2]) < (version, value):
                at += 1
            if at == len(places) or (places[at][0], places[at][1]) > (version, value):
                continue  # of a pool that is not known here yet, or no longer
            about = [each for each in config.l2_advertisements if places[at][3] in each.pools]
            errand = _errand(Span(version, value, value), about, members, me)
            if errand is not None:
                found.append(errand)
    return found


def _errand(address: Span, advertisements: list[L2Advertisement], members: Collection[str], me: str) -> Errand | None:
    able = frozenset().union(*(each.nodes for each in advertisements)).intersection(members)
    if not advertisements:
        return Errand(address, None, free=True) if me == _first(address, members) else None
    if me != _first(address, able):
        return None
    ours = [each.interfaces for each in advertisements if me in each.nodes]
    return Errand(address, frozenset().union(*ours) if all(ours) else None)


def _first(address: Span, names: Collection[str]) -> str | None:
    """As the election has it that MetalLB's speakers agree upon."""
    text = str(address_of(address.version, address.first))
    return min(names, key=lambda name: sha256(f"{name}#{text}".encode()).digest(), default=None)
