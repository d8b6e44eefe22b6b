"""What a member says of itself: one value, published whole, replaced by the next one.

A standing travels as a user message of the gossip and in every exchange of whole states, so a lost one is made up for.
The serial orders the standings of one member, also across its restarts: it starts from the wall clock, and a member
that meets a later one of its own jumps over it. Claims are spans by epoch, written as distances and lengths, since a
share of a pool elected address by address is many short runs: a third of a /22 fits a packet.

Hostile bytes end in ValueError, never in memory: what a message holds is bounded by its length.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.election import WEIGHT_AT_MOST
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arpfast.spans import Version

META = b"arpfast/1"
"""What a member's gossip meta begins with, if it publishes standings; MetalLB's speakers have none."""

Claims = dict[int, Spans]
"""Disjoint spans by epoch: what is claimed, and by which change of hands."""

Links = dict[bytes, Spans]
"""Networks by the hardware address that is reached on them."""


def united(claims: Claims) -> Spans:
    """All that is claimed, by whatever epoch."""
    if len(claims) == 1:
        return next(iter(claims.values()))
    return Spans(span for spans in claims.values() for span in spans)


def holders(claims: Mapping[str, Claims], within: Spans | None = None) -> dict[str, Spans]:
    """Who holds what (of these): of several claims to one address, by member, the one with the best right."""
    found: dict[str, Spans] = {}
    held = Spans()
    ranked = [(-epoch, name, spans) for name, each in claims.items() for epoch, spans in each.items()]
    for _, name, claimed in sorted(ranked, key=itemgetter(0, 1)):
        spans = claimed if within is None else claimed & within
        found[name] = found.get(name, Spans()) | (spans - held)
        held |= spans
    return found


class Standing(msgspec.Struct, frozen=True, dict=True):
    """What a member says of itself."""

    name: str
    serial: int
    weight: int = 100
    preference: int = 0
    drained: bool = False
    holding: bool = False
    """Came (back) lately: takes nothing from others yet."""
    settling: bool = False
    """Has not heard the others yet: claims nothing, and is given nothing."""
    carrier: bool = True
    """At least one of its interfaces in use has a carrier."""
    macs: tuple[bytes, ...] = ()
    """Of its interfaces in use: what it answers with."""
    networks: Spans = Spans()
    """The prefixes that its interfaces in use have, those without a carrier left out if there is another."""
    unhealthy: Spans = Spans()
    """What its health checks say it cannot serve."""
    claims: Claims = msgspec.field(default_factory=dict)
    hears: tuple[str, ...] = ()
    """Members that it hears on the wire, though the ring calls them suspect or dead."""
    unanswered: Spans = Spans()
    """Of what it claims: not answered, since it is still being probed, or another host was found to have it."""
    ceded: Spans = Spans()
    """Of what it claims: another should have it by its own election too, and has not taken it."""
    links: Links = msgspec.field(default_factory=dict)
    """Which of its networks it is reached on at which of its hardware addresses; empty: it does not say."""

    @cached_property
    def owned(self) -> Spans:
        """All that it claims."""
        return united(self.claims)

    @cached_property
    def encoded(self) -> bytes:
        """Its bytes: every exchange of whole states takes them."""
        return _encoded(self)


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    """A standing as it travels. Fields may be added at the end."""

    name: str
    serial: int
    weight: int
    preference: int
    flags: int
    macs: list[bytes]
    networks: tuple[bytes, bytes]
    unhealthy: tuple[bytes, bytes]
    claims: list[tuple[int, bytes, bytes]]
    hears: list[str]
    unanswered: tuple[bytes, bytes] = (b"", b"")
    ceded: tuple[bytes, bytes] = (b"", b"")
    links: list[tuple[bytes, bytes, bytes]] = []


_DRAINED, _HOLDING, _CARRIER, _SETTLING = 1, 2, 4, 8
_NAME_MAX, _MACS_MAX, _HEARS_MAX, _EPOCH_MAX = 255, 256, 1024, 1 << 48
_NOBODY: Mapping[str, int] = MappingProxyType({})
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def encode(standing: Standing) -> bytes:
    """The bytes of one standing."""
    return standing.encoded


def _encoded(standing: Standing) -> bytes:
    flags = (
        (_DRAINED if standing.drained else 0)
        | (_HOLDING if standing.holding else 0)
        | (_CARRIER if standing.carrier else 0)
        | (_SETTLING if standing.settling else 0)
    )
    return _encoder.encode(
        _Wire(
            standing.name,
            standing.serial,
            standing.weight,
            standing.preference,
            flags,
            list(standing.macs),
            _both(standing.networks),
            _both(standing.unhealthy),
            [(epoch, *_both(spans)) for epoch, spans in sorted(standing.claims.items())],
            list(standing.hears),
            _both(standing.unanswered),
            _both(standing.ceded),
            [(mac, *_both(spans)) for mac, spans in sorted(standing.links.items())],
        )
    )


def decode(data: bytes) -> Standing:
    """Read one standing. Raises ValueError for anything that `encode` would not write."""
    return _checked(_read(data))


def decode_news(data: bytes, known: Mapping[str, int]) -> Standing | None:
    """The same, but None, at little cost, if it is not later than the serial that is `known` of its member."""
    wire = _read(data)
    return _checked(wire) if wire.serial > known.get(wire.name, -1) else None


def _read(data: bytes) -> _Wire:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected a standing: {error}") from None


def _checked(wire: _Wire) -> Standing:
    claims: Claims = {}
    seen = Spans()
    for epoch, four, six in wire.claims:
        spans = _spans(four, six)
        if not 0 < epoch < _EPOCH_MAX or epoch in claims or spans & seen:
            raise ValueError("expected each address claimed once, by an epoch within bounds")
        claims[epoch] = spans
        seen |= spans
    if not (
        0 < len(wire.name) <= _NAME_MAX
        and 0 <= wire.serial < 1 << 63
        and 0 <= wire.weight <= WEIGHT_AT_MOST
        and len(wire.macs) <= _MACS_MAX
        and len(wire.links) <= _MACS_MAX
        and all(len(mac) == 6 for mac in (*wire.macs, *(mac for mac, _, _ in wire.links)))
        and len(wire.hears) <= _HEARS_MAX
    ):
        raise ValueError("expected a standing with its fields within bounds")
    return Standing(
        wire.name,
        wire.serial,
        wire.weight,
        wire.preference,
        bool(wire.flags & _DRAINED),
        bool(wire.flags & _HOLDING),
        bool(wire.flags & _SETTLING),
        bool(wire.flags & _CARRIER),
        tuple(wire.macs),
        _spans(*wire.networks),
        _spans(*wire.unhealthy),
        claims,
        tuple(wire.hears),
        _spans(*wire.unanswered),
        _spans(*wire.ceded),
        {mac: _spans(four, six) for mac, four, six in wire.links},
    )


def encode_all(standings: Mapping[str, Standing]) -> bytes:
    """All that is known, for an exchange of whole states."""
    return _encoder.encode([encode(standing) for standing in standings.values()])


def decode_all(data: bytes, known: Mapping[str, int] = _NOBODY) -> Iterator[Standing]:
    """Read what `encode_all` wrote; what is no standing, or no later than what is `known`, is passed over."""
    try:
        encoded: list[Any] = msgspec.msgpack.decode(data, type=list[bytes])
    except (msgspec.DecodeError, RecursionError):
        return
    for one in encoded:
        with contextlib.suppress(ValueError):
            if (standing := decode_news(one, known)) is not None:
                yield standing


def _both(spans: Spans) -> tuple[bytes, bytes]:
    return _packed(spans.of_version(4)), _packed(spans.of_version(6))


def _packed(spans: Spans) -> bytes:
    """Distances and lengths, seven bits a byte, the lowest first (LEB128)."""
    packed = bytearray()
    reached = 0
    for _, first, last in spans:
        _pack(packed, first - reached)
        _pack(packed, last - first)
        reached = last + 1
    return bytes(packed)


def _pack(packed: bytearray, number: int) -> None:
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _spans(four: bytes, six: bytes) -> Spans:
    return Spans([*_unpacked(four, 4), *_unpacked(six, 6)])


def _unpacked(packed: bytes, version: Version) -> Iterator[Span]:
    limit = 1 << (32 if version == 4 else 128)
    numbers: list[int] = []
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 133:
            raise ValueError("expected a number of at most 128 bits")
        if not byte & 0x80:
            numbers.append(number)
            number = shift = 0
    if shift or len(numbers) % 2:
        raise ValueError("expected whole spans")
    reached = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        first = reached + gap
        reached = first + length + 1
        if reached > limit:
            raise ValueError("expected spans within the address family")
        yield Span(version, first, reached - 1)
