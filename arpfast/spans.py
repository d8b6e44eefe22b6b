"""Sets of addresses as intervals: what an address, a range or a prefix is once it has been read.

Pure values: hashable, comparable, safe to hand to any thread.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from operator import itemgetter, sub
from typing import TYPE_CHECKING

from arpfast.intervals import (
    FEW,
    Address,
    Span,
    Version,
    address_of,
    are_apart,
    clipped,
    difference,
    merged,
    overlapping,
    parted_from_same,
    pierced,
    same_ends,
    spliced,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["NOTHING", "Address", "Span", "Spans", "Version", "address_of"]

_FIRST, _LAST = itemgetter(1), itemgetter(2)


class Spans:
    """An immutable set of addresses of both families, kept as disjoint spans in order; touching spans are one."""

    __slots__ = ("_hash", "spans")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Take spans in any order, overlapping or not."""
        given = list(spans)
        # Sorted by an integer within each family: comparing whole tuples takes three times as long.
        self.spans: tuple[Span, ...] = (
            *merged(sorted([span for span in given if span.version == 4], key=_FIRST)),
            *merged(sorted([span for span in given if span.version != 4], key=_FIRST)),
        )
        self._hash: int | None = None

    @classmethod
    def parse(cls, *texts: str) -> Spans:
        """Read each of `texts` as `Span.parse` does."""
        return cls(map(Span.parse, texts))

    @classmethod
    def in_order(cls, spans: Iterable[Span]) -> Spans:
        """Take spans that are in order, disjoint, and do not touch, as they are: faster than to see that they are."""
        return _of_merged(spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Spans) and self.spans == other.spans)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.spans)
        return self._hash

    def __repr__(self) -> str:
        return f"Spans.parse({', '.join(repr(str(span)) for span in self.spans)})"

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return sum(span[2] - span[1] for span in self.spans) + len(self.spans)

    def overlaps(self, span: Span) -> bool:
        """Whether it holds any address of `span`, in logarithmic time."""
        start, end = overlapping(self.spans, span)
        return start < end

    def find(self, version: Version, value: int) -> Span | None:
        """The span that holds this address, in logarithmic time."""
        at = bisect_right(self.spans, (version, value, 1 << 128)) - 1
        if at >= 0 and self.spans[at].version == version and value <= self.spans[at].last:
            return self.spans[at]
        return None

    def __contains__(self, address: object) -> bool:
        """Whether an address (an `ipaddress` object) or a whole `Span` lies in it."""
        if isinstance(address, Span):
            found = self.find(address.version, address.first)
            return found is not None and address.last <= found.last
        if isinstance(address, IPv4Address | IPv6Address):
            return self.find(address.version, int(address)) is not None
        return False

    def __or__(self, other: Spans) -> Spans:
        few, many = (self, other) if len(self.spans) < len(other.spans) else (other, self)
        if not few.spans or few.spans == many.spans:
            return many
        if len(few.spans) * FEW < len(many.spans):
            return _of_merged(spliced(many.spans, few.spans))
        return Spans((*few.spans, *many.spans))

    def __sub__(self, other: Spans) -> Spans:
        mine, holes = self.spans, other.spans
        if not mine or not holes:
            return self
        # Spans that both have cancel out: each is disjoint from all others of either.
        start, end = same_ends(mine, holes)
        mine, holes = mine[start : len(mine) - end], holes[start : len(holes) - end]
        if len(mine) * FEW < len(holes):
            holes = tuple(span for around in mine for span in holes[slice(*overlapping(holes, around))])
        if not holes:
            return _of_merged(mine)
        if len(holes) * FEW < len(mine):
            return _of_merged(pierced(mine, holes))
        if len(mine) > FEW:
            if are_apart(mine, holes):
                return _of_merged(mine)
            _, mine, holes = parted_from_same(mine, holes)
        return _of_merged(difference(mine, holes))

    def __and__(self, other: Spans) -> Spans:
        few, many = (self, other) if len(self.spans) < len(other.spans) else (other, self)
        if few.spans == many.spans:
            return few
        start, end = same_ends(few.spans, many.spans)
        head, tail = few.spans[:start], few.spans[len(few.spans) - end :]
        one, other_one = few.spans[start : len(few.spans) - end], many.spans[start : len(many.spans) - end]
        if len(one) * FEW >= len(other_one):
            if are_apart(one, other_one):
                return _of_merged(head + tail)
            same, one, other_one = parted_from_same(one, other_one)
            if same:
                return _of_merged((*head, *sorted((*same, *clipped(one, other_one))), *tail))
        return _of_merged((*head, *clipped(one, other_one), *tail))

    def of_version(self, version: Version) -> Spans:
        """Those of one family."""
        at = bisect_left(self.spans, (6,))
        return _of_merged(self.spans[:at] if version == 4 else self.spans[at:])

    def parted(self, largest: int) -> tuple[Spans, Spans]:
        """Those in spans of at most `largest` addresses, and those in larger ones."""
        if max(map(sub, map(_LAST, self.spans), map(_FIRST, self.spans)), default=0) < largest:
            return self, Spans()
        within = [span for span in self.spans if span.last - span.first < largest]
        return _of_merged(within), _of_merged(span for span in self.spans if span.last - span.first >= largest)

    def size_of_spans_up_to(self, largest: int) -> int:
        """How many addresses there are in spans of at most `largest`."""
        return self.parted(largest)[0].size

    def window(
        self, start: tuple[Version, int] | None, count: int, *, largest: int
    ) -> tuple[Spans, tuple[Version, int] | None]:
        """The next `count` addresses from `start` on (None: from the first), leaving out spans of more than `largest`,
        and where the next window starts (None: these were the last).
        """
        at = 0
        if start is not None:
            at = bisect_right(self.spans, (*start, 1 << 128))
            if at and self.spans[at - 1].version == start[0] and self.spans[at - 1].last >= start[1]:
                at -= 1
        taken: list[Span] = []
        while at < len(self.spans):
            version, first, last = self.spans[at]
            at += 1
            if last - first + 1 > largest:
                continue
            if start is not None and version == start[0]:
                first = max(first, start[1])
            if count <= 0:
                return _of_merged(taken), (version, first)
            last_taken = min(last, first + count - 1)
            taken.append(Span(version, first, last_taken))
            count -= last_taken - first + 1
            if last_taken < last:
                return _of_merged(taken), (version, last_taken + 1)
        return _of_merged(taken), None

    def prefixes(self) -> Iterator[str]:
        """Each span as the fewest prefixes that make it up, as text."""
        for span in self.spans:
            first, last = address_of(span.version, span.first), address_of(span.version, span.last)
            yield from map(str, summarize_address_range(first, last))


def _of_merged(spans: Iterable[Span]) -> Spans:
    """Spans from what is disjoint and in order already."""
    made = Spans.__new__(Spans)
    made.spans = tuple(spans)
    made._hash = None  # noqa: SLF001 (its maker)
    return made


NOTHING = Spans()
"""No address at all."""
