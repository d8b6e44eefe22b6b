"""The table of words against Spans, which are the truth; and what it takes in time and memory."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arpfast.answer import Kind, Table
from arpfast.spans import Address, Span, Spans, Version, address_of

BITS: dict[Version, int] = {4: 32, 6: 128}


def expected(own: Spans, proxy: Spans, tentative: Spans, address: Address) -> Kind | None:
    if address in tentative:
        return Kind.TENTATIVE
    if address in own:
        return Kind.OWN
    return Kind.PROXY if address in proxy else None


@st.composite
def spans(draw: st.DrawFn) -> Spans:
    """Spans that meet: their ends lie near few places, mostly block boundaries."""
    version: Version = draw(st.sampled_from([4, 6]))
    top = (1 << BITS[version]) - 1
    places = [0, 0xFFFF, 0x10000, 0xA0000, top >> 1, top - 0x20000, top, 1 << (BITS[version] - 3)]
    ends = st.builds(lambda a, b: max(0, min(top, a + b)), st.sampled_from(places), st.integers(-70000, 70000))
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=12))
    return Spans(Span(version, min(pair), max(pair)) for pair in pairs)


SOME = st.builds(lambda a, b: a | b, spans(), spans())


@given(SOME, SOME, SOME)
@example(Spans(), Spans.parse("0.0.0.0/0", "::/0"), Spans())
@example(Spans.parse("0.0.0.0/0"), Spans.parse("::/0"), Spans.parse("::ffff:0:0/96"))
def test_finds_what_spans_hold(own: Spans, proxy: Spans, tentative: Spans) -> None:
    table = Table(own, proxy, tentative)
    for span in (*own, *proxy, *tentative):
        top = (1 << BITS[span.version]) - 1
        for edge in (span.first, span.last, (span.first + span.last) // 2):
            for value in {edge - 0x10000, edge - 1, edge, edge + 1, edge ^ 0x8000}:
                address = address_of(span.version, max(0, min(top, value)))
                assert table.find(address) is expected(own, proxy, tentative, address), address


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("step", [2, 3, 200, 205, 65536, 70000])
def test_every_form_of_block(version: Version, step: int) -> None:
    """One range, up to 320, a bitmap, neighbours in many blocks."""
    start = 0x0A00FFF0
    values = range(start, start + step * 1000, step)
    table = Table(
        own=Spans(Span(version, value, value) for value in values[::2]),
        proxy=Spans(Span(version, value, value) for value in values[1::2]),
    )
    for at, value in enumerate(values):
        assert table.find(address_of(version, value)) is (Kind.PROXY if at % 2 else Kind.OWN)
        assert table.find(address_of(version, value + 1)) is None
        assert table.find(address_of(version, value - 1)) is None


@pytest.mark.parametrize("count", [319, 320, 321, 512, 32768])
def test_ranges_on_both_sides_of_the_bitmap(count: int) -> None:
    own = Spans(Span(4, 2 * i, 2 * i) for i in range(count))
    table = Table(own=own)
    assert all((table.find(IPv4Address(value)) is Kind.OWN) == (value % 2 == 0) for value in range(2 * count))
    assert table.find(IPv4Address(2 * count)) is None


@pytest.mark.parametrize("count", [2, 3, 1000, 4096])
def test_many_wide_ranges(count: int) -> None:
    own = Spans(Span(6, i << 65, (i << 65) + (1 << 64) - 1) for i in range(count))
    table = Table(own=own)
    for i in (0, 1, count // 2, count - 1):
        assert table.find(IPv6Address(i << 65)) is Kind.OWN
        assert table.find(IPv6Address((i << 65) + (1 << 64) - 1)) is Kind.OWN
        assert table.find(IPv6Address((i << 65) + (1 << 64))) is None


def test_families_do_not_mix() -> None:
    table = Table(own=Spans.parse("192.0.2.10"), proxy=Spans.parse("2001:db8::/32"))
    assert table.find(IPv6Address("::ffff:192.0.2.10")) is None
    assert table.find(IPv6Address("::192.0.2.10")) is None
    everything6 = Table(own=Spans.parse("::/0"))
    assert everything6.find(IPv4Address("192.0.2.10")) is None
    assert Table(own=Spans.parse("0.0.0.0/0")).find(IPv6Address("::1")) is None


def test_an_empty_table_finds_nothing() -> None:
    assert Table().find(IPv4Address(0)) is None
    assert Table().find(IPv6Address(0)) is None
    assert Table().nbytes == 256


def test_a_prefix_is_one_entry() -> None:
    assert Table(own=Spans.parse("::/0", "0.0.0.0/0")).nbytes == 256 + 2 * 32
    assert Table(own=Spans.parse("10.0.0.0/12", "2001:db8::/64")).nbytes == 256 + 2 * 32


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("count", [1000, 30_000])
@pytest.mark.parametrize("bits", [20, 32, 128])
def test_scattered_addresses_take_at_most_64_bytes(version: Version, count: int, bits: int) -> None:
    noise = random.Random(count)
    bits = min(bits, BITS[version])
    own = Spans(Span(version, value, value) for value in {noise.getrandbits(bits) for _ in range(count)})
    table = Table(own=own)
    assert table.nbytes <= 64 * count + 1024
    for span in list(own)[::97]:
        assert table.find(address_of(version, span.first)) is Kind.OWN


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 50])
def test_more_pools_than_the_outline_has_stretches(version: Version, count: int) -> None:
    """Unequal gaps, of which the least are looked into; the ends of the address space among them."""
    top = (1 << BITS[version]) - 1
    edges = [(at * at * 5000, at * at * 5000 + 700 * at) for at in range(count)] + [(top - 3, top)]
    own = Spans(Span(version, first, last) for first, last in edges[::2])
    proxy = Spans(Span(version, first, last) for first, last in edges[1::2])
    table = Table(own=own, proxy=proxy)
    for first, last in edges:
        for value in (first - 1, first, (first + last) // 2, last, last + 1):
            if 0 <= value <= top:
                address = address_of(version, value)
                assert table.find(address) is expected(own, proxy, Spans(), address), address


def test_the_words_are_the_table() -> None:
    table = Table(own=Spans.parse("192.0.2.10", "2001:db8::10"))
    assert len(table.words()) == table.nbytes
    assert table.words() == Table(own=Spans.parse("192.0.2.10", "2001:db8::10")).words()


def test_a_union_has_what_any_of_them_has() -> None:
    one = Table(own=Spans.parse("192.0.2.0/30", "2001:db8::1"), proxy=Spans.parse("192.0.2.0/24"))
    other = Table(own=Spans.parse("192.0.2.2-192.0.2.9"), tentative=Spans.parse("192.0.2.3"))
    both = Table.union([one, other])
    found = [both.find(ip_address(f"192.0.2.{last}")) for last in (1, 3, 9, 10)]
    assert found == [Kind.OWN, Kind.TENTATIVE, Kind.OWN, Kind.PROXY]
    assert both.find(ip_address("2001:db8::1")) is Kind.OWN
    assert both.find(ip_address("198.51.100.1")) is None
