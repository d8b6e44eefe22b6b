"""Who may own what, and in which order: what the rules of the ring ask of an election, whatever it is about.

`Everybody` is that of the standalone command: all members stand for all addresses. A speaker in a cluster brings
another, in which each address has candidates of its own. The rules of the ring are the same for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arpfast.election import elect
from arpfast.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.election import Candidate, Method, Prospect, Succession
    from arpfast.spans import Spans, Version


class Outcome(Protocol):
    """Of one election. Immutable."""

    @property
    def owners(self) -> Mapping[str, Spans]:
        """What each owns."""

    @property
    def unowned(self) -> Spans:
        """What nobody may own."""

    def owned(self, name: str) -> Spans:
        """What one owns; nothing if it is no candidate."""

    def succession(self, fallen: str) -> Succession:
        """Who takes each of the addresses of `fallen`."""

    def why(self, version: Version, value: int) -> tuple[Prospect, ...]:
        """Everybody's prospects of an address, in the order of succession."""


class Electorate(Protocol):
    """Pure: members that have the same electorate, and know the same of each other, elect the same."""

    @property
    def spans(self) -> Spans:
        """All that is answered for by the ring."""

    @property
    def keeps(self) -> bool:
        """Whether it matters who holds what; else `elect` is told of nobody."""

    def elect(self, candidates: Iterable[Candidate], incumbents: Mapping[str, Spans]) -> Outcome:
        """Give each address an owner; `incumbents` says who holds what now."""


class Everybody:
    """All members stand for all addresses, by one method."""

    def __init__(self, method: Method, wanted: Spans, proxied: Spans) -> None:
        """Addresses of `wanted` are elected one by one, a span of `proxied` as a whole."""
        self.asked = method, wanted, proxied
        self.spans = wanted | proxied
        self.keeps = True
        self._method, self._units = method, Units(wanted, proxied)

    def elect(self, candidates: Iterable[Candidate], incumbents: Mapping[str, Spans]) -> Outcome:
        """By `arpfast.election`."""
        return elect(self._method, self._units, candidates, incumbents)
