"""What members say of themselves survives the way, and hostile bytes do no harm."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast.ring.standing import Standing, decode, decode_all, decode_news, encode, encode_all
from arpfast.spans import Span, Spans

FULL = Standing(
    "a",
    7,
    weight=200,
    preference=-3,
    drained=True,
    holding=True,
    settling=True,
    carrier=False,
    macs=(b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"),
    networks=Spans.parse("192.0.2.0/24", "2001:db8::/64"),
    unhealthy=Spans.parse("192.0.2.9"),
    claims={1: Spans.parse("192.0.2.10-192.0.2.12", "2001:db8::10"), 300: Spans.parse("0.0.0.0", "ffff::/16")},
    hears=("b",),
    unanswered=Spans.parse("192.0.2.11"),
    ceded=Spans.parse("192.0.2.12"),
    links={b"\x02\0\0\0\0\x01": Spans.parse("192.0.2.0/24", "2001:db8::/64")},
)


def test_a_standing_arrives_as_it_was_sent() -> None:
    assert decode(encode(FULL)) == FULL
    assert decode(encode(Standing("b", 0))) == Standing("b", 0)
    assert FULL.owned == Spans.parse("192.0.2.10-192.0.2.12", "2001:db8::10", "0.0.0.0", "ffff::/16")


spans = st.lists(
    st.one_of(
        st.tuples(st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 2**16)),
        st.tuples(st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 2**80)),
    ),
    max_size=20,
).map(
    lambda given: Spans(
        Span(4, first, min(first + more, 2**32 - 1)) if version == 4 else Span(6, first, min(first + more, 2**128 - 1))
        for version, first, more in given
    )
)


@given(spans)
def test_any_set_of_addresses_can_be_claimed(claimed: Spans) -> None:
    standing = Standing("a", 1, claims={5: claimed}, unhealthy=claimed)
    assert decode(encode(standing)) == standing


def test_a_third_of_a_pool_elected_address_by_address_fits_a_packet() -> None:
    scattered = Spans(Span(4, at, at) for at in range(0xC0000200, 0xC0000200 + 1000, 3))
    assert len(encode(Standing("a", 1, claims={1: scattered}))) < 1200


@given(st.binary(max_size=200))
def test_what_is_no_standing_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        decode(data)
    assert list(decode_all(data)) == []


@given(st.data())
def test_a_damaged_standing_is_refused_or_read_within_bounds(data: st.DataObject) -> None:
    sound = bytearray(encode(FULL))
    sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(sound))
    except ValueError:
        return
    assert decode(encode(found)) == found


@pytest.mark.parametrize(
    ("why", "claims"),
    [
        ("claimed once", [(1, b"\0\0", b""), (2, b"\0\0", b"")]),
        ("by an epoch", [(0, b"\0\0", b"")]),
        ("by an epoch", [(1 << 60, b"\0\0", b"")]),
        ("whole spans", [(1, b"\0", b"")]),
        ("whole spans", [(1, b"\0\x80", b"")]),
        ("128 bits", [(1, b"", b"\x80" * 30)]),
        ("within the address family", [(1, b"\xff\xff\xff\xff\xff\x0f\0", b"")]),
    ],
)
def test_claims_that_nobody_would_write(why: str, claims: list[tuple[int, bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match=why):
        decode(msgspec.msgpack.encode(["a", 1, 100, 0, 0, [], [b"", b""], [b"", b""], claims, []]))


def test_an_exchange_of_all_passes_over_what_is_no_standing() -> None:
    other = Standing("b", 9)
    assert list(decode_all(encode_all({"a": FULL, "b": other}))) == [FULL, other]
    assert list(decode_all(msgspec.msgpack.encode([b"rubbish", encode(other)]))) == [other]
    assert list(decode_all(b"")) == []


def test_what_is_known_is_not_read_again() -> None:
    assert decode_news(encode(FULL), {}) == FULL
    assert decode_news(encode(FULL), {FULL.name: FULL.serial - 1}) == FULL
    assert decode_news(encode(FULL), {FULL.name: FULL.serial}) is None
    other = Standing("c", 1)
    assert list(decode_all(encode_all({"a": FULL, "c": other}), {FULL.name: FULL.serial})) == [other]
