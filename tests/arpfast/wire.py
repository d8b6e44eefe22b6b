"""Frames for tests, byte by byte and with every field open to be wrong; nothing of it is shared with the C."""

from __future__ import annotations

from ipaddress import ip_address

from tests.arpfast.reference import internet_checksum, pseudo_header

OUR_MAC = bytes.fromhex("020000000001")
KIN_MAC = bytes.fromhex("020000000002")
MEMBER_MAC = bytes.fromhex("020000000003")
HIS_MAC = bytes.fromhex("020000000099")
BROADCAST = b"\xff" * 6
ZERO = bytes(6)


def ip(text: str) -> bytes:
    return ip_address(text).packed


def group_of(address: str) -> bytes:
    """The solicited-node group (RFC 4291 §2.7.1)."""
    return bytes.fromhex("ff0200000000000000000001ff") + ip(address)[13:]


def group_mac(group: bytes) -> bytes:
    return b"\x33\x33" + group[12:]


def arp(
    spa: str,
    tpa: str,
    *,
    op: int = 1,
    sha: bytes = HIS_MAC,
    tha: bytes = ZERO,
    to: bytes = BROADCAST,
    source: bytes | None = None,
    types: str = "000108000604",
    pad: int = 60,
) -> bytes:
    head = to + (sha if source is None else source) + bytes.fromhex("0806" + types) + op.to_bytes(2, "big")
    return (head + sha + ip(spa) + tha + ip(tpa)).ljust(pad, b"\0")


def option(kind: int, value: bytes, length: int | None = None) -> bytes:
    return bytes([kind, (len(value) + 2) // 8 if length is None else length]) + value


def nd(
    message_type: int,
    source: str,
    destination: bytes,
    target: str,
    options: bytes,
    *,
    flags: int = 0,
    code: int = 0,
    hop_limit: int = 255,
    version: int = 6,
    next_header: int = 58,
    mac: bytes = HIS_MAC,
    to: bytes | None = None,
    checksum: int | None = None,
    payload_length: int | None = None,
    cut: int = 0,
    tail: bytes = b"",
    reserved: bytes = bytes(3),
) -> bytes:
    """One message; `cut` takes bytes off its end (checksum and lengths follow), `tail` follows what IPv6 speaks of."""
    message = bytes([message_type, code, 0, 0, flags]) + reserved + ip(target) + options
    message = message[: len(message) - cut]
    if checksum is None:
        checksum = internet_checksum(pseudo_header(ip(source), destination, len(message)) + message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    if to is None:
        to = group_mac(destination) if destination[0] == 0xFF else OUR_MAC
    length = len(message) if payload_length is None else payload_length
    header = bytes([version << 4, 0, 0, 0]) + length.to_bytes(2, "big") + bytes([next_header, hop_limit])
    return to + mac + b"\x86\xdd" + header + ip(source) + destination + message + tail


def ns(
    source: str,
    target: str,
    *,
    slla: bytes | None = HIS_MAC,
    destination: bytes | None = None,
    options: bytes = b"",
    **fields: object,
) -> bytes:
    """A solicitation, to the target's group unless told otherwise."""
    linked = b"" if slla is None else option(1, slla)
    to = group_of(target) if destination is None else destination
    return nd(135, source, to, target, linked + options, **fields)  # type: ignore[arg-type]


def na(
    source: str,
    destination: str,
    target: str,
    *,
    tlla: bytes | None = HIS_MAC,
    flags: int = 0x60,
    options: bytes = b"",
    **fields: object,
) -> bytes:
    """An advertisement; flags are R 0x80, S 0x40, O 0x20."""
    linked = b"" if tlla is None else option(2, tlla)
    return nd(136, source, ip(destination), target, linked + options, flags=flags, **fields)  # type: ignore[arg-type]
