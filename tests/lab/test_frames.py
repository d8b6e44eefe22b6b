"""The oracle's own check: frames written by hand from the RFCs, and what is written is read back."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.frames import (
    BROADCAST,
    Advertisement,
    Arp,
    Mac,
    Solicitation,
    checksum,
    decode,
    multicast_mac,
    solicited_node,
)

A, B = Mac("02:00:00:00:00:0a"), Mac("02:00:00:00:00:0b")

ARP_REQUEST = bytes.fromhex(
    "ffffffffffff 02000000000a 08060001 0800 06 04 0001 02000000000a c0000201 000000000000 c0000202" + "00" * 18
)
"""RFC 826: hardware Ethernet, protocol IPv4, lengths 6 and 4, request."""

SOLICITATION = bytes.fromhex(
    "3333ff000002 02000000000a 86dd"
    "60000000 0020 3a ff 20010db8000000000000000000000001 ff0200000000000000000001ff000002"
    "87 00 1c1e 00000000 20010db8000000000000000000000002 01 01 02000000000a"
)
"""RFC 4861 §4.3; the checksum is 0xffff minus pseudo-header and message as one number modulo 0xffff."""


def test_mac_is_bytes_that_read_well() -> None:
    assert A == b"\x02\0\0\0\0\x0a"
    assert str(A) == "02:00:00:00:00:0a"
    with pytest.raises(ValueError, match="six bytes"):
        Mac("02:00")


def test_arp_request_by_hand() -> None:
    request = Arp.request(A, "192.0.2.1", "192.0.2.2")
    assert request.encode() == ARP_REQUEST
    assert decode(ARP_REQUEST) == request
    assert request.destination == BROADCAST


def test_solicitation_by_hand() -> None:
    question = Solicitation.ask(A, "2001:db8::1", "2001:db8::2")
    assert question.encode() == SOLICITATION
    assert decode(SOLICITATION) == question
    assert question.source_mac == A


def test_solicited_node_and_its_mac() -> None:
    """RFC 4291 §2.7.1's own example."""
    group = solicited_node("4037::01:800:200e:8c6c")
    assert group == IPv6Address("ff02::1:ff0e:8c6c")
    assert multicast_mac(group) == bytes.fromhex("3333ff0e8c6c")


def test_checksum_folds_twice_and_pads() -> None:
    zero = IPv6Address("::")
    assert checksum(zero, zero, b"\xff\xff" * 3) == ~(6 + 58) & 0xFFFF
    assert checksum(zero, zero, b"\x01") == ~(0x100 + 1 + 58) & 0xFFFF


def test_a_wrong_checksum_is_told() -> None:
    wrong = decode(SOLICITATION[:-1] + b"\x0c")
    assert isinstance(wrong, Solicitation)
    assert wrong.checksum == 0x1C1E


@pytest.mark.parametrize("length", [*range(42), *range(43, 60)])
def test_truncated_frames_are_nothing(length: int) -> None:
    assert decode(SOLICITATION[:length]) is None
    if length < 42:
        assert decode(ARP_REQUEST[:length]) is None


def test_an_option_without_length_is_nothing() -> None:
    assert decode(SOLICITATION[:-7] + b"\0" + SOLICITATION[-6:]) is None


macs = st.binary(min_size=6, max_size=6).map(Mac)
v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(IPv6Address)
tags = st.lists(st.tuples(st.sampled_from([0x8100, 0x88A8]), st.integers(0, 65535)), max_size=2).map(tuple)
options = st.lists(
    st.tuples(st.integers(0, 255), st.sampled_from([6, 14]).flatmap(lambda n: st.binary(min_size=n, max_size=n))),
    max_size=3,
).map(tuple)


@given(
    st.builds(
        Arp,
        destination=macs,
        source=macs,
        operation=st.integers(0, 65535),
        sha=macs,
        spa=v4,
        tha=macs,
        tpa=v4,
        tags=tags,
    )
)
def test_arp_is_read_as_written(frame: Arp) -> None:
    assert decode(frame.encode()) == frame
    assert len(frame.encode()) >= 60


discovery = {
    "destination": macs, "source": macs, "ip_source": v6, "ip_destination": v6, "target": v6, "options": options,
    "hop_limit": st.integers(0, 255), "code": st.integers(0, 255), "tags": tags,
}  # fmt: skip


@given(
    st.one_of(
        st.builds(Solicitation, **discovery, reserved=st.integers(0, 2**32 - 1)),
        st.builds(Advertisement, **discovery, router=st.booleans(), solicited=st.booleans(), override=st.booleans()),
    )
)
def test_discovery_is_read_as_written(frame: Solicitation | Advertisement) -> None:
    assert decode(frame.encode()) == frame


def test_advertisement_flags_are_where_the_rfc_has_them() -> None:
    told = Advertisement.tell(B, "2001:db8::2", solicited=True, to=A, ip_destination="2001:db8::1")
    assert told.encode()[58:62] == b"\x60\0\0\0"
    assert told.target_mac == B


@given(st.binary(max_size=120))
def test_anything_can_be_read(frame: bytes) -> None:
    decode(frame)
