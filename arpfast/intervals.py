"""One interval of addresses, and what can be done with tuples of them that are disjoint and in order.

A /64 is one span of two integers, and so is a single address; nothing here ever walks the addresses in between. A
change of one in 100 000 costs one: what does not change is copied in long runs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from operator import itemgetter, lt
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = IPv4Address | IPv6Address
Version = Literal[4, 6]


_FIRST, _LAST = itemgetter(1), itemgetter(2)


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
        version: Version = 6 if ":" in text else 4
        try:  # Nearly all of a long list are single addresses: read in C, each in a tenth of the time
            value = int.from_bytes(inet_pton(AF_INET6 if version == 6 else AF_INET, text), "big")
        except (OSError, ValueError):
            return cls._parse_more(text)
        return cls(version, value, value)

    @classmethod
    def _parse_more(cls, text: str) -> Span:
        """A range or a prefix, or what is wrong with it."""
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


FEW = 16
"""So many times fewer spans count as few: a change of one in 100 000 must cost one, not 100 000 steps of Python."""


def merged(spans: list[Span]) -> list[Span]:
    """Spans of one family, in order of their first address, as disjoint ones that do not touch."""
    beyond = map((1).__add__, map(_LAST, spans))
    if all(map(lt, beyond, map(_FIRST, islice(spans, 1, None)))):  # which takes C a tenth of the time
        return spans
    joined = spans[:1]
    for span in islice(spans, 1, None):
        if span.first > joined[-1].last + 1:
            joined.append(span)
        elif span.last > joined[-1].last:
            joined[-1] = Span(span.version, joined[-1].first, span.last)
    return joined


def overlapping(spans: tuple[Span, ...], around: Span, *, touching: int = 0) -> tuple[int, int]:
    """Which of `spans` (disjoint, in order) share an address with `around`, or with its neighbours if `touching` is 1:
    from index, to index.
    """
    version, first, last = around
    start = bisect_left(spans, (version, first))
    if start and spans[start - 1].version == version and spans[start - 1].last >= first - touching:
        start -= 1
    return start, max(start, bisect_right(spans, (version, last + touching, 1 << 128)))


def spliced(many: tuple[Span, ...], few: tuple[Span, ...]) -> list[Span]:
    """The union, `many` copied in long runs."""
    joined: list[Span] = []
    done = 0
    grown: Span | None = None
    for span in few:
        start, end = overlapping(many, span, touching=1)
        touched = [] if start == end else [many[start], many[end - 1]]
        first = min(span.first, *(each.first for each in touched), span.first)
        last = max(span.last, *(each.last for each in touched), span.last)
        if grown is not None and grown.version == span.version and first <= grown.last + 1:
            grown = Span(span.version, grown.first, max(grown.last, last))
        else:
            if grown is not None:
                joined.append(grown)
            joined += many[done:start]
            grown = Span(span.version, first, last)
        done = max(done, end)
    if grown is not None:
        joined.append(grown)
    joined += many[done:]
    return joined


def pierced(many: tuple[Span, ...], few: tuple[Span, ...]) -> list[Span]:
    """`many` without `few`, copied in long runs: what a hole covers as a whole is not looked at."""
    kept: list[Span] = []
    done = 0
    rest: Span | None = None  # of the span in which the hole before ended
    for version, first, last in few:
        if rest is not None and rest.version == version and first <= rest.last:
            if rest.first < first:
                kept.append(Span(version, rest.first, first - 1))
            if last < rest.last:
                rest = Span(version, last + 1, rest.last)
                continue
        elif rest is not None:
            kept.append(rest)
        rest = None
        start, end = overlapping(many, Span(version, first, last))
        start = max(start, done)
        kept += many[done:start]
        if start < end:
            if many[start].first < first:
                kept.append(Span(version, many[start].first, first - 1))
            if last < many[end - 1].last:
                rest = Span(version, last + 1, many[end - 1].last)
        done = max(start, end)
    if rest is not None:
        kept.append(rest)
    kept += many[done:]
    return kept


def clipped(few: tuple[Span, ...], many: tuple[Span, ...]) -> list[Span]:
    """What is in both, `many` copied in long runs."""
    common: list[Span] = []
    for version, first, last in few:
        start, end = overlapping(many, Span(version, first, last))
        if start < end:
            at = len(common)
            common += many[start:end]
            if common[at].first < first:
                common[at] = Span(version, first, common[at].last)
            if last < common[-1].last:
                common[-1] = Span(version, common[-1].first, last)
    return common


def same_ends(one: tuple[Span, ...], other: tuple[Span, ...]) -> tuple[int, int]:
    """How many spans are the same at the beginning, and how many of the others at the end."""
    if not one or not other:
        return 0, 0
    start = _same(one, other) if one[0] == other[0] else 0
    if start == min(len(one), len(other)) or one[-1] != other[-1]:
        return start, 0
    return start, _same(one[: start - len(one) - 1 : -1], other[: start - len(other) - 1 : -1])


def _same(one: tuple[Span, ...], other: tuple[Span, ...]) -> int:
    """How many spans are the same from the beginning, found by runs that C compares."""
    least = min(len(one), len(other))
    same, run = 0, 1 << least.bit_length()
    while run := run // 2:
        if same + run <= least and one[same : same + run] == other[same : same + run]:
            same += run
    return same


def parted_from_same(
    one: tuple[Span, ...], other: tuple[Span, ...]
) -> tuple[list[Span], tuple[Span, ...], tuple[Span, ...]]:
    """The spans that are the same in both, and what else either has."""
    of_one, of_other = set(one), set(other)
    return (
        [span for span in one if span in of_other],
        tuple([span for span in one if span not in of_other]),
        tuple([span for span in other if span not in of_one]),
    )


def are_apart(one: tuple[Span, ...], other: tuple[Span, ...]) -> bool:
    """Whether they have no address in common; both disjoint and in order. Told by C alone."""
    if len(one) + len(other) <= FEW:
        return False  # no time would be saved
    for version in (4, 6):
        spans = sorted([span for span in (*one, *other) if span[0] == version], key=_FIRST)
        if not all(map(lt, map(_LAST, spans), map(_FIRST, islice(spans, 1, None)))):
            return False
    return True


def difference(spans: tuple[Span, ...], holes: tuple[Span, ...]) -> Iterator[Span]:
    """`spans` without `holes`, both disjoint and in order, step by step."""
    at = 0
    for span in spans:
        version, first, last = span
        while at < len(holes) and (holes[at].version, holes[at].last) < (version, first):
            at += 1
        reached, hole = first, at
        while hole < len(holes) and holes[hole].version == version and holes[hole].first <= last:
            if holes[hole].first > reached:
                yield Span(version, reached, holes[hole].first - 1)
            reached = holes[hole].last + 1
            hole += 1
        if reached == first:
            yield span
        elif reached <= last:
            yield Span(version, reached, last)
