"""The messages of a ring: one type byte, then a msgpack map keyed by the field names that the peers use.

The dialect is the old one, in which text and bytes are both "raw"; newer encodings of either are read too. Unknown keys
are ignored, missing or nil ones are zero. Whatever bytes come in, a message comes out or WireError says why not.
Pure; all sizes are bounded by the bytes that came in, except where a limit is said.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_AT_MOST = 255
META_AT_MOST = 512
INCARNATION_AT_MOST = 0xFFFFFFFF


class Cause(StrEnum):
    """What kind of fault in what came in; a counter each."""

    LABEL = "label"  # of another ring
    KEY = "key"  # sealed with a key that is not ours, or not sealed though we have keys, or sealed though we have none
    MALFORMED = "malformed"
    TOO_LARGE = "too large"


class WireError(ValueError):
    """Bytes from outside that are no message for us, and why."""

    def __init__(self, cause: Cause, why: str) -> None:
        """`why` is a sentence for a person."""
        super().__init__(why)
        self.cause = cause


class Kind(IntEnum):
    """The first byte of a message, or of a layer around messages."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    CRC = 12
    ERR = 13
    LABEL = 244


class Ping(Struct, frozen=True, gc=False):
    """Are you there? The answer goes to the source that it names, if it names one."""

    sequence: int
    node: str
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


class IndirectPing(Struct, frozen=True, gc=False):
    """Ask `target` for me whether it is there; say so even if it is not (`nack`)."""

    sequence: int
    target: bytes
    port: int
    node: str
    nack: bool = False
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


class Ack(Struct, frozen=True, gc=False):
    """Here I am; or, of an indirect ping, it is there."""

    sequence: int
    payload: bytes = b""


class Nack(Struct, frozen=True, gc=False):
    """I asked it for you, and heard nothing."""

    sequence: int


class Suspect(Struct, frozen=True, gc=False):
    """`sender` did not get an answer from `node`."""

    incarnation: int
    node: str
    sender: str


class Alive(Struct, frozen=True, gc=False):
    """`node` is there, says itself with this incarnation."""

    incarnation: int
    node: str
    address: bytes
    port: int
    meta: bytes = b""
    versions: bytes = b""


class Dead(Struct, frozen=True, gc=False):
    """`node` is gone, finds `sender`; has left, if that is the node itself."""

    incarnation: int
    node: str
    sender: str


class Err(Struct, frozen=True, gc=False):
    """On a stream: what the other side could not make of our request."""

    error: str


class NodeState(Struct, frozen=True, gc=False):
    """One member as a push/pull describes it."""

    name: str
    address: bytes
    port: int
    meta: bytes
    incarnation: int
    state: int
    versions: bytes


class PushPullHeader(Struct, frozen=True, gc=False):
    """What follows it on the stream: so many node states, then so many bytes."""

    nodes: int
    user_state_bytes: int
    join: bool


class CompressedHeader(Struct, frozen=True, gc=False):
    """The layer `COMPRESS`."""

    algorithm: int
    buffer: bytes


class UserHeader(Struct, frozen=True, gc=False):
    """On a stream: so many bytes follow."""

    user_bytes: int


Message = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | Err
Part = Message | NodeState | PushPullHeader | CompressedHeader | UserHeader
P = TypeVar("P", bound=Part)


def _seen(value: object) -> str:
    return str(value) if type(value) is int else type(value).__name__


def _unsigned(bits: int) -> Callable[[object], int]:
    top = 1 << bits

    def check(value: object) -> int:
        if type(value) is int and 0 <= value < top:
            return value
        if value is None:
            return 0
        raise WireError(Cause.MALFORMED, f"expected an unsigned number of {bits} bits, not {_seen(value)}")

    return check


