"""Packets: every order of layers that a peer may send, and hostile ones: rows first, then whatever hypothesis finds."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.gossip.keys import Key, metallb, sha256
from arpfast.gossip.lzw import compress
from arpfast.gossip.messages import Ack, Cause, Nack, WireError, encode
from arpfast.gossip.wire import MESSAGES_AT_MOST, UNPACKED_AT_MOST, Contents, Wire, compound, compressed

ONE, TWO, THREE = encode(Ack(1)), encode(Nack(2)), b"\x08user"
OLD, NEW = Key(bytes(range(32))), Key(bytes(range(16)))


def crc(plain: bytes) -> bytes:
    return struct.pack(">BI", 12, zlib.crc32(plain)) + plain


def sealed(plain: bytes, key: bytes = OLD, *, version: int = 1, label: bytes = b"") -> bytes:
    """Made here once more, and in version 0 too."""
    nonce = os.urandom(12)
    if version == 0:
        padding = 16 - len(plain) % 16
        plain += bytes([padding]) * padding
    return bytes([version]) + nonce + AESGCM(key).encrypt(nonce, plain, label)


@pytest.mark.parametrize(
    ("packet", "messages"),
    [
        (ONE, [ONE]),
        (THREE, [THREE]),
        (crc(ONE), [ONE]),
        (compressed(ONE), [ONE]),
        (compound([ONE, TWO, THREE]), [ONE, TWO, THREE]),
        (crc(compressed(compound([ONE, TWO]))), [ONE, TWO]),
        (compound([compressed(ONE), TWO]), [ONE, TWO]),
        (compound([compound([ONE, TWO]), compressed(compressed(THREE))]), [ONE, TWO, THREE]),
        (compressed(compound([compressed(ONE)])), [ONE]),
    ],
)
def test_invariant_1_every_order_of_layers_is_read(packet: bytes, messages: list[bytes]) -> None:
    assert Wire().unpack(packet) == Contents(messages, 0)
    assert Wire(keys=[OLD]).unpack(sealed(packet)) == Contents(messages, 0)
    assert Wire(keys=[NEW, OLD]).unpack(sealed(packet, version=0)) == Contents(messages, 0)
    assert Wire("ring").unpack(b"\xf4\x04ring" + packet) == Contents(messages, 0)
    both = Wire("ring", [OLD]).unpack(b"\xf4\x04ring" + sealed(packet, label=b"ring"))
    assert both == Contents(messages, 0)


@pytest.mark.parametrize("keys", [(), (OLD,), (NEW, OLD), (Key(bytes(24)),)], ids=["none", "256", "128", "192"])
@pytest.mark.parametrize("label", ["", "ring", "r" * 255, "äöü"])
@pytest.mark.parametrize("small", [False, True], ids=["as is", "compressed"])
@pytest.mark.parametrize("checked", [False, True], ids=["", "crc"])
def test_what_was_packed_comes_back_and_is_no_larger_than_told(
    keys: tuple[Key, ...], label: str, small: bool, checked: bool
) -> None:
    wire = Wire(label, keys, compress=small)
    for messages in ([ONE], [ONE, TWO, THREE], [THREE * 200] * 60):
        packet = wire.pack(messages, crc=checked)
        assert wire.unpack(packet) == Contents(messages, 0)
        plain = sum(map(len, messages)) + (2 + 2 * len(messages) if len(messages) > 1 else 0)
        assert len(packet) <= plain + wire.overhead
    if small:
        assert len(packet) < plain


bomb = compressed(bytes(UNPACKED_AT_MOST + 1))


def nested(depth: int) -> bytes:
    packet = ONE
    for _ in range(depth):
        packet = compressed(packet)
    return packet


@pytest.mark.parametrize(
    ("packet", "cause", "why"),
    [
        (b"", Cause.MALFORMED, "not an empty packet"),
        (b"\x07", Cause.MALFORMED, "at least one message"),
        (b"\x07\x00", Cause.MALFORMED, "at least one message"),
        (b"\x07\x02\x00\x01", Cause.MALFORMED, "and their lengths"),
        (b"\x07\x01\x00\x05\x02", Cause.MALFORMED, "cut short"),
        (b"\x07\x01\x00\x00", Cause.MALFORMED, "not nothing"),
        (b"\x09", Cause.MALFORMED, "expected msgpack"),
        (b"\x09\x81\xa4Algo\x00", Cause.MALFORMED, "ends as one"),
        (b"\x09" + msgpack.packb({"Algo": 7, "Buf": compress(ONE)}), Cause.MALFORMED, r"compression 0 \(LZW\), not 7"),
        (compressed(b""), Cause.MALFORMED, "not an empty one"),
        (bomb, Cause.MALFORMED, f"at most {UNPACKED_AT_MOST} bytes"),
        (compressed(bomb), Cause.MALFORMED, "at most"),
        (nested(5), Cause.TOO_LARGE, "at most 4 deep"),
        (b"\x0c\0\0\0\0" + ONE, Cause.MALFORMED, "checksum"),
        (b"\xf4", Cause.MALFORMED, "label of 1 to 255 bytes"),
        (b"\xf4\x00" + ONE, Cause.MALFORMED, "label of 1 to 255 bytes"),
        (b"\xf4\x09ring", Cause.MALFORMED, "label of 1 to 255 bytes"),
        (b"\xf4\x04ring" + ONE, Cause.LABEL, "expected the label none, not 'ring'"),
    ],
)
def test_invariant_2_what_is_no_packet_is_refused(packet: bytes, cause: Cause, why: str) -> None:
    with pytest.raises(WireError, match=why) as refused:
        Wire().unpack(packet)
    assert refused.value.cause is cause


@pytest.mark.parametrize("packet", [b"\x0c", b"\x0c\0\0\0", b"\x02", b"\xff\xff"])
def test_invariant_2_a_lone_type_byte_is_left_to_who_reads_messages(packet: bytes) -> None:
    assert Wire().unpack(packet) == Contents([packet], 0)


def test_a_compound_cut_short_gives_the_parts_that_are_whole() -> None:
    whole = compound([ONE, TWO, THREE])
    assert Wire().unpack(whole[:-1]) == Contents([ONE, TWO], 1)
    assert Wire().unpack(compound([ONE, bomb[:90], TWO])) == Contents([ONE, TWO], 1)


def test_parts_share_what_a_packet_may_unpack_to() -> None:
    half = compressed(b"\x08" + bytes(UNPACKED_AT_MOST // 2))
    contents = Wire().unpack(compound([half, half, half, ONE]))
    assert (len(contents.messages), contents.dropped) == (2, 2)


def test_a_packet_has_a_bounded_number_of_messages() -> None:
    many = compound([compound([TWO[:2]] * 255)] * 20)
    contents = Wire().unpack(many)
    assert (len(contents.messages), contents.dropped) == (MESSAGES_AT_MOST, 20 * 255 - MESSAGES_AT_MOST)


@pytest.mark.parametrize(
    ("packet", "cause", "why"),
    [
        (ONE, Cause.KEY, "version 0 or 1, not 02"),
        (THREE, Cause.KEY, "version 0 or 1"),
        (b"\x00" + bytes(27), Cause.KEY, "at least 29 bytes, not 28"),
        (b"\x01", Cause.KEY, "at least 29 bytes"),
        (bytes(60), Cause.KEY, "one of our keys"),
        (sealed(ONE, NEW), Cause.KEY, "one of our keys"),
        (sealed(ONE, label=b"other"), Cause.KEY, "one of our keys"),
        (sealed(b""), Cause.MALFORMED, "not an empty packet"),
    ],
)
def test_invariant_3_with_a_key_only_what_it_opens_is_read(packet: bytes, cause: Cause, why: str) -> None:
    with pytest.raises(WireError, match=why) as refused:
        Wire(keys=[OLD]).unpack(packet)
    assert refused.value.cause is cause


@pytest.mark.parametrize("padding", [0, 17, 200, 255])
def test_invariant_2_padding_longer_than_the_text_is_refused(padding: int) -> None:
    nonce = bytes(12)
    packet = b"\x00" + nonce + AESGCM(OLD).encrypt(nonce, bytes([padding]) * 16, b"")
    with pytest.raises(WireError, match=f"1 to 16 bytes of padding, not {padding}"):
        Wire(keys=[OLD]).unpack(packet)
    short = b"\x00" + nonce + AESGCM(OLD).encrypt(nonce, b"\x05", b"")
    with pytest.raises(WireError, match="padding"):
        Wire(keys=[OLD]).unpack(short)


def test_invariant_3_no_nonce_is_used_twice() -> None:
    wire = Wire(keys=[OLD])
    assert len({wire.pack([ONE], crc=False)[1:13] for _ in range(1000)}) == 1000


def test_invariant_3_a_key_is_changed_in_three_steps_without_a_gap() -> None:
    a, b = Wire(keys=[OLD]), Wire(keys=[OLD])
    for keys in ([OLD, NEW], [NEW, OLD], [NEW]):
        for wire in (a, b):
            wire.set_keys(keys)
            assert a.unpack(b.pack([ONE], crc=False)).messages == [ONE]
            assert b.unpack(a.pack([ONE], crc=False)).messages == [ONE]
    with pytest.raises(WireError, match="one of our keys"):
        a.unpack(Wire(keys=[OLD]).pack([ONE], crc=False))


def test_invariant_15_keys_of_a_secret() -> None:
    """The first as MetalLB's speakers make it, verified with Go; the second by its name."""
    secret = b"CWr2wOcdo6DOPCWDBeLoOQ"
    assert metallb(secret) == secret + hashlib.sha256(b"").digest()[:10]
    assert metallb(b"s" * 40) == b"s" * 32
    assert sha256(secret) == hashlib.sha256(secret).digest()


