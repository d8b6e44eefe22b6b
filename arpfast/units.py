"""What is elected: units, each of which has one owner.

An address of ours is a unit of its own, so that a range spreads over all members. A span that is too large to elect one
by one is a single unit, and so is a proxied prefix, whose addresses belong together. What is more special hides what is
less so: an address of its own inside a prefix, and an own prefix inside a proxied one, are elected for themselves, and
the prefix as a unit answers for the rest, its *territory*. What the prefix is called, and with that its place in the
election, does not change when an address is set apart from it.

Pure values, the same on every member that has the same addresses configured, in whatever order. Units are numbered in
the order of the first address that each answers for, its *anchor*.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from arpfast.rendezvous import Roll
from arpfast.spans import Span, Spans, Version, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arpfast.spans import Address

LARGEST = 65_536
"""A span of more addresses is one unit."""

MOST = 1 << 20
"""If there were more units than this, spans a sixteenth as large count as large too, and so on."""


class Whole(NamedTuple):
    """A span that is one unit."""

    span: Span
    territory: Spans
    """What of it is no unit of its own; never empty."""


class Units:
    """All units. Compared by identity: make them once for a configuration."""

    __slots__ = ("__weakref__", "_pieces", "_runs", "_starts", "_wholes", "roll", "spans")

    def __init__(self, own: Iterable[Span], proxied: Iterable[Span] = ()) -> None:
        """Take spans as they were configured: large neighbours that are given separately are elected separately."""
        given = set(own)
        largest = LARGEST
        while largest > 1 and sum(span.size for span in given if span.size <= largest) > MOST:
            largest //= 16
        singles = Spans(span for span in given if span.size <= largest)
        large = _apart(span for span in given if span.size > largest)
        apart = _apart(proxied)
        hidden = singles | Spans(large)
        wholes = [Whole(span, Spans((span,)) - singles) for span in large]
        wholes += [Whole(span, Spans((span,)) - hidden) for span in apart]
        runs: list[tuple[Span, Whole | None]] = [(span, None) for span in singles]
        runs += [(Span.of(_anchor(whole)), whole) for whole in wholes if whole.territory]
        runs.sort(key=lambda run: run[0])

        self.spans = hidden | Spans(apart)
        """All addresses of all units."""
        self._runs = tuple(span for span, _ in runs)
        self._starts = [0, *accumulate(span.size for span in self._runs)]
        self._wholes = {at: whole for at, (_, whole) in enumerate(runs) if whole is not None}
        self._pieces = sorted((piece, at) for at, whole in self._wholes.items() for piece in whole.territory)
        self.roll = Roll(self._runs, {at: whole.span for at, whole in self._wholes.items()})

    def __len__(self) -> int:
        return len(self.roll)

    def __iter__(self) -> Iterator[Span]:
        """Each unit's span: what it is called, also where parts of it are units of their own."""
        for at, (version, first, last) in enumerate(self._runs):
            if at in self._wholes:
                yield self._wholes[at].span
            else:
                for value in range(first, last + 1):
                    yield Span(version, value, value)

    def find(self, version: Version, value: int) -> int | None:
        """The number of the unit that answers for this address."""
        at = bisect_right(self._runs, (version, value, 1 << 128)) - 1
        if at >= 0 and self._runs[at].version == version and value <= self._runs[at].last:
            return self._starts[at] + value - self._runs[at].first
        at = bisect_right(self._pieces, ((version, value, 1 << 128),)) - 1
        if at >= 0:
            piece, run = self._pieces[at]
            if piece.version == version and value <= piece.last:
                return self._starts[run]
        return None

    def territory(self, unit: int) -> Spans:
        """The addresses that a unit answers for."""
        at = bisect_right(self._starts, unit) - 1
        if at in self._wholes:
            return self._wholes[at].territory
        version, first, _ = self._runs[at]
        value = first + unit - self._starts[at]
        return Spans((Span(version, value, value),))

    def turns(self, spans: Spans, *, entirely: bool) -> list[int]:
        """Where, counting units up, belonging to `spans` begins or ends: twice at one place is no change.

        A unit belongs to them with its whole territory if `entirely`, else with any address of it.
        """
        turns = [turn for pair in self.roll.ranges(spans) for turn in pair]
        for at, whole in self._wholes.items():
            # So far its anchor has spoken for all of it.
            by_anchor = _anchor(whole) in spans
            belongs = all(span in spans for span in whole.territory) if entirely else bool(whole.territory & spans)
            if belongs != by_anchor:
                turns += (self._starts[at], self._starts[at] + 1)
        return turns

    def gather(self, labels: bytes, count: int) -> list[Spans]:
        """The addresses of the units that have each label below `count`; `labels` as `rendezvous` has them."""
        gathered = []
        for spans, places in self.roll.gather(labels, count):
            pieces = [piece for at in places for piece in self._wholes[at].territory]
            gathered.append(Spans(spans + pieces) if pieces else Spans.in_order(spans))
        return gathered


def _anchor(whole: Whole) -> Address:
    first = whole.territory.spans[0]
    return address_of(first.version, first.first)


def _apart(spans: Iterable[Span]) -> list[Span]:
    """Spans that overlap as one; those that merely touch stay apart, unlike in `Spans`."""
    apart: list[Span] = []
    for span in sorted(spans):
        if apart and apart[-1].version == span.version and span.first <= apart[-1].last:
            apart[-1] = Span(span.version, apart[-1].first, max(apart[-1].last, span.last))
        else:
            apart.append(span)
    return apart