def _raw(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    raise WireError(Cause.MALFORMED, f"expected bytes, not {type(value).__name__}")


def _meta(value: object) -> bytes:
    meta = _raw(value)
    if len(meta) > META_AT_MOST:
        raise WireError(Cause.TOO_LARGE, f"expected at most {META_AT_MOST} bytes of meta, not {len(meta)}")
    return meta


def _text(value: object) -> str:
    return _raw(value).decode("utf-8", "surrogateescape")


def _name(value: object) -> str:
    if len(raw := _raw(value)) > NAME_AT_MOST:
        raise WireError(Cause.TOO_LARGE, f"expected a name of at most {NAME_AT_MOST} bytes, not {len(raw)}")
    return raw.decode("utf-8", "surrogateescape")


def _flag(value: object) -> bool:
    if value is True or value is False:
        return value
    if value is None:
        return False
    raise WireError(Cause.MALFORMED, f"expected true or false, not {type(value).__name__}")


_U16, _U32 = _unsigned(16), _unsigned(32)
_COUNT = _unsigned(31)
_SOURCE = ((b"SourceAddr", _raw), (b"SourcePort", _U16), (b"SourceNode", _name))

# In the order of the fields above: the key on the wire, and what turns its value into ours.
_FIELDS: dict[type[Any], tuple[tuple[bytes, Callable[[object], Any]], ...]] = {
    Ping: ((b"SeqNo", _U32), (b"Node", _name), *_SOURCE),
    IndirectPing: (
        (b"SeqNo", _U32), (b"Target", _raw), (b"Port", _U16), (b"Node", _name), (b"Nack", _flag), *_SOURCE,
    ),
    Ack: ((b"SeqNo", _U32), (b"Payload", _raw)),
    Nack: ((b"SeqNo", _U32),),
    Suspect: ((b"Incarnation", _U32), (b"Node", _name), (b"From", _name)),
    Alive: (
        (b"Incarnation", _U32), (b"Node", _name), (b"Addr", _raw), (b"Port", _U16), (b"Meta", _meta), (b"Vsn", _raw),
    ),
    Dead: ((b"Incarnation", _U32), (b"Node", _name), (b"From", _name)),
    Err: ((b"Error", _text),),
    NodeState: (
        (b"Name", _name), (b"Addr", _raw), (b"Port", _U16), (b"Meta", _meta), (b"Incarnation", _U32),
        (b"State", _U16), (b"Vsn", _raw),
    ),
    PushPullHeader: ((b"Nodes", _COUNT), (b"UserStateLen", _COUNT), (b"Join", _flag)),
    CompressedHeader: ((b"Algo", _U16), (b"Buf", _raw)),
    UserHeader: ((b"UserMsgLen", _COUNT),),
}  # fmt: skip

CLASSES: dict[int, type[Message]] = {
    Kind.PING: Ping,
    Kind.INDIRECT_PING: IndirectPing,
    Kind.ACK: Ack,
    Kind.NACK: Nack,
    Kind.SUSPECT: Suspect,
    Kind.ALIVE: Alive,
    Kind.DEAD: Dead,
    Kind.ERR: Err,
}
_BYTES = {cls: bytes([kind]) for kind, cls in CLASSES.items()}
# Left out when empty, as the peers do.
_OPTIONAL = frozenset({"SourceAddr", "SourcePort", "SourceNode"})
_NAMES: dict[type[Any], tuple[tuple[str, str], ...]] = {
    cls: tuple(sorted((key.decode(), field) for (key, _), field in zip(fields, cls.__struct_fields__, strict=True)))
    for cls, fields in _FIELDS.items()
}
_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


def packed(part: Part) -> bytes:
    """The msgpack map of a message or header, without a type byte."""
    fields = {}
    for key, field in _NAMES[type(part)]:
        value = getattr(part, field)
        if value or key not in _OPTIONAL:
            fields[key] = value
    whole: bytes = _packer.pack(fields)
    return whole


def encode(message: Message) -> bytes:
    """The message as it goes into a packet or onto a stream: type byte and map."""
    return _BYTES[type(message)] + packed(message)


def convert(fields: object, cls: type[P]) -> P:
    """The part of this class that a decoded msgpack map describes. Raises WireError."""
    if type(fields) is not dict:
        raise WireError(Cause.MALFORMED, f"expected a map for {cls.__name__}, not {type(fields).__name__}")
    get = fields.get
    return cls(*[check(get(key)) for key, check in _FIELDS[cls]])


def unpacked(body: bytes) -> object:
    """The msgpack object at the start of `body`; what follows it is ignored, as the peers do. Raises WireError."""
    try:
        found: object = msgpack.unpackb(body, raw=True)
    except msgpack.ExtraData as more:
        found = more.unpacked
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError(Cause.MALFORMED, f"expected msgpack: {error}") from None
    return found


def decode(message: bytes) -> Message:
    """The message that a type byte and a map make. Raises WireError."""
    cls = CLASSES.get(message[0]) if message else None
    if cls is None:
        raise WireError(Cause.MALFORMED, f"expected a message, not one of type {message[:1].hex() or 'nothing'}")
    return convert(unpacked(message[1:]), cls)
