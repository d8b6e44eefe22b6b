"""What goes over a stream: one request and, for some, one answer; then it is closed.

The one who dials writes the label first; after that, and in the answer, comes a type byte and its message, compressed
or not, the whole of it sealed or not. `Reading` takes the bytes as they come. What one stream may send, what that may
unpack to, and how often a message is looked at that does not get complete are bounded. Pure.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

import msgpack
from msgspec import Struct

from arpfast.gossip.keys import OVERHEAD
from arpfast.gossip.messages import (
    CLASSES,
    Cause,
    CompressedHeader,
    Kind,
    Message,
    NodeState,
    Part,
    PushPullHeader,
    UserHeader,
    WireError,
    convert,
    packed,
)
from arpfast.gossip.wire import compressed, decompressed

if TYPE_CHECKING:
    from collections.abc import Generator

    from arpfast.gossip.wire import Wire

STREAM_AT_MOST = 8 << 20
"""Of what comes, and of what that unpacks to: enough for more than ten thousand members."""
NODES_AT_MOST = 1 << 14
LOOKS, LOOKS_PER_BYTES = 64, 1024
"""So often a message that is not complete is looked at: a peer's arrives in few pieces, not byte by byte."""
P = TypeVar("P", bound=Part)


class PushPull(Struct, frozen=True):
    """One side's whole view: every member, and what the user of the ring adds."""

    nodes: tuple[NodeState, ...]
    user_state: bytes
    join: bool


class User(Struct, frozen=True):
    """A message of the ring's user."""

    payload: bytes


StreamMessage = Message | PushPull | User


def push_pull(nodes: list[bytes], user_state: bytes, *, join: bool) -> bytes:
    """The message of a push/pull; `nodes` are node states, packed."""
    header = packed(PushPullHeader(len(nodes), len(user_state), join))
    return bytes([Kind.PUSH_PULL]) + header + b"".join(nodes) + user_state


def user(payload: bytes) -> bytes:
    """A user message, as it goes over a stream."""
    return bytes([Kind.USER]) + packed(UserHeader(len(payload))) + payload


def framed(wire: Wire, message: bytes, *, reply: bool = False) -> bytes:
    """The bytes of a request or a reply. Raises ValueError when it is more than a stream may carry."""
    if wire.compress and len(smaller := compressed(message)) < len(message):
        message = smaller
    if wire.keyring:
        header = struct.pack(">BI", Kind.ENCRYPT, len(message) + OVERHEAD)
        message = header + wire.keyring.seal(message, header + wire.label)
    if len(message) > STREAM_AT_MOST:
        raise ValueError(f"expected at most {STREAM_AT_MOST} bytes for a stream, not {len(message)}")
    return message if reply else wire.header + message


