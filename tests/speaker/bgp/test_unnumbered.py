"""Who is meant by an interface."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

import pytest

from speaker.bgp.unnumbered import Neighbour, choose, decode

ONE, TWO, THREE = (IPv6Address(f"fe80::{number}") for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("known", "before", "chosen"),
    [
        ([], None, None),
        ([Neighbour(ONE, False)], None, ONE),
        ([Neighbour(ONE, False), Neighbour(ONE, False)], None, ONE),
        ([Neighbour(ONE, False), Neighbour(TWO, False)], None, None),
        ([Neighbour(ONE, False), Neighbour(TWO, True)], None, TWO),
        ([Neighbour(ONE, True), Neighbour(TWO, True)], None, None),
        ([Neighbour(ONE, True), Neighbour(TWO, True)], TWO, TWO),
        ([Neighbour(ONE, True)], TWO, ONE),
        ([], TWO, None),
    ],
)
def test_the_only_router_is_meant_or_the_only_node_or_who_was(
    known: list[Neighbour], before: IPv6Address | None, chosen: IPv6Address | None
) -> None:
    assert choose(known, before) == chosen


def entry(
    address: IPv6Address = ONE, *, index: int = 7, state: int = 0x02, flags: int = 0, family: int = socket.AF_INET6
) -> bytes:
    hardware = struct.pack("=HH6sxx", 10, 2, bytes(6))
    return (
        struct.pack("=B3xiHBB", family, index, state, flags, 1) + hardware + struct.pack("=HH", 20, 1) + address.packed
    )


def test_neighbours_are_read() -> None:
    assert decode(entry(), 7) == Neighbour(ONE, False)
    assert decode(entry(flags=0x80, state=0x04), 7) == Neighbour(ONE, True)


@pytest.mark.parametrize(
    "body",
    [
        entry(index=8), entry(state=0x20), entry(state=0x01), entry(state=0x40), entry(IPv6Address("2001:db8::1")),
        entry(family=socket.AF_INET), b"", entry()[:11], entry()[:12], entry()[:30], entry()[:12] + bytes(4),
    ],
)  # fmt: skip
def test_others_are_passed_over(body: bytes) -> None:
    assert decode(body, 7) is None
