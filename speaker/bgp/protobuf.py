"""Protocol buffers (proto3's wire), as far as the daemon's API needs them: a message is a Struct with numbered fields.

    class Family(Message, frozen=True):
        afi: Annotated[int, 1] = 0
        safi: Annotated[int, 2] = 0

A field is an `int` (any varint: enums, signed and unsigned), a `bool`, a `str`, `bytes`, a message (or None: absent),
or a tuple of any of these but `bool`. What has its default value is not written; a message is, even if it is empty, for
in a `oneof` its presence is what counts. Fields without a number here are skipped when they are read. What comes from
the daemon is not trusted: ValueError for whatever is no message.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_WRAP = 1 << 64
_DEPTH_AT_MOST = 32


class Message(msgspec.Struct, frozen=True):
    """A message."""


M = TypeVar("M", bound=Message)


class _Field(NamedTuple):
    name: str
    number: int
    kind: type[Any]
    repeated: bool

    @property
    def wire(self) -> int:
        return VARINT if self.kind in (int, bool) and not self.repeated else LENGTH


def encode(message: Message) -> bytes:
    """As it goes over the wire."""
    out = bytearray()
    _write(message, out)
    return bytes(out)


def decode(kind: type[M], data: bytes) -> M:
    """Read a message of this kind. Raises ValueError if it is none."""
    return _read(kind, data, 0, len(data), 0)


def _write(message: Message, out: bytearray) -> None:
    for name, tag, put in _writers(type(message)):
        value = getattr(message, name)
        if value or isinstance(value, Message):
            put(value, tag, out)


@cache
def _writers(kind: type[Message]) -> tuple[tuple[str, bytes, Callable[[Any, bytes, bytearray], None]], ...]:
    return tuple((field.name, varint(field.number << 3 | field.wire), _writer(field)) for field in _fields(kind))


def _writer(field: _Field) -> Callable[[Any, bytes, bytearray], None]:
    if field.wire == VARINT:
        return _put_int
    one = _put_message if issubclass(field.kind, Message) else _put_text if field.kind is str else _put_bytes
    if not field.repeated:
        return one
    if field.kind is int:
        return _put_packed

    def each(values: tuple[Any, ...], tag: bytes, out: bytearray) -> None:
        for value in values:
            one(value, tag, out)

    return each


def _put_int(value: int, tag: bytes, out: bytearray) -> None:
    out += tag
    out += varint(value)


def _put_bytes(value: bytes | bytearray, tag: bytes, out: bytearray) -> None:
    out += tag
    out += varint(len(value))
    out += value


def _put_text(value: str, tag: bytes, out: bytearray) -> None:
    _put_bytes(value.encode(), tag, out)


def _put_message(value: Message, tag: bytes, out: bytearray) -> None:
    inner = bytearray()
    _write(value, inner)
    _put_bytes(inner, tag, out)


def _put_packed(values: tuple[int, ...], tag: bytes, out: bytearray) -> None:
    _put_bytes(b"".join(map(varint, values)), tag, out)


def varint(value: int) -> bytes:
    """Seven bits a byte, least first; what is negative as 64 bits of two's complement."""
    if 0 <= value < 0x80:
        return value.to_bytes(1)
    value %= _WRAP
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@cache
def _fields(kind: type[Message]) -> tuple[_Field, ...]:
    fields = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner, number = get_args(hint)
        repeated = get_origin(inner) is tuple
        if repeated:
            inner = get_args(inner)[0]
        elif get_args(inner):  # X | None
            inner = next(each for each in get_args(inner) if each is not type(None))
        fields.append(_Field(name, number, inner, repeated))
    return tuple(fields)


@cache
def _by_number(kind: type[Message]) -> dict[int, _Field]:
    return {field.number: field for field in _fields(kind)}


def _read(kind: type[M], data: bytes, at: int, end: int, depth: int) -> M:
    """The message between two places."""
    if depth > _DEPTH_AT_MOST:
        raise ValueError(f"expected at most {_DEPTH_AT_MOST} messages in each other")
    fields, values = _by_number(kind), dict[str, Any]()
    while at < end:
        key, at = _read_varint(data, at, end)
        wire, field = key & 7, fields.get(key >> 3)
        if wire == VARINT:
            number, at = _read_varint(data, at, end)
            if field is not None:
                _take(field, values, _number(field, number))
            continue
        if wire == LENGTH:
            length, at = _read_varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            length, field = 8 if wire == FIXED64 else 4, None
        else:
            raise ValueError(f"expected a wire type of protocol buffers, not {wire}")
        if at + length > end:
            raise ValueError(f"expected {length} bytes, not {end - at}")
        if field is not None:
            _take(field, values, _content(field, data, at, at + length, depth))
        at += length
    return kind(**values)


def _take(field: _Field, values: dict[str, Any], value: Any) -> None:
    if not field.repeated:
        values[field.name] = value
    elif field.kind is int:
        values[field.name] = (*values.get(field.name, ()), *value)
    else:
        values[field.name] = (*values.get(field.name, ()), value)


def _number(field: _Field, number: int) -> Any:
    if field.kind is bool:
        return bool(number)
    if field.kind is not int:
        raise ValueError(f"expected {field.kind.__name__} as {field.name}, not a number")
    return (_signed(number),) if field.repeated else _signed(number)


def _content(field: _Field, data: bytes, at: int, end: int, depth: int) -> Any:
    kind = field.kind
    if kind is str:
        return data[at:end].decode()
    if kind is bytes:
        return data[at:end]
    if issubclass(kind, Message):
        return _read(kind, data, at, end, depth + 1)
    if not field.repeated:
        raise ValueError(f"expected a number as {field.name}, not {end - at} bytes")
    numbers = []
    while at < end:
        number, at = _read_varint(data, at, end)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - _WRAP if number >= _WRAP >> 1 else number


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    for place in range(at, min(at + 10, end)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _WRAP, place + 1
        shift += 7
    raise ValueError("expected the end of a number")
