"""Addresses as people write them, and settings that can not work."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from arpfast.gossip.endpoints import Target, parse_target, resolve
from arpfast.gossip.keys import Key
from arpfast.gossip.members import address_of
from arpfast.gossip.settings import Settings
from arpfast.gossip.timing import LAN, LOCAL, RING, WAN


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("host", Target("host", 7946)),
        (" host.example:80 ", Target("host.example", 80)),
        ("192.0.2.1", Target("192.0.2.1", 7946)),
        ("192.0.2.1:1", Target("192.0.2.1", 1)),
        ("2001:db8::1", Target("2001:db8::1", 7946)),
        ("[2001:db8::1]", Target("2001:db8::1", 7946)),
        ("[2001:db8::1]:65535", Target("2001:db8::1", 65535)),
    ],
)
def test_a_target_is_read_as_it_is_written(text: str, target: Target) -> None:
    assert parse_target(text, 7946) == target
    assert parse_target(str(target), 1) == target


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a host or an address, not ''"),
        ("a b", "not 'a b'"),
        ("10.0.0.0/8", "not '10.0.0.0/8'"),
        (":80", "expected a host"),
        ("host:", "a port after the colon"),
        ("host:x", "not 'x' in 'host:x'"),
        ("host:0", "1 to 65535, not '0'"),
        ("host:65536", "1 to 65535"),
        ("a:b:c", "an IPv6 address or one port, not 'a:b:c'"),
        ("[host]:80", "an IPv6 address or one port"),
        ("[::1", "expected \\[address\\]:port"),
        ("[::1]80", "expected \\[address\\]:port"),
        ("[::1]:", "a port after the colon"),
    ],
)
def test_a_target_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_target(text, 7946)


def test_an_address_is_where_it_says_in_its_own_family_only() -> None:
    four, six = Target("192.0.2.1", 5), Target("2001:DB8::1", 5)
    assert asyncio.run(resolve(four, socket.AF_INET)) == [("192.0.2.1", 5)]
    assert asyncio.run(resolve(six, socket.AF_INET6)) == [("2001:db8::1", 5)]
    with pytest.raises(OSError, match="expected an address of the ring's family, not 2001:db8::1"):
        asyncio.run(resolve(six, socket.AF_INET))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (bytes([10, 0, 0, 1]), "10.0.0.1"),
        (bytes(10) + b"\xff\xff\x0a\0\0\1", "10.0.0.1"),
        (bytes(15) + b"\1", "::1"),
        (b"", None),
        (bytes(5), None),
        (bytes(17), None),
    ],
)
def test_addresses_of_four_and_of_sixteen_bytes(raw: bytes, text: str | None) -> None:
    assert address_of(raw) == text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": ""}, "a name of 1 to 255 bytes"),
        ({"name": "ä" * 128}, "a name of 1 to 255 bytes"),
        ({"label": "l" * 256}, "a label of at most 255 bytes"),
        ({"meta": bytes(513)}, "512 bytes of meta, not 513"),
        ({"bind": "eth0"}, "eth0"),
        ({"bind": "::", "advertise": "192.0.2.1"}, "of the family of ::, not 192.0.2.1"),
        ({"advertise": "0.0.0.0"}, "that others can reach, not 0.0.0.0"),
        ({"advertise": "224.0.0.1"}, "that others can reach"),
        ({"port": 70000}, "0 to 65535, not 70000"),
        ({"advertise_port": -1}, "0 to 65535, not -1"),
        ({"join": ("fine", "host:x")}, "not 'x' in 'host:x'"),
    ],
)
def test_settings_that_can_not_work_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Settings(**({"name": "a"} | fields))


def test_settings_do_not_show_their_keys() -> None:
    settings = Settings("a", keys=(Key(b"sixteen letters!"),))
    assert "sixteen" not in repr(settings)
    assert "<Key of 16 bytes>" in repr(settings)


def test_the_timing_of_the_peers_is_that_of_their_documentation() -> None:
    def row(*fields: str) -> list[tuple[float, ...]]:
        return [tuple(getattr(timing, field) for field in fields) for timing in (LAN, WAN, LOCAL)]

    assert row("tcp_timeout_s", "indirect_checks", "retransmit_mult") == [(10, 3, 4), (30, 3, 4), (1, 1, 2)]
    assert row("suspicion_mult", "suspicion_max_mult", "push_pull_interval_s") == [(4, 6, 30), (6, 6, 60), (3, 6, 15)]
    assert row("probe_timeout_s", "probe_interval_s", "awareness_max") == [(0.5, 1, 8), (3, 5, 8), (0.2, 1, 8)]
    assert row("gossip_nodes", "gossip_interval_s", "gossip_to_the_dead_s") == [
        (3, 0.2, 30),
        (4, 0.5, 60),
        (3, 0.1, 15),
    ]
    for timing in (LAN, WAN, LOCAL):
        assert timing.confirmations == timing.suspicion_mult - 2
        assert timing.forget_s == timing.gossip_to_the_dead_s
    assert RING.probe_interval_s > 2 * RING.probe_timeout_s  # those who are asked to help must have time to say no
    assert msgspec.json.decode(msgspec.json.encode(RING), type=type(RING)) == RING
