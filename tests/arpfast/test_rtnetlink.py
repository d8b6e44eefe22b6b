"""`rtnetlink.decode` against messages laid out by hand as <linux/rtnetlink.h> says, and against nonsense."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast import rtnetlink
from arpfast.rtnetlink import DefaultRoute, Done, Forwarding, Link, LinkAddress, NewAddress, decode


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, *, flags: int = 0, sequence: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def link(*attributes: bytes, kind: int = rtnetlink.RTM_NEWLINK, family: int = 0) -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 1, 7, 0x1043, 0) + b"".join(attributes))


def route(*attributes: bytes, family: int = 2, length: int = 0, route_type: int = 1, gone: bool = False) -> bytes:
    body = struct.pack("=8BI", family, length, 0, 0, 254, 3, 0, route_type, 0) + b"".join(attributes)
    return message(rtnetlink.RTM_DELROUTE if gone else rtnetlink.RTM_NEWROUTE, body)


def index(value: int) -> bytes:
    return struct.pack("=I", value)


def test_a_link() -> None:
    told = link(
        attribute(3, b"eth7\0"),
        attribute(1, bytes.fromhex("020000000007")),
        attribute(4, index(1500)),
        attribute(10, index(9)),
        attribute(18 | 0x8000, attribute(4, b"bridge\0")),
    )
    assert list(decode(told)) == [Link(False, 7, 1, 0x1043, "eth7", bytes.fromhex("020000000007"), 1500, 9, "bridge")]


def test_a_port_that_leaves_its_bridge_is_no_interface_that_vanished() -> None:
    assert not list(decode(link(attribute(3, b"eth7\0"), kind=rtnetlink.RTM_DELLINK, family=7)))


def test_a_wireless_event_in_links_clothing_is_passed_over() -> None:
    assert not list(decode(link(attribute(3, b"wlan0\0"), attribute(11, b"\0" * 8))))


def test_addresses_of_both_families() -> None:
    four = message(
        rtnetlink.RTM_NEWADDR,
        struct.pack("=BBBBI", 2, 24, 0x80, 0, 7)
        + attribute(1, bytes([192, 0, 2, 9]))
        + attribute(2, bytes([192, 0, 2, 1])),
    )
    six = message(
        rtnetlink.RTM_DELADDR,
        struct.pack("=BBBBI", 10, 64, 0x80, 0, 7)
        + attribute(1, ip_address("fe80::1").packed)
        + attribute(8, index(0x40)),
    )
    assert list(decode(four + six)) == [
        LinkAddress(False, 7, ip_interface("192.0.2.1/24"), 0x80),
        LinkAddress(True, 7, ip_interface("fe80::1/64"), 0xC0),
    ]


@pytest.mark.parametrize(("text", "flags"), [("192.0.2.1/32", 0), ("2001:db8::1/128", 0x202)])
def test_what_is_requested_reads_as_what_was_meant(text: str, flags: int) -> None:
    """The kernel's events are laid out as requests are."""
    address = ip_interface(text)
    new = NewAddress(1, address.version, int(address.ip), 0x61720007)
    request = rtnetlink.address_request(rtnetlink.RTM_NEWADDR, new, 9)
    assert list(decode(request)) == [LinkAddress(False, 1, address, flags, 0x61720007)]
    assert struct.unpack_from("=IHHI", request) == (len(request), 20, 0x605, 9), "CREATE, EXCL, ACK, REQUEST"
    request = rtnetlink.address_request(rtnetlink.RTM_DELADDR, new, 9)
    assert list(decode(request)) == [LinkAddress(True, 1, address, 0)]
    assert struct.unpack_from("=IHHI", request) == (len(request), 21, 0x005, 9)


ROUTER, ROUTER6 = ip_address("192.0.2.1"), ip_address("fe80::1")


@pytest.mark.parametrize(
    ("told", "hops"),
    [
        (route(attribute(4, index(7)), attribute(5, ROUTER.packed)), ((7, ROUTER),)),
        (route(attribute(4, index(7)), attribute(5, ROUTER6.packed), family=10), ((7, ROUTER6),)),
        (route(attribute(4, index(7)), attribute(18, struct.pack("=H", 10) + ROUTER6.packed)), ((7, ROUTER6),)),
        (
            route(
                attribute(
                    9,
                    struct.pack("=HBBi", 16, 0, 0, 7)
                    + attribute(5, ROUTER.packed)
                    + struct.pack("=HBBi", 16, 0, 0, 8)
                    + attribute(5, bytes([192, 0, 2, 2])),
                )
            ),
            ((7, ROUTER), (8, ip_address("192.0.2.2"))),
        ),
        (route(attribute(4, index(7))), ()),
    ],
)
def test_default_routes(told: bytes, hops: object) -> None:
    assert list(decode(told)) == [DefaultRoute(False, hops)]  # type: ignore[arg-type]


def test_other_routes_are_passed_over() -> None:
    assert not list(decode(route(attribute(4, index(7)), attribute(5, ROUTER.packed), length=24)))
    assert not list(decode(route(attribute(4, index(7)), route_type=7)))


def test_forwarding_of_an_interface_but_not_of_all() -> None:
    def told(ifindex: int) -> bytes:
        body = struct.pack("=B3x", 10) + attribute(1, struct.pack("=i", ifindex)) + attribute(2, struct.pack("=i", 1))
        return message(rtnetlink.RTM_NEWNETCONF, body)

    assert list(decode(told(7) + told(-1) + told(-2))) == [Forwarding(False, 7, True)]


def test_the_end_of_a_dump_and_how_it_may_fail() -> None:
    assert list(decode(message(3, struct.pack("=i", 0), sequence=5), sequence=5)) == [Done(0)]
    assert list(decode(message(2, struct.pack("=i", -95) + bytes(16), sequence=5), sequence=5)) == [Done(95)]
    assert not list(decode(message(3, struct.pack("=i", 0), sequence=4), sequence=5))
    interrupted = message(rtnetlink.RTM_NEWLINK, bytes(16), flags=0x10, sequence=5)
    assert list(decode(interrupted, sequence=5)) == [Done(errno.EINTR)]


whole = link(attribute(3, b"eth7\0"), attribute(18, attribute(4, b"vrf\0"))) + route(
    attribute(4, index(7)), attribute(9, struct.pack("=HBBi", 16, 0, 0, 7) + attribute(5, ROUTER.packed))
)


@given(st.binary(max_size=200))
def test_nonsense_is_survived(datagram: bytes) -> None:
    list(decode(datagram))


@given(st.integers(0, len(whole) - 1), st.integers(0, 255), st.integers(0, len(whole)))
def test_damage_is_survived(at: int, value: int, cut: int) -> None:
    damaged = bytearray(whole)
    damaged[at] = value
    list(decode(bytes(damaged[:cut])))
