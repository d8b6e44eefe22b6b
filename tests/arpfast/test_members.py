"""Other members of our ring: what they claim is settled between us, and what they ask is answered."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address

import pytest

from arpfast.answer import Link, Members, Outcome, Verdict, answer
from tests.arpfast.scene import HIM4, HIM6, OWN4, OWN6, TABLE, TENTATIVE4, TENTATIVE6, ask, reply, verdict
from tests.arpfast.wire import HIS_MAC, MEMBER_MAC, OUR_MAC, arp, na, ns


@pytest.mark.parametrize("address", [OWN4, TENTATIVE4])
@pytest.mark.parametrize("op", [1, 2])
def test_a_member_that_uses_an_address_of_ours_is_a_rival_and_no_conflict(address: str, op: int) -> None:
    outcome = ask(arp(address, address, sha=MEMBER_MAC, op=op))
    assert outcome == Outcome(Verdict.RIVAL, None, 4, MEMBER_MAC, int(IPv4Address(address)))


@pytest.mark.parametrize("address", [OWN6, TENTATIVE6])
def test_so_is_one_that_advertises_it_or_solicits_from_it(address: str) -> None:
    rival = Outcome(Verdict.RIVAL, None, 6, MEMBER_MAC, int(IPv6Address(address)))
    assert ask(na(address, "ff02::1", address, flags=0x20, tlla=MEMBER_MAC, mac=MEMBER_MAC)) == rival
    assert ask(ns(address, HIM6, slla=MEMBER_MAC, mac=MEMBER_MAC)) == rival


def test_whoever_probes_learns_that_a_member_has_the_address() -> None:
    """Its answer to our probe, not an intruder's: another state machine's business."""
    assert verdict(arp(TENTATIVE4, "0.0.0.0", op=2, sha=MEMBER_MAC, to=OUR_MAC)) == "RIVAL"
    assert verdict(na(TENTATIVE6, "ff02::1", TENTATIVE6, flags=0x20, tlla=MEMBER_MAC, mac=MEMBER_MAC)) == "RIVAL"


def test_two_members_that_probe_for_one_address_are_rivals() -> None:
    assert verdict(arp("0.0.0.0", TENTATIVE4, sha=MEMBER_MAC)) == "RIVAL"
    assert verdict(ns("::", TENTATIVE6, slla=None, mac=MEMBER_MAC)) == "RIVAL"


def test_a_member_that_watches_is_answered_and_claims_nothing() -> None:
    watching = arp("0.0.0.0", OWN4, sha=MEMBER_MAC, to=OUR_MAC)
    assert reply(watching) == arp(OWN4, "0.0.0.0", op=2, sha=OUR_MAC, tha=MEMBER_MAC, to=MEMBER_MAC)
    assert reply(ns(HIM6, OWN6, slla=MEMBER_MAC, mac=MEMBER_MAC, to=OUR_MAC))[:6] == MEMBER_MAC


def test_it_is_not_answered_for_an_address_that_is_not_yet_ours() -> None:
    assert verdict(arp("0.0.0.0", TENTATIVE4, sha=MEMBER_MAC, to=OUR_MAC)) == "TENTATIVE"
    assert verdict(arp("0.0.0.0", TENTATIVE4, sha=HIS_MAC, to=OUR_MAC)) == "TENTATIVE", "it may be a member tomorrow"


def test_a_member_that_asks_or_probes_for_an_address_of_ours_is_answered_like_anyone() -> None:
    assert reply(arp(HIM4, OWN4, sha=MEMBER_MAC))[:6] == MEMBER_MAC
    assert reply(arp("0.0.0.0", OWN4, sha=MEMBER_MAC))[:6] == MEMBER_MAC
    assert reply(ns("::", OWN6, slla=None, mac=MEMBER_MAC))[:6] == b"\x33\x33\0\0\0\1"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 1000, 4096])
def test_any_number_of_members_is_told_from_any_number_of_others(count: int) -> None:
    macs = [b"\x02" + os.urandom(3) + number.to_bytes(2, "big") for number in range(2 * count)]
    link = Link(OUR_MAC, members=Members(macs[:count]))
    for number, mac in enumerate(macs):
        expected = Verdict.RIVAL if mac in macs[:count] else Verdict.CONFLICT
        assert answer(TABLE, link, arp(OWN4, OWN4, sha=mac)).verdict is expected, number


def test_without_a_ring_nobody_is_a_member() -> None:
    for link in (Link(OUR_MAC), Link(OUR_MAC, members=Members())):
        assert answer(TABLE, link, arp(OWN4, OWN4, sha=MEMBER_MAC)).verdict is Verdict.CONFLICT


def test_what_is_no_set_of_macs_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 4096 hardware addresses of members, not 4097"):
        Members(number.to_bytes(6, "big") for number in range(4097))
    with pytest.raises(ValueError, match="expected 6 bytes of a member's mac, not 5"):
        Members([b"12345"])