class Reading:
    """What has come of one message on a stream."""

    def __init__(self, wire: Wire, *, reply: bool = False) -> None:
        """Expect a request, or the reply to one."""
        self.held = 0
        """Bytes that have come so far."""
        self._steps = _read(wire, labelled=not reply)
        next(self._steps)

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take the next bytes, none at the end of the stream. The message once it is complete, which is the end of
        it; raises WireError for what will never be one.
        """
        self.held += len(data)
        if self.held > STREAM_AT_MOST:
            raise WireError(Cause.TOO_LARGE, f"expected at most {STREAM_AT_MOST} bytes on a stream")
        if not data:
            raise WireError(Cause.MALFORMED, "expected a whole message before the end of the stream")
        try:
            self._steps.send(data)
        except StopIteration as done:
            message: StreamMessage = done.value
            return message
        return None


class _Source:
    """Bytes as they come, or all that there will be (`complete`)."""

    def __init__(self, data: bytes = b"", *, complete: bool = False) -> None:
        self.complete = complete
        self.looks_left = float(LOOKS)
        self.unpacker = msgpack.Unpacker(
            raw=True, max_buffer_size=2 * STREAM_AT_MOST, max_str_len=STREAM_AT_MOST,
            max_bin_len=STREAM_AT_MOST, max_array_len=64, max_map_len=64, max_ext_len=64,
        )  # fmt: skip
        self.unpacker.feed(data)

    def more(self) -> Generator[None, bytes, None]:
        if self.complete:
            raise WireError(Cause.MALFORMED, "expected a whole message, not part of one")
        data = yield
        self.looks_left += len(data) / LOOKS_PER_BYTES - 1
        if self.looks_left < 0:
            raise WireError(Cause.MALFORMED, "expected a message in pieces of some size, not in crumbs")
        self.unpacker.feed(data)

    def take(self, length: int) -> Generator[None, bytes, bytes]:
        pieces = []
        while length > 0:
            piece = self.unpacker.read_bytes(length)
            if piece:
                pieces.append(piece)
                length -= len(piece)
            else:
                yield from self.more()
        return b"".join(pieces)

    def part(self, cls: type[P]) -> Generator[None, bytes, P]:
        while True:
            try:
                found = self.unpacker.unpack()
            except msgpack.OutOfData:
                yield from self.more()
            except (ValueError, TypeError, OverflowError) as error:
                raise WireError(Cause.MALFORMED, f"expected msgpack: {error}") from None
            else:
                return convert(found, cls)


def _read(wire: Wire, *, labelled: bool) -> Generator[None, bytes, StreamMessage]:
    source = _Source()
    (kind,) = yield from source.take(1)
    if labelled:
        label = b""
        if kind == Kind.LABEL:
            (length,) = yield from source.take(1)
            label = yield from source.take(length)
            if not label:
                raise WireError(Cause.MALFORMED, "expected a label of 1 to 255 bytes")
            (kind,) = yield from source.take(1)
        wire.check_label(label)
    if kind == Kind.ENCRYPT:
        if not wire.keyring:
            raise WireError(Cause.KEY, "expected a plain stream, since we have no key, not a sealed one")
        size = yield from source.take(4)
        (length,) = struct.unpack(">I", size)
        if length > STREAM_AT_MOST:
            raise WireError(Cause.TOO_LARGE, f"expected at most {STREAM_AT_MOST} bytes on a stream, not {length}")
        sealed = yield from source.take(length)
        plain = wire.keyring.open(sealed, bytes([kind]) + size + wire.label)
        source = _Source(plain, complete=True)
        (kind,) = yield from source.take(1)
    elif wire.keyring:
        raise WireError(Cause.KEY, "expected a stream sealed with one of our keys, not a plain one")
    if kind == Kind.COMPRESS:
        header = yield from source.part(CompressedHeader)
        source = _Source(decompressed(header, STREAM_AT_MOST), complete=True)
        (kind,) = yield from source.take(1)
    return (yield from _read_message(kind, source))


def _read_message(kind: int, source: _Source) -> Generator[None, bytes, StreamMessage]:
    if kind == Kind.PUSH_PULL:
        header = yield from source.part(PushPullHeader)
        if header.nodes > NODES_AT_MOST:
            raise WireError(Cause.TOO_LARGE, f"expected at most {NODES_AT_MOST} members, not {header.nodes}")
        if header.user_state_bytes > STREAM_AT_MOST:
            raise WireError(Cause.TOO_LARGE, f"expected at most {STREAM_AT_MOST} bytes of user state")
        nodes = []
        for _ in range(header.nodes):
            nodes.append((yield from source.part(NodeState)))  # noqa: PERF401 (a comprehension can not yield)
        user_state = yield from source.take(header.user_state_bytes)
        return PushPull(tuple(nodes), user_state, header.join)
    if kind == Kind.USER:
        length = (yield from source.part(UserHeader)).user_bytes
        if length > STREAM_AT_MOST:
            raise WireError(Cause.TOO_LARGE, f"expected at most {STREAM_AT_MOST} bytes for a user message")
        return User((yield from source.take(length)))
    cls = CLASSES.get(kind)
    if cls is None:
        raise WireError(Cause.MALFORMED, f"expected a message, not one of type {kind}")
    return (yield from source.part(cls))
