"""`spans` against plain sets of integers, and what it says to people who mistype."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast import spans as spans_module
from arpfast.spans import Span, Spans

spans = st.builds(
    lambda version, first, length: Span(version, first, first + length),
    st.sampled_from([4, 6]),
    st.integers(0, 40),
    st.integers(0, 12),
)
sets = st.lists(spans, max_size=8).map(Spans)


def plain(some: Spans) -> set[tuple[int, int]]:
    return {(span.version, value) for span in some for value in range(span.first, span.last + 1)}


@given(sets, sets)
def test_set_arithmetic_is_that_of_plain_sets(left: Spans, right: Spans) -> None:
    assert plain(left | right) == plain(left) | plain(right)
    assert plain(left - right) == plain(left) - plain(right)
    assert plain(left & right) == plain(left) & plain(right)


@given(sets, sets, st.integers(0, 4))
def test_whatever_counts_as_few_the_set_is_the_same_and_written_in_one_way(left: Spans, right: Spans, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arpfast.spans.FEW", few)
        for made, expected in (
            (left | right, plain(left) | plain(right)),
            (left - right, plain(left) - plain(right)),
            (left & right, plain(left) & plain(right)),
        ):
            assert plain(made) == expected
            assert made.spans == Spans(reversed(made.spans)).spans


@given(st.sets(st.integers(0, 60), min_size=20), st.sets(st.integers(0, 60), max_size=4), st.integers(0, 16))
def test_what_long_sets_have_in_common_changes_nothing(some: set[int], changed: set[int], few: int) -> None:
    left, right = (Spans(Span(4, 3 * at, 3 * at) for at in which) for which in (some, some ^ changed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arpfast.spans.FEW", few)
        assert plain(left - right) == plain(left) - plain(right)
        assert plain(right - left) == plain(right) - plain(left)
        assert plain(left & right) == plain(left) & plain(right)


def test_a_change_of_one_span_among_thousands_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done step by step is done in these three."""
    steps: list[int] = []
    for name in ("pierced", "clipped", "difference"):
        inner = getattr(spans_module, name)

        def counted(one: tuple[Span, ...], other: tuple[Span, ...], inner: Any = inner, name: str = name) -> Any:
            steps.append(len(one) if name == "clipped" else len(other))
            return inner(one, other)

        monkeypatch.setattr(spans_module, name, counted)
    many = Spans(Span(4, 3 * at, 3 * at) for at in range(10_000))
    one = Spans([Span(4, 60_001, 60_001)])
    pool = Spans([Span(4, 0, 1 << 16)])
    more = many | one
    assert (more - many, more - one, many - more) == (one, many, Spans())
    assert (more & many, more & one, more & pool, more - pool) == (many, one, more, Spans())
    assert sum(steps) <= 16


@given(sets, st.integers(1, 14))
def test_parted_by_the_size_of_spans(some: Spans, largest: int) -> None:
    within, beyond = some.parted(largest)
    assert within == Spans(span for span in some if span.size <= largest)
    assert beyond == Spans(span for span in some if span.size > largest)


@given(sets, spans)
def test_overlaps_agrees_with_intersection(some: Spans, span: Span) -> None:
    assert some.overlaps(span) == bool(some & Spans([span]))


@given(st.text("0123456789abcdef.:", max_size=20) | st.ip_addresses().map(str))
def test_an_address_is_what_ipaddress_says(text: str) -> None:
    try:
        expected = Span.of(ip_address(text))
    except ValueError:
        with pytest.raises(ValueError, match="expected"):
            Span.parse(text)
    else:
        assert Span.parse(text) == expected


@given(sets)
def test_equal_sets_are_written_in_one_way(some: Spans) -> None:
    single = Spans(Span(version, value, value) for version, value in plain(some))  # type: ignore[arg-type]
    assert single == some
    assert hash(single) == hash(some)
    assert some.size == len(plain(some))
    assert Spans.parse(*map(str, some)) == some
    assert Spans.parse(*some.prefixes()) == some


@given(sets, st.sampled_from([4, 6]), st.integers(0, 60))
def test_find_agrees_with_membership(some: Spans, version: int, value: int) -> None:
    found = some.find(version, value)  # type: ignore[arg-type]
    assert (found is not None) == ((version, value) in plain(some))
    assert found is None or found.first <= value <= found.last


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0-192.0.2.255", "192.0.2.0/24"),
        (" 192.0.2.1 - 192.0.2.9 ", "192.0.2.1-192.0.2.9"),
        ("2001:DB8::10", "2001:db8::10"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_what_can_be_read_is_written_in_its_shortest_form(text: str, written: str) -> None:
    assert str(Span.parse(text)) == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.300", "expected an address, a range"),
        ("", "expected an address, a range"),
        ("192.0.2.1/24", "as in 192.0.2.0/24"),
        ("192.0.2.9-192.0.2.1", "as in 192.0.2.1-192.0.2.9"),
        ("192.0.2.1-2001:db8::1", "one family"),
        ("fe80::1%eth0", "without a zone"),
        ("192.0.2.0/24-192.0.3.0/24", "expected an address, a range"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Span.parse(text)


def test_membership_takes_addresses_and_spans() -> None:
    some = Spans.parse("192.0.2.0/24", "2001:db8::/64")
    assert ip_address("192.0.2.77") in some
    assert Span.parse("192.0.2.64/26") in some
    assert Span.parse("192.0.2.0-192.0.3.0") not in some
    assert "192.0.2.77" not in some
