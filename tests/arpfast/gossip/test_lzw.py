"""LZW: the streams that Go makes, whatever else comes in, and never more out than allowed."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.gossip.lzw import LzwError, compress, decompress

# What Go's compress/lzw makes of these (least significant bit first, eight-bit literals).
FROM_GO = [
    (b"", "000302"),
    (b"a", "00c30404"),
    (b"aaaaaaaaaa", "00c3081c483020"),
    (b"TOBEORNOTTOBEORTOBEORNOT", "00a93c1152e48914274fa80824687061c183090302"),
    (bytes(range(12)), "00010410308040010307102450b02020"),
]


@pytest.mark.parametrize(("plain", "stream"), FROM_GO)
def test_streams_are_those_of_go(plain: bytes, stream: str) -> None:
    assert decompress(bytes.fromhex(stream), 100) == plain
    assert compress(plain).hex() == stream


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000) | st.text("ab", max_size=3000).map(str.encode))
def test_what_was_compressed_comes_back(plain: bytes) -> None:
    assert decompress(compress(plain), len(plain)) == plain


@pytest.mark.parametrize("alphabet", [1, 2, 17, 256])
@pytest.mark.parametrize("length", [3837, 3838, 3839, 4095, 4096, 50_000, 200_000])
def test_the_table_fills_and_is_cleared(alphabet: int, length: int) -> None:
    plain = bytes(random.Random(length).choices(range(alphabet), k=length))
    assert decompress(compress(plain), length) == plain


def codes(*wanted: tuple[int, int]) -> bytes:
    """A stream of (code, width)."""
    held, count = 0, 0
    for code, width in wanted:
        held |= code << count
        count += width
    return held.to_bytes((count + 7) // 8, "little")


def test_a_full_table_without_a_clear_is_read_on() -> None:
    """Some encoders go on with what they have; nothing is defined beyond code 4095."""
    wanted = [(256, 9), (0, 9)]
    highest, width = 258, 9
    while highest < 4095:
        highest += 1
        wanted.append((highest - 1, width))
        if highest == 1 << width:
            width += 1
    plain = decompress(codes(*wanted, (4094, 12), (4095, 12), (65, 12), (257, 12)), 20 << 20)
    assert plain.endswith(b"\0" * 3838 + b"A")


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\0",
        codes((256, 9)),  # no end
        codes((256, 9), (65, 9)),
        codes((256, 9), (258, 9), (257, 9)),  # not defined yet
        codes((256, 9), (65, 9), (259, 9), (257, 9)),
        codes((65, 9), (256, 9), (258, 9), (257, 9)),  # no longer defined
        codes((511, 9), (257, 9)),
    ],
)
def test_what_is_no_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(LzwError, match="ends as one"):
        decompress(stream, 1000)


def test_a_stream_may_omit_the_first_clear() -> None:
    assert decompress(codes((65, 9), (257, 9)), 10) == b"A"


def test_a_bomb_stops_at_the_limit() -> None:
    bomb = compress(bytes(10 << 20))
    assert len(bomb) < 20_000
    assert len(decompress(bomb, 10 << 20)) == 10 << 20
    for limit in (0, 1, 100, 1 << 20, (10 << 20) - 1):
        with pytest.raises(LzwError, match=f"at most {limit} bytes"):
            decompress(bomb, limit)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_whatever_comes_in_ends_in_bytes_or_a_refusal(stream: bytes, limit: int) -> None:
    with suppress(LzwError):
        assert len(decompress(stream, limit)) <= limit
