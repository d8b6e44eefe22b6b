"""Which interfaces are used."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

import pytest

from arpfast.interfaces import Choice, Interface, Refusal

MAC = bytes.fromhex("020000000007")


def usable(**fields: Any) -> Interface:
    whole: dict[str, Any] = {"index": 7, "name": "eth7", "mac": MAC, "up": True, "carrier": True}
    return Interface(**(whole | fields))


@pytest.mark.parametrize(
    ("patterns", "used"),
    [
        ((), True),
        (("eth*",), True),
        (("ETH*",), False),
        (("wlan*", "eth7"), True),
        (("!eth7",), False),
        (("!wlan*",), True),
        (("eth*", "!*7"), False),
        (("192.0.2.0/24",), True),
        (("192.0.2.2",), True),
        (("192.0.2.3",), False),
        (("2001:db8::/32",), True),
        (("!192.0.2.0/24",), False),
        (("0eth*",), False),
    ],
)
def test_interfaces_are_chosen_by_name_and_by_address(patterns: tuple[str, ...], used: bool) -> None:
    interface = usable(addresses=(ip_interface("192.0.2.2/24"), ip_interface("2001:db8::2/64")))
    assert Choice(patterns).refusal(interface) == (None if used else Refusal.NOT_NAMED)


def test_patterns_that_choose_nothing_are_told_of() -> None:
    choice = Choice(("eth7", "nosuch0", "wlan*", "192.0.2.0/24", "!br0"))
    assert choice.unmatched([usable(up=False)]) == ("nosuch0", "wlan*", "192.0.2.0/24")
    assert Choice().unmatched([]) == ()


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({}, None),
        ({"carrier": False}, None),
        ({"loopback": True}, Refusal.LOOPBACK),
        ({"ethernet": False}, Refusal.NOT_ETHERNET),
        ({"mac": bytes(6)}, Refusal.NO_MAC),
        ({"mac": b"\1" * 6}, Refusal.NO_MAC),
        ({"mac": b"\2" * 20}, Refusal.NO_MAC),
        ({"enslaved": True}, Refusal.ENSLAVED),
        ({"arp": False}, Refusal.NO_ARP),
        ({"up": False}, Refusal.DOWN),
    ],
)
def test_what_cannot_work_is_refused_even_by_name(fields: dict[str, Any], refusal: Refusal | None) -> None:
    assert Choice(("eth7",)).refusal(usable(**fields)) == refusal
