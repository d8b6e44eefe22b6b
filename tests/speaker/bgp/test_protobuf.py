"""The wire of protocol buffers: known bytes, a round trip of whatever there is, and whatever is none."""

from __future__ import annotations

import contextlib
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.bgp import messages
from speaker.bgp.protobuf import Message, decode, encode, varint


class Inner(Message, frozen=True):
    number: Annotated[int, 1] = 0
    text: Annotated[str, 2] = ""


class Outer(Message, frozen=True):
    number: Annotated[int, 1] = 0
    flag: Annotated[bool, 2] = False
    text: Annotated[str, 3] = ""
    raw: Annotated[bytes, 4] = b""
    inner: Annotated[Inner | None, 5] = None
    numbers: Annotated[tuple[int, ...], 6] = ()
    texts: Annotated[tuple[str, ...], 7] = ()
    inners: Annotated[tuple[Inner, ...], 200] = ()


class Less(Message, frozen=True):
    flag: Annotated[bool, 2] = False


NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
INNERS = st.builds(Inner, NUMBERS, TEXTS)
OUTERS = st.builds(
    Outer, NUMBERS, st.booleans(), TEXTS, st.binary(max_size=200), st.none() | INNERS,
    st.lists(NUMBERS).map(tuple), st.lists(TEXTS).map(tuple), st.lists(INNERS).map(tuple),
)  # fmt: skip


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (Outer(), b""),
        (Outer(number=150), b"\x08\x96\x01"),  # the example of the specification
        (Outer(number=-1), b"\x08" + b"\xff" * 9 + b"\x01"),
        (Outer(text="testing"), b"\x1a\x07testing"),
        (Outer(inner=Inner()), b"\x2a\x00"),  # it is there, and empty
        (Outer(inner=Inner(number=150)), b"\x2a\x03\x08\x96\x01"),
        (Outer(numbers=(3, 270, 86942)), b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"),
        (Outer(texts=("a", "")), b"\x3a\x01a\x3a\x00"),
        (Outer(inners=(Inner(),)), b"\xc2\x0c\x00"),
    ],
)
def test_bytes_are_those_of_the_specification(message: Outer, written: bytes) -> None:
    assert encode(message) == written
    assert decode(Outer, written) == message


@given(OUTERS)
def test_what_is_written_is_read(message: Outer) -> None:
    assert decode(Outer, encode(message)) == message


@given(OUTERS)
def test_what_is_not_known_is_skipped(message: Outer) -> None:
    assert decode(Less, encode(message)) == Less(message.flag)


def test_numbers_are_read_packed_or_one_by_one_and_the_last_of_one_counts() -> None:
    assert decode(Outer, b"\x30\x01\x32\x02\x02\x03\x30\x04").numbers == (1, 2, 3, 4)
    assert decode(Outer, b"\x08\x01\x08\x02").number == 2
    assert decode(Less, b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x10\x01").flag


@pytest.mark.parametrize(
    "data",
    [
        b"\x08", b"\x08\x80", b"\x08" + b"\xff" * 10, b"\x1a\x05abc", b"\x1a", b"\x1a\xff\xff\xff\xff\x0f", b"\x0b",
        b"\x0f", b"\x09\x00", b"\x18\x01", b"\x28\x01", b"\x0a\x01\x01", b"\x1a\x01\xff", b"\x2a\x02\x08\x80",
        b"\x32\x01\x80", b"\x10" * 1,
    ],
)  # fmt: skip
def test_what_is_no_message_is_said_so(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|utf-8"):
        decode(Outer, data)


@given(st.binary(max_size=300))
def test_nothing_but_a_value_error_comes_of_noise(data: bytes) -> None:
    for kind in (Outer, messages.ListPathResponse, messages.ListPeerResponse, messages.ListPolicyResponse):
        with contextlib.suppress(ValueError):
            decode(kind, data)


def test_messages_nested_without_end_are_refused() -> None:
    data = b""
    for _ in range(40):
        data = b"\x0a" + varint(len(data)) + data
    with pytest.raises(ValueError, match="in each other"):
        decode(_Nested, data)


class _Nested(Message, frozen=True):
    inner: Annotated[_Nested | None, 1] = None


@given(NUMBERS)
def test_varints_are_as_short_as_can_be(number: int) -> None:
    length = max(1, -((number % (1 << 64)).bit_length() // -7))
    assert len(varint(number)) == length
