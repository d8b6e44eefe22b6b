"""Free addresses by arithmetic, against a plain walk over small pools; and pools that nobody could walk over."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast.spans import Span
from controller.free import Free, Numbering

BASE = int(ip_address("198.51.99.250"))
ENDS = st.lists(st.integers(0, 600), min_size=2, max_size=8, unique=True).filter(lambda ends: len(ends) % 2 == 0)


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Disjoint spans in any order, around addresses that end in .0 and .255."""
    ends = sorted(draw(ENDS))
    made = [Span(4, BASE + first, BASE + last - 1) for first, last in zip(ends[::2], ends[1::2], strict=True)]
    return draw(st.permutations(made))


@given(spans(), st.booleans())
def test_numbering_counts_as_a_walk_does(given_: list[Span], avoid: bool) -> None:
    walked = [value for span in given_ for value in range(span.first, span.last + 1)]
    if avoid:
        walked = [value for value in walked if value % 256 not in (0, 255)]
    numbering = Numbering(given_, avoid_buggy=avoid)
    assert numbering.size == len(walked)
    assert [numbering.value(number) for number in range(numbering.size)] == walked
    numbers = {value: number for number, value in enumerate(walked)}
    assert all(numbering.number(value) == numbers.get(value) for value in range(BASE - 2, BASE + 604))


@given(st.integers(0, 8), st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=40))
def test_the_lowest_free_is_what_a_walk_finds(size: int, steps: list[tuple[bool, int]]) -> None:
    free, taken = Free(size), set[int]()
    for takes, number in steps:
        if number >= size or takes is (number in taken):
            continue
        (taken.add if takes else taken.remove)(number)
        (free.take if takes else free.give_back)(number)
        assert free.lowest() == min(set(range(size)) - taken, default=None)
        assert list(free.ahead()) == sorted(set(range(size)) - taken)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "::/0", "192.0.2.0/30"])
def test_size_does_not_matter(text: str) -> None:
    numbering = Numbering([Span.parse(text)], avoid_buggy=True)
    free = Free(numbering.size)
    for expected in range(2):
        assert free.lowest() == expected
        free.take(expected)
    last = numbering.size - 1
    assert numbering.number(numbering.value(last)) == last


def test_ipv6_has_no_buggy_addresses() -> None:
    numbering = Numbering([Span.parse("2001:db8::/120")], avoid_buggy=True)
    assert numbering.size == 256
    assert numbering.number(int(ip_address("2001:db8::ff"))) == 255


@pytest.mark.parametrize(("text", "size"), [("192.0.2.0/32", 0), ("192.0.2.255-192.0.3.0", 0), ("192.0.2.0/24", 254)])
def test_buggy_addresses_are_not_counted(text: str, size: int) -> None:
    numbering = Numbering([Span.parse(text)], avoid_buggy=True)
    assert numbering.size == size
    assert numbering.number(int(ip_address("192.0.2.0"))) is None
