"""Messages: the bytes that peers make and read, and the ones that nobody should."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.gossip.messages import (
    Ack,
    Alive,
    Cause,
    Dead,
    Err,
    IndirectPing,
    Message,
    Nack,
    Ping,
    Suspect,
    WireError,
    decode,
    encode,
)

V4 = bytes([127, 0, 0, 1])
SAMPLES: list[tuple[Message, str]] = [
    # As a Go peer sent it.
    (
        Ping(1, "py1", V4, 18010, "go1"),
        (
            "00 85 a4 4e6f6465 a3 707931 a5 5365714e6f 01 aa 536f7572636541646472 a4 7f000001 "
            "aa 536f757263654e6f6465 a3 676f31 aa 536f75726365506f7274 cd 465a"
        ),
    ),
    (Ping(0, ""), "00 82 a4 4e6f6465 a0 a5 5365714e6f 00"),
    (Ack(300), "02 82 a7 5061796c6f6164 a0 a5 5365714e6f cd 012c"),
    (Nack(4294967295), "0b 81 a5 5365714e6f ce ffffffff"),
    (
        Suspect(2, "a", "b"),
        "03 83 a4 46726f6d a1 62 ab 496e6361726e6174696f6e 02 a4 4e6f6465 a1 61",
    ),
    (Dead(2, "a", "a"), "05 83 a4 46726f6d a1 61 ab 496e6361726e6174696f6e 02 a4 4e6f6465 a1 61"),
    (Err("no"), "0d 81 a5 4572726f72 a2 6e6f"),
]


@pytest.mark.parametrize(("message", "raw"), SAMPLES, ids=lambda value: type(value).__name__)
def test_bytes_are_those_of_the_peers(message: Message, raw: str) -> None:
    assert encode(message).hex() == bytes.fromhex(raw).hex()
    assert decode(bytes.fromhex(raw)) == message


names = st.text(max_size=20) | st.just("\udcff not utf-8")
raws = st.binary(max_size=40)
u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
messages = st.one_of(
    st.builds(Ping, u32, names, raws, u16, names),
    st.builds(IndirectPing, u32, raws, u16, names, st.booleans(), raws, u16, names),
    st.builds(Ack, u32, raws),
    st.builds(Nack, u32),
    st.builds(Suspect, u32, names, names),
    st.builds(Alive, u32, names, raws, u16, raws, raws),
    st.builds(Dead, u32, names, names),
    st.builds(Err, names),
)


@settings(max_examples=200, deadline=None)
@given(messages)
def test_what_was_encoded_comes_back(message: Message) -> None:
    assert decode(encode(message)) == message


def alive(**fields: Any) -> bytes:
    whole = {"Incarnation": 1, "Node": "a", "Addr": V4, "Port": 7946, "Meta": b"", "Vsn": b""} | fields
    return bytes([4, *msgpack.packb(whole, use_bin_type=False)])


A = Alive(1, "a", V4, 7946)


@pytest.mark.parametrize(
    "raw",
    [
        alive(),
        alive(Future=[1, {"x": None}], Other=1.5),
        alive(Meta=None, Vsn=None),
        b"\x04" + msgpack.packb({"Incarnation": 1, "Node": "a", "Addr": V4, "Port": 7946}, use_bin_type=False),
        b"\x04" + msgpack.packb({"Incarnation": 1, "Node": "a", "Addr": V4, "Port": 7946}, use_bin_type=True),
        alive() + b"what follows",
    ],
    ids=["plain", "unknown keys", "nil", "missing", "str and bin", "more bytes"],
)
def test_invariant_1_other_dialects_are_read_too(raw: bytes) -> None:
    assert decode(raw) == A


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not one of type nothing"),
        (b"\x04", "incomplete"),
        (b"\x63\x80", "type 63"),
        (b"\x06\x80", "type 06"),
        (b"\x04\x90", "expected a map for Alive, not list"),
        (b"\x04\xc1", "expected msgpack"),
        (b"\x04" + b"\x91" * 2000, "expected msgpack"),
        (b"\x04\xdf\xff\xff\xff\xff", "expected msgpack"),
        (b"\x04\x81\x90\x01", "expected msgpack"),
        (alive(Incarnation=-1), "of 32 bits, not -1"),
        (alive(Incarnation=1 << 32), "of 32 bits, not 4294967296"),
        (alive(Incarnation="1"), "of 32 bits, not bytes"),
        (alive(Incarnation=True), "of 32 bits, not bool"),
        (alive(Port=65536), "of 16 bits"),
        (alive(Node=5), "expected bytes, not int"),
        (alive(Node="n" * 256), "a name of at most 255 bytes, not 256"),
        (alive(Meta=bytes(513)), "at most 512 bytes of meta, not 513"),
    ],
)
def test_invariant_2_what_is_no_message_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why) as refused:
        decode(raw)
    assert refused.value.cause in {Cause.MALFORMED, Cause.TOO_LARGE}


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([0, 1, 2, 3, 4, 5, 11, 13]), st.binary(max_size=100))
def test_invariant_2_whatever_comes_in_ends_in_a_message_or_a_refusal(kind: int, body: bytes) -> None:
    with suppress(WireError):
        decode(bytes([kind]) + body)
