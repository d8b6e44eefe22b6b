"""Sets of addresses as intervals: what an address, a range or a prefix is once it has been read.

A /64 is one span of two integers, and so is a single address; nothing here ever walks the addresses in between. Pure
values: hashable, comparable, safe to hand to any thread.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Address = IPv4Address | IPv6Address
Version = Literal[4, 6]


def address_of(version: Version, value: int) -> Address:
    """The address whose integer value is `value`."""
    return IPv4Address(value) if version == 4 else IPv6Address(value)


class Span(NamedTuple):
    """All addresses of one family from `first` to `last`, both included, as integers.

    Spans order by family, then by address.
    """

    version: Version
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `192.0.2.1`, `192.0.2.1-192.0.2.9` or `192.0.2.0/24`, of either family.

        Raises ValueError, saying what was expected, for anything else: also for a prefix with host bits set, a range
        that runs backwards or across families, and an address with a zone.
        """
        text = text.strip()
        if "%" in text:
            raise ValueError(f"expected an address without a zone, not {text!r}")
        first_text, dash, last_text = text.partition("-")
        try:
            if not dash and "/" in text:
                network = ip_network(text)
                return cls(6 if isinstance(network, IPv6Network) else 4, int(network[0]), int(network[-1]))
            first = ip_address(first_text.strip())
            last = ip_address(last_text.strip()) if dash else first
        except ValueError as error:
            if "host bits" in str(error):
                network = ip_network(text, strict=False)
                raise ValueError(f"expected a prefix without host bits, as in {network}, not {text}") from None
            raise ValueError(f"expected an address, a range (first-last) or a prefix, not {text!r}") from None
        if first.version != last.version:
            raise ValueError(f"expected both ends of a range in one family, not {text}")
        if int(last) < int(first):
            raise ValueError(f"expected a range that runs upwards, as in {last}-{first}, not {text}")
        return cls(first.version, int(first), int(last))

    @classmethod
    def of(cls, address: Address) -> Span:
        """The span of a single address."""
        return cls(address.version, int(address), int(address))

    def __str__(self) -> str:
        """The shortest way to write it that `parse` reads: an address, a prefix, else a range."""
        first, last = address_of(self.version, self.first), address_of(self.version, self.last)
        if first == last:
            return str(first)
        size, bits = self.last - self.first + 1, first.max_prefixlen
        if size & (size - 1) == 0 and self.first % size == 0:
            return f"{first}/{bits - size.bit_length() + 1}"
        return f"{first}-{last}"

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return self.last - self.first + 1

    def __contains__(self, address: object) -> bool:
        """Whether an address (an `ipaddress` object, not an integer) lies in it."""
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        return address.version == self.version and self.first <= int(address) <= self.last


class Spans:
    """An immutable set of addresses of both families, kept as disjoint spans in order; touching spans are one."""

    __slots__ = ("_hash", "spans")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Take spans in any order, overlapping or not."""
        merged: list[Span] = []
        for span in sorted(spans):
            if merged and merged[-1].version == span.version and span.first <= merged[-1].last + 1:
                if span.last > merged[-1].last:
                    merged[-1] = Span(span.version, merged[-1].first, span.last)
            else:
                merged.append(span)
        self.spans: tuple[Span, ...] = tuple(merged)
        self._hash: int | None = None

    @classmethod
    def parse(cls, *texts: str) -> Spans:
        """Read each of `texts` as `Span.parse` does."""
        return cls(map(Span.parse, texts))

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self.spans == other.spans

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.spans)
        return self._hash

    def __repr__(self) -> str:
        return f"Spans.parse({', '.join(repr(str(span)) for span in self.spans)})"

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return sum(span.size for span in self.spans)

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
        return Spans((*self.spans, *other.spans)) if self.spans and other.spans else self if self.spans else other

    def __sub__(self, other: Spans) -> Spans:
        if not self.spans or not other.spans:
            return self
        left: list[Span] = []
        holes, at = other.spans, 0
        for version, first, last in self.spans:
            while at < len(holes) and (holes[at].version, holes[at].last) < (version, first):
                at += 1
            reached, hole = first, at
            while hole < len(holes) and holes[hole].version == version and holes[hole].first <= last:
                if holes[hole].first > reached:
                    left.append(Span(version, reached, holes[hole].first - 1))
                reached = holes[hole].last + 1
                hole += 1
            if reached <= last:
                left.append(Span(version, reached, last))
        return Spans(left)

    def __and__(self, other: Spans) -> Spans:
        return self - (self - other)

    def prefixes(self) -> Iterator[str]:
        """Each span as the fewest prefixes that make it up, as text."""
        for span in self.spans:
            first, last = address_of(span.version, span.first), address_of(span.version, span.last)
            yield from map(str, summarize_address_range(first, last))
