"""Streams: what is framed comes back however it is cut, and hostile streams end in a refusal."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from itertools import product

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.gossip.keys import Key
from arpfast.gossip.messages import Ack, Err, NodeState, Ping, WireError, encode, packed
from arpfast.gossip.streams import (
    NODES_AT_MOST,
    STREAM_AT_MOST,
    PushPull,
    Reading,
    StreamMessage,
    User,
    framed,
    push_pull,
    user,
)
from arpfast.gossip.wire import Wire, compressed

KEY = Key(bytes(range(32)))
NODE = NodeState("a", bytes([192, 0, 2, 1]), 7946, b"meta", 3, 0, bytes([1, 5, 2, 0, 0, 0]))
STATE = PushPull((NODE, NODE), b"what the user adds", join=True)
MESSAGES: list[tuple[StreamMessage, bytes]] = [
    (Ping(7, "a"), encode(Ping(7, "a"))),
    (Ack(7), encode(Ack(7))),
    (Err("no"), encode(Err("no"))),
    (User(b"payload"), user(b"payload")),
    (User(b""), user(b"")),
    (STATE, push_pull([packed(NODE)] * 2, STATE.user_state, join=True)),
    (PushPull((), b"", join=False), push_pull([], b"", join=False)),
]
WIRES = [
    (label, keys, small) for label, keys, small in product(["", "ring"], [(), (KEY,)], [False, True])
]  # fmt: skip


def read(wire: Wire, data: bytes, *, reply: bool = False, chunk: int = 1 << 16) -> StreamMessage | None:
    reading = Reading(wire, reply=reply)
    for at in range(0, len(data), chunk):
        if (message := reading.feed(data[at : at + chunk])) is not None:
            return message
    return None


@pytest.mark.parametrize(("label", "keys", "small"), WIRES)
@pytest.mark.parametrize(("message", "raw"), MESSAGES, ids=lambda value: type(value).__name__)
def test_what_was_framed_comes_back(
    label: str, keys: tuple[Key, ...], small: bool, message: StreamMessage, raw: bytes
) -> None:
    wire = Wire(label, keys, compress=small)
    for reply in (False, True):
        data = framed(wire, raw, reply=reply)
        for chunk in (1 << 16, len(data) // 2 + 1, 7):
            assert read(wire, data, reply=reply, chunk=chunk) == message
        assert data.startswith(b"\xf4\x04ring") == (bool(label) and not reply)


def test_invariant_1_a_compressed_stream_is_read_even_if_we_would_not_compress() -> None:
    assert read(Wire(), compressed(MESSAGES[5][1])) == STATE


def test_a_large_state_comes_back() -> None:
    nodes = [NodeState(f"node-{n}", bytes([10, 0, n >> 8, n & 255]), 7946, bytes(512), 1, 0, b"") for n in range(5000)]
    message = push_pull([packed(node) for node in nodes], bytes(1 << 20), join=False)
    for wire in (Wire(compress=True), Wire(keys=[KEY])):
        back = read(wire, framed(wire, message))
        assert back == PushPull(tuple(nodes), bytes(1 << 20), join=False)


def test_what_is_too_large_is_not_framed() -> None:
    with pytest.raises(ValueError, match=f"at most {STREAM_AT_MOST} bytes for a stream"):
        framed(Wire(), user(bytes(STREAM_AT_MOST)))


def header(**fields: int | bool) -> bytes:
    return bytes([6, *msgpack.packb(fields)])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x63", "type 99"),
        (b"\x07", "type 7"),
        (b"\x0a\0\0\0\x20", "since we have no key"),
        (b"\xf4\x04ring\x00", "expected the label none, not 'ring'"),
        (b"\xf4\x00\x00", "label of 1 to 255 bytes"),
        (b"\x06\x90", "expected a map for PushPullHeader, not list"),
        (b"\x06\xc1", "expected msgpack"),
        (b"\x06" + b"\x91" * 5000, "expected msgpack"),
        (header(Nodes=-1), "of 31 bits, not -1"),
        (header(Nodes=1 << 62), "of 31 bits"),
        (header(Nodes=NODES_AT_MOST + 1), f"at most {NODES_AT_MOST} members"),
        (header(UserStateLen=-5), "of 31 bits, not -5"),
        (header(UserStateLen=STREAM_AT_MOST + 1), "of user state"),
        (b"\x08" + msgpack.packb({"UserMsgLen": (1 << 31) - 1}), "for a user message"),
        (b"\x08" + msgpack.packb({"UserMsgLen": -1}), "of 31 bits"),
        (b"\x00\xdd\xff\xff\xff\xff", "expected msgpack"),
        (compressed(b""), "not an empty one"),
        (compressed(b"\x06"), "not part of one"),
        (compressed(MESSAGES[5][1][:-1]), "not part of one"),
        (compressed(compressed(b"\x00\x80")), "type 9"),
        (compressed(bytes(17 << 20)), f"at most {STREAM_AT_MOST} bytes"),
    ],
)
def test_invariant_2_what_is_no_stream_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        read(Wire(), data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (MESSAGES[0][1], "not a plain one"),
        (b"\x0a" + struct.pack(">I", STREAM_AT_MOST + 1), f"at most {STREAM_AT_MOST} bytes"),
        (b"\x0a\0\0\0\0", "version 0 or 1, not none"),
        (b"\x0a\0\0\0\x05\x01abcd", "at least 29 bytes"),
        (framed(Wire(keys=[Key(bytes(16))]), MESSAGES[0][1]), "one of our keys"),
        (framed(Wire(keys=[KEY]), b""), "not part of one"),
        (framed(Wire(keys=[KEY]), b"\x00"), "not part of one"),
    ],
)
def test_invariant_3_with_a_key_only_what_it_opens_is_read(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        read(Wire(keys=[KEY]), data)


def test_a_stream_for_another_ring_is_refused_and_a_reply_carries_no_label() -> None:
    with pytest.raises(WireError, match="expected the label 'ring', not ''"):
        read(Wire("ring"), framed(Wire(), MESSAGES[0][1]))
    with pytest.raises(WireError, match="type 244"):
        read(Wire("ring"), framed(Wire("ring"), MESSAGES[1][1]), reply=True)


def test_invariant_2_the_end_of_the_stream_before_that_of_the_message_is_a_fault() -> None:
    reading = Reading(Wire())
    assert reading.feed(MESSAGES[5][1][:-1]) is None
    with pytest.raises(WireError, match="before the end of the stream"):
        reading.feed(b"")


def test_invariant_2_crumbs_are_not_waited_for() -> None:
    reading = Reading(Wire())
    reading.feed(b"\x06")
    with pytest.raises(WireError, match="not in crumbs"):
        feed_all(reading, [b"\x91"] * 100)


def feed_all(reading: Reading, pieces: list[bytes]) -> None:
    for piece in pieces:
        reading.feed(piece)


def test_invariant_2_a_stream_holds_no_more_than_it_has_sent() -> None:
    reading = Reading(Wire())
    reading.feed(b"\x06" + msgpack.packb({"Nodes": 0, "UserStateLen": STREAM_AT_MOST - 10}))
    tracemalloc.start()
    try:
        reading.feed(bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    with pytest.raises(WireError, match="bytes on a stream"):
        feed_all(reading, [bytes(1 << 20)] * 8)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0, 2, 6, 8, 9, 10, 13, 244]), st.binary(max_size=60), st.integers(1, 70))
def test_invariant_2_whatever_comes_in_ends_in_a_message_or_a_refusal(kind: int, body: bytes, chunk: int) -> None:
    for wire in (Wire(), Wire("a"), Wire(keys=[KEY]), Wire("a", [KEY])):
        for data in (bytes([kind]) + body, wire.header + bytes([kind]) + body, framed(wire, bytes([kind]) + body)):
            for reply in (False, True):
                with suppress(WireError):
                    read(wire, data, reply=reply, chunk=chunk)