def test_keys_do_not_show_themselves() -> None:
    for shown in (repr(OLD), str(OLD), f"{OLD}", repr((OLD,))):
        assert "Key of 32 bytes" in shown
        assert "\\x01" not in shown
    with pytest.raises(ValueError, match="16, 24 or 32 bytes, not 4") as refused:
        Key(b"abcd")
    assert "abcd" not in str(refused.value)


def test_a_label_is_not_longer_than_its_length_can_say() -> None:
    with pytest.raises(ValueError, match="at most 255 bytes, not 256"):
        Wire("r" * 256)


def test_a_ring_without_keys_does_not_load_the_cipher() -> None:
    program = "import sys, arpfast.gossip.wire as w; w.Wire('a'); sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 0


layers = st.recursive(
    st.binary(max_size=30) | st.sampled_from([ONE, TWO, THREE]),
    lambda inner: st.one_of(
        inner.map(compressed),
        inner.map(crc),
        st.lists(inner, min_size=1, max_size=4).map(compound),
        inner.map(lambda packet: packet[:-1]),
        inner.map(lambda packet: b"\x09" + msgpack.packb({"Algo": 0, "Buf": packet}, use_bin_type=False)),
        inner.map(lambda packet: b"\xf4\x01a" + packet),
        inner.map(sealed),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=100) | layers)
def test_invariant_2_whatever_comes_in_ends_in_messages_or_a_refusal(packet: bytes) -> None:
    for wire in (Wire(), Wire("a"), Wire(keys=[OLD]), Wire("a", [NEW, OLD])):
        for given_ in (packet, wire.header + packet, sealed(packet), b"\xf4\x01a" + sealed(packet, label=b"a")):
            try:
                contents = wire.unpack(given_)
            except WireError:
                continue
            assert len(contents.messages) <= MESSAGES_AT_MOST
