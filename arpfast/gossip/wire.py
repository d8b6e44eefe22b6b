"""The layers around messages in a packet, outermost first: label, seal, checksum, compression, compound.

`Wire` has what a ring agrees on (label, keys) and knows both ways. With keys, what is not sealed with one of them is
refused; the label is plain, and authentic. Whatever bytes come in, messages come out or WireError says why not; how
deep layers nest, how many messages come out of one packet and how much it unpacks to are bounded. Pure.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from arpfast.gossip.keys import OVERHEAD, Keyring
from arpfast.gossip.lzw import LzwError, compress, decompress
from arpfast.gossip.messages import Cause, CompressedHeader, Kind, WireError, convert, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arpfast.gossip.keys import Key

PARTS_AT_MOST = 255
DEPTH_AT_MOST = 4
MESSAGES_AT_MOST = 1024
UNPACKED_AT_MOST = 128 << 10
"""What one packet may grow to, all its compressed parts together; a packet holds 64 KiB at most."""
CRC_BYTES = 5


class Contents(NamedTuple):
    """What was in a packet."""

    messages: list[bytes]
    """Each with its type byte."""
    dropped: int
    """Parts that could not be read, beside those that could."""


class Wire:
    """How packets of one ring are packed and unpacked."""

    def __init__(self, label: str = "", keys: Iterable[Key] = (), *, compress: bool = False) -> None:
        """Raises ValueError for a label that is too long."""
        self.label = label.encode()
        if len(self.label) > 255:
            raise ValueError(f"expected a label of at most 255 bytes, not {len(self.label)}")
        self.header = bytes([Kind.LABEL, len(self.label)]) + self.label if self.label else b""
        self.compress = compress
        self.keyring: Keyring | None = None
        self.set_keys(keys)

    def set_keys(self, keys: Iterable[Key]) -> None:
        """From now on: the first seals, all open; none: everything is plain."""
        self.keyring = Keyring(keys) if (keys := tuple(keys)) else None

    @property
    def overhead(self) -> int:
        """How many bytes the layers add to a packet, without those of a compound."""
        return len(self.header) + CRC_BYTES + (OVERHEAD if self.keyring else 0)

    def pack(self, messages: Sequence[bytes], *, crc: bool) -> bytes:
        """One packet of 1 to 255 messages; with a checksum if the receiver is known to read it."""
        plain = messages[0] if len(messages) == 1 else compound(messages)
        if self.compress and len(smaller := compressed(plain)) < len(plain):
            plain = smaller
        if crc:
            plain = struct.pack(">BI", Kind.CRC, zlib.crc32(plain)) + plain
        if self.keyring:
            plain = self.keyring.seal(plain, self.label)
        return self.header + plain

    def unpack(self, packet: bytes) -> Contents:
        """The messages of a packet. Raises WireError when there are none to be had."""
        plain = self._unlabelled(packet)
        if self.keyring:
            plain = self.keyring.open(plain, self.label)
        if not plain:
            raise WireError(Cause.MALFORMED, "expected a message, not an empty packet")
        if plain[0] == Kind.CRC and len(plain) >= CRC_BYTES:
            (told,) = struct.unpack_from(">I", plain, 1)
            plain = plain[CRC_BYTES:]
            if told != zlib.crc32(plain):
                raise WireError(Cause.MALFORMED, "expected the checksum that the packet has, not another")
        if not plain or plain[0] not in _LAYERS:
            return Contents([plain], 0)
        unpacking = _Unpacking()
        unpacking.take(plain, DEPTH_AT_MOST)
        if unpacking.error is not None and not unpacking.messages:
            raise unpacking.error
        return Contents(unpacking.messages, unpacking.dropped)

    def _unlabelled(self, packet: bytes) -> bytes:
        if packet[:1] != b"\xf4":
            if self.label:
                raise WireError(Cause.LABEL, f"expected the label {self.label.decode()!r}, not none")
            return packet
        if len(packet) < 2 or not packet[1] or len(packet) < 2 + packet[1]:
            raise WireError(Cause.MALFORMED, "expected a label of 1 to 255 bytes")
        self.check_label(packet[2 : 2 + packet[1]])
        return packet[2 + packet[1] :]

    def check_label(self, label: bytes) -> None:
        """Raises WireError for another label than ours."""
        if label != self.label:
            wanted = repr(self.label.decode()) if self.label else "none"
            raise WireError(Cause.LABEL, f"expected the label {wanted}, not {label.decode('utf-8', 'replace')!r:.60}")


def compound(messages: Sequence[bytes]) -> bytes:
    """Several messages as one."""
    count = len(messages)
    assert count <= PARTS_AT_MOST, count
    return struct.pack(f">BB{count}H", Kind.COMPOUND, count, *map(len, messages)) + b"".join(messages)


def compressed(plain: bytes) -> bytes:
    """A message, compressed; it may be longer than before."""
    return bytes([Kind.COMPRESS]) + packed(CompressedHeader(0, compress(plain)))


def decompressed(header: CompressedHeader, at_most: int) -> bytes:
    """What was compressed, not empty. Raises WireError."""
    if header.algorithm != 0:
        raise WireError(Cause.MALFORMED, f"expected the compression 0 (LZW), not {header.algorithm}")
    try:
        plain = decompress(header.buffer, at_most)
    except LzwError as error:
        raise WireError(Cause.MALFORMED, str(error)) from None
    if not plain:
        raise WireError(Cause.MALFORMED, "expected a compressed message, not an empty one")
    return plain


_LAYERS = frozenset({Kind.COMPOUND, Kind.COMPRESS})


class _Unpacking:
    """The layers of one packet, opened within its bounds."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.dropped = 0
        self.error: WireError | None = None
        self._room = UNPACKED_AT_MOST

    def take(self, part: bytes, depth: int) -> None:
        if not part:
            self._drop(WireError(Cause.MALFORMED, "expected a message, not nothing"))
        elif part[0] not in _LAYERS:
            if len(self.messages) < MESSAGES_AT_MOST:
                self.messages.append(part)
            else:
                self._drop(WireError(Cause.TOO_LARGE, f"expected at most {MESSAGES_AT_MOST} messages in a packet"))
        elif depth == 0:
            self._drop(WireError(Cause.TOO_LARGE, f"expected layers at most {DEPTH_AT_MOST} deep"))
        elif part[0] == Kind.COMPOUND:
            self._take_compound(part, depth - 1)
        else:
            try:
                header = convert(unpacked(part[1:]), CompressedHeader)
                plain = decompressed(header, self._room)
            except WireError as error:
                self._drop(error)
            else:
                self._room -= len(plain)
                self.take(plain, depth - 1)

    def _take_compound(self, part: bytes, depth: int) -> None:
        count = part[1] if len(part) > 1 else 0
        at = 2 + 2 * count
        if not count or len(part) < at:
            self._drop(WireError(Cause.MALFORMED, "expected a compound of at least one message and their lengths"))
            return
        for length in struct.unpack_from(f">{count}H", part, 2):
            if at + length > len(part):
                self._drop(WireError(Cause.MALFORMED, "expected a compound that is not cut short"))
                return
            self.take(part[at : at + length], depth)
            at += length

    def _drop(self, error: WireError) -> None:
        self.dropped += 1
        self.error = self.error or error
