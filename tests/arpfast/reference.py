"""What answer() must do, in plain Python: slow, and written from the RFCs rather than from the C.

The tests and the fuzzer's corpus compare both. Verdicts are the names of `arpfast.answer.Verdict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from arpfast.spans import Spans

if TYPE_CHECKING:
    from arpfast.spans import Version

NOBODY = b"\0" * 6


class Addresses(NamedTuple):
    """What a Table is made of."""

    own: Spans = Spans()
    proxy: Spans = Spans()
    tentative: Spans = Spans()

    def kind(self, version: Version, value: int) -> str:
        for name in ("tentative", "own", "proxy"):
            if getattr(self, name).find(version, value):
                return name
        return ""


class Interface(NamedTuple):
    """What a Link is made of."""

    mac: bytes
    router: bool = False
    link_local: bytes | None = None
    kin: tuple[bytes, ...] = ()
    nonce: bytes = b""
    members: tuple[bytes, ...] = ()

    def is_ours(self, mac: bytes) -> bool:
        return mac == self.mac or mac in self.kin

    def claim(self, mac: bytes, kind: str) -> str:
        """What it means that `mac` uses an address of ours of this kind."""
        if kind not in {"own", "tentative"}:
            return ""
        if self.is_ours(mac):
            return "LOOPED"
        if mac in self.members:
            return "RIVAL"
        return "CONFLICT" if kind == "own" else "TAKEN"


class Answered(NamedTuple):
    """As `arpfast.answer.Outcome`, with the verdict by name."""

    verdict: str
    reply: bytes | None = None
    version: int = 0
    mac: bytes = NOBODY
    address: int = 0


def is_host_mac(mac: bytes) -> bool:
    return not mac[0] & 1 and mac != NOBODY


def is_host_ipv4(address: int) -> bool:
    return address not in {0, 0xFFFFFFFF} and address >> 24 != 127 and not 0xE0000000 <= address <= 0xEFFFFFFF


def answer(addresses: Addresses, link: Interface, frame: bytes, capacity: int = 2048) -> Answered:
    """The verdict on a frame that starts with an Ethernet header."""
    if len(frame) < 14:
        return Answered("SHORT")
    destination, ethernet_type = frame[:6], int.from_bytes(frame[12:14], "big")
    if not destination[0] & 1 and destination != link.mac:
        return Answered("NOT_FOR_US")
    if ethernet_type == 0x0806:
        return answer_arp(addresses, link, frame, capacity)
    if ethernet_type == 0x86DD:
        return answer_nd(addresses, link, frame, capacity)
    return Answered("TAGGED" if ethernet_type in {0x8100, 0x88A8} else "OTHER_PROTOCOL")


def answer_arp(addresses: Addresses, link: Interface, frame: bytes, capacity: int) -> Answered:
    """RFC 826, RFC 5227."""
    if len(frame) < 42:
        return Answered("SHORT")
    if frame[14:20] != bytes.fromhex("000108000604"):
        return Answered("NOT_ARP")
    op = int.from_bytes(frame[20:22], "big")
    sha, spa, tpa = frame[22:28], int.from_bytes(frame[28:32], "big"), int.from_bytes(frame[38:42], "big")

    def verdict(name: str, address: int = 0, reply: bytes | None = None) -> Answered:
        return Answered(name, reply, 4, sha, address)

    if sha == link.mac:
        return verdict("LOOPED")
    if not is_host_mac(sha) or (spa and not is_host_ipv4(spa)):
        return verdict("BAD_SENDER")
    claimed = link.claim(sha, addresses.kind(4, spa)) if spa and op in {1, 2} else ""
    if claimed:
        return verdict(claimed, spa)
    if not is_host_ipv4(tpa):
        return verdict("BAD_TARGET")
    kind = addresses.kind(4, tpa)
    if not kind:
        return verdict("NOT_OURS")
    if op != 1:
        answered = op == 2 and kind == "own" and spa and frame[:6] == link.mac
        return verdict("CONFIRMED" if answered else "NOT_REQUEST", tpa)
    if kind == "proxy":
        if spa in {0, tpa}:
            return verdict("PROXY_PROBE", tpa)
    elif spa == 0 and link.is_ours(sha):
        return verdict("LOOPED", tpa)
    elif kind == "tentative":
        return verdict("TENTATIVE" if spa or not frame[0] & 1 else link.claim(sha, kind), tpa)
    if capacity < 60:
        return verdict("NO_ROOM", tpa)
    reply = sha + link.mac + bytes.fromhex("0806 0001 0800 06 04 0002")
    reply += link.mac + frame[38:42] + sha + frame[28:32]
    return verdict("REPLY", tpa, reply.ljust(60, b"\0"))


MAPPED = bytes(10) + b"\xff\xff"


def internet_checksum(data: bytes) -> int:
    """RFC 1071, the plain way."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(source: bytes, destination: bytes, length: int) -> bytes:
    """RFC 8200 §8.1, for ICMPv6."""
    return source + destination + length.to_bytes(4, "big") + b"\0\0\0\x3a"


def read_options(data: bytes, sender: int) -> dict[int, list[bytes]] | str:
    """The options by type, or why they are refused; `sender` is the one that holds the sender's hardware address."""
    options: dict[int, list[bytes]] = {}
    count = 0
    while data:
        if count == 190:
            return "MANY_OPTIONS"
        if len(data) < 2 or data[1] == 0 or data[1] * 8 > len(data):
            return "BAD_OPTION"
        kind, length = data[0], data[1] * 8
        if kind == sender and length != 8:
            return "BAD_OPTION"
        options.setdefault(kind, []).append(data[2:length])
        data = data[length:]
        count += 1
    return options


def answer_nd(addresses: Addresses, link: Interface, frame: bytes, capacity: int) -> Answered:
    """RFC 4861 §7.1.1, §7.1.2: what is common to solicitations and advertisements."""
    if len(frame) < 54:
        return Answered("SHORT")
    payload = int.from_bytes(frame[18:20], "big")
    if frame[14] >> 4 != 6 or frame[20] != 58 or payload == 0:
        return Answered("NOT_ND")
    if len(frame) == 54:
        return Answered("SHORT")
    if frame[54] not in {135, 136}:
        return Answered("NOT_ND")
    if len(frame) < 54 + payload:
        return Answered("SHORT", version=6)
    if frame[21] != 255:
        return Answered("BAD_HOP_LIMIT", version=6)
    message = frame[54 : 54 + payload]
    if payload < 24:
        return Answered("BAD_LENGTH", version=6)
    if message[1] != 0:
        return Answered("BAD_CODE", version=6)
    if payload % 8:
        return Answered("BAD_OPTION", version=6)
    options = read_options(message[24:], 1 if message[0] == 135 else 2)
    if isinstance(options, str):
        return Answered(options, version=6)
    source, destination, target = frame[22:38], frame[38:54], message[8:24]
    if internet_checksum(pseudo_header(source, destination, payload) + message) != 0:
        return Answered("BAD_CHECKSUM", version=6)
    if source[0] == 0xFF or source == bytes(15) + b"\1" or source[:12] == MAPPED:
        return Answered("BAD_SENDER", version=6)
    if target[0] == 0xFF or int.from_bytes(target, "big") <= 1 or target[:12] == MAPPED:
        return Answered("BAD_TARGET", version=6)
    if message[0] == 135:
        return solicited(addresses, link, frame, options, capacity)
    return advertised(addresses, link, frame, options)


def solicited(
    addresses: Addresses, link: Interface, frame: bytes, options: dict[int, list[bytes]], capacity: int
) -> Answered:
    """RFC 4861 §7.2.3, §7.2.4; RFC 4862 §5.4.3; RFC 7527 §4.2."""
    source, destination, target = frame[22:38], frame[38:54], frame[62:78]
    detection = source == bytes(16)
    if detection and destination[:13] != bytes.fromhex("ff0200000000000000000001ff"):
        return Answered("BAD_DESTINATION", version=6)
    if not detection and destination[:2] != b"\xff\2" and destination != target:
        return Answered("BAD_DESTINATION", version=6)
    if detection and 1 in options:
        return Answered("UNEXPECTED_SOURCE_OPTION", version=6)
    mac = options[1][0] if 1 in options else frame[6:12]

    def verdict(name: str, address: bytes = b"", reply: bytes | None = None) -> Answered:
        return Answered(name, reply, 6, mac, int.from_bytes(address, "big"))

    if link.mac in {mac, frame[6:12]}:
        return verdict("LOOPED")
    if not is_host_mac(mac):
        return verdict("BAD_SENDER")
    claimed = "" if detection else link.claim(mac, addresses.kind(6, int.from_bytes(source, "big")))
    if claimed:
        return verdict(claimed, source)
    kind = addresses.kind(6, int.from_bytes(target, "big"))
    if not kind:
        return verdict("NOT_OURS")
    if detection:
        nonces = [nonce for nonce in options.get(14, ()) if len(nonce) == 6]
        if link.is_ours(mac) or (any(link.nonce) and nonces[:1] == [link.nonce]):
            return verdict("LOOPED", target)
    if kind == "tentative":
        return verdict(link.claim(mac, kind) if detection else "TENTATIVE", target)
    if capacity < 86:
        return verdict("NO_ROOM", target)
    flags = 0x80 * link.router + 0x40 * (not detection) + 0x20 * (kind == "own")
    to = bytes.fromhex("ff020000000000000000000000000001") if detection else source
    to_mac = bytes.fromhex("333300000001") if detection else mac
    by = link.link_local if kind == "proxy" and link.link_local else target
    message = bytes([136, 0, 0, 0, flags, 0, 0, 0]) + target + b"\x02\x01" + link.mac
    checksum = internet_checksum(pseudo_header(by, to, 32) + message).to_bytes(2, "big")
    reply = to_mac + link.mac + bytes.fromhex("86dd 60000000 0020 3a ff") + by + to
    return verdict("REPLY", target, reply + message[:2] + checksum + message[4:])


def advertised(addresses: Addresses, link: Interface, frame: bytes, options: dict[int, list[bytes]]) -> Answered:
    """RFC 4861 §7.2.5, RFC 4862 §5.4.4."""
    destination, target = frame[38:54], frame[62:78]
    is_solicited = bool(frame[58] & 0x40)
    if is_solicited and destination[0] == 0xFF:
        return Answered("BAD_SOLICITED_FLAG", version=6)
    mac = options[2][0] if 2 in options else frame[6:12]

    def verdict(name: str, address: bytes = b"") -> Answered:
        return Answered(name, None, 6, mac, int.from_bytes(address, "big"))

    if link.mac in {mac, frame[6:12]}:
        return verdict("LOOPED")
    if not is_host_mac(mac):
        return verdict("BAD_SENDER")
    kind = addresses.kind(6, int.from_bytes(target, "big"))
    claimed = link.claim(mac, kind)
    if claimed:
        return verdict(claimed, target)
    if is_solicited and addresses.kind(6, int.from_bytes(destination, "big")) == "own":
        return verdict("CONFIRMED", destination)
    return verdict("NOT_REQUEST", target) if kind else verdict("NOT_OURS")
