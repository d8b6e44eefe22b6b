"""Neighbor Discovery: one test a rule, named after its RFC section."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from arpfast.answer import Link, Outcome, Table, Verdict, announcement, answer, probe, question
from arpfast.spans import Spans
from tests.arpfast.reference import internet_checksum, pseudo_header
from tests.arpfast.scene import (
    ALL_NODES,
    HIM6,
    LINK,
    LINK_LOCAL,
    NONCE,
    OWN4,
    OWN6,
    PROXY6,
    TABLE,
    TENTATIVE6,
    ask,
    reply,
    verdict,
)
from tests.arpfast.wire import BROADCAST, HIS_MAC, KIN_MAC, OUR_MAC, arp, group_of, ip, na, ns, option

R, S, O = 0x80, 0x40, 0x20  # noqa: E741 - the RFC's names of the flags


def advertised(target: str, to: str = HIM6, *, flags: int = S | O, source: str | None = None) -> bytes:
    """The advertisement that we should send."""
    mac = bytes.fromhex("333300000001") if to == "ff02::1" else HIS_MAC
    return na(source or target, to, target, tlla=OUR_MAC, flags=flags, mac=OUR_MAC, to=mac)


# RFC 4861 §7.1: what is valid although it looks odd; what is not stands in test_answer.py


def test_rfc4861_7_1_1_reserved_field_and_unknown_options_are_ignored() -> None:
    plain = reply(ns(HIM6, OWN6))
    assert reply(ns(HIM6, OWN6, flags=0xFF, reserved=b"\xff\xff\xff")) == plain
    assert reply(ns(HIM6, OWN6, options=option(200, bytes(14)) + option(2, KIN_MAC))) == plain


def test_rfc4861_7_1_2_the_other_messages_option_is_ignored_whatever_its_length() -> None:
    assert reply(ns(HIM6, OWN6, options=option(2, bytes(14)))) == reply(ns(HIM6, OWN6))
    assert verdict(na(OWN6, "ff02::1", OWN6, flags=0, options=option(1, bytes(14)))) == "CONFLICT"


def test_rfc4861_7_1_1_padding_behind_the_payload_is_not_summed() -> None:
    assert reply(ns(HIM6, OWN6, tail=b"\xa5" * 7)) == reply(ns(HIM6, OWN6))


def test_rfc4861_7_1_1_the_first_source_option_counts() -> None:
    assert reply(ns(HIM6, OWN6, options=option(1, KIN_MAC)))[:6] == HIS_MAC


def test_rfc3971_a_solicitation_with_long_options_is_answered() -> None:
    send = option(11, bytes(190)) + option(12, bytes(142)) + option(13, bytes(14)) + option(14, bytes(6))
    assert reply(ns(HIM6, OWN6, options=send)) == reply(ns(HIM6, OWN6))


def test_a_frame_full_of_options_is_answered() -> None:
    frame = ns(HIM6, OWN6, options=option(200, bytes(6)) * 178)
    assert len(frame) <= 1514
    assert reply(frame) == reply(ns(HIM6, OWN6))


# RFC 4861 §7.2


def test_rfc4861_7_2_4_answer_for_an_own_address() -> None:
    assert reply(ns(HIM6, OWN6)) == advertised(OWN6)


def test_rfc4861_7_2_4_own_and_proxied_at_once_is_own() -> None:
    assert reply(ns(HIM6, OWN6))[58] == S | O


def test_rfc4861_7_2_4_router_flag() -> None:
    assert reply(ns(HIM6, OWN6), Link(OUR_MAC, router=True)) == advertised(OWN6, flags=R | S | O)


def test_rfc4861_7_2_3_unicast_nud_solicitation_without_option() -> None:
    assert reply(ns(HIM6, OWN6, slla=None, destination=ip(OWN6))) == advertised(OWN6)
    assert reply(ns("2001:db8::99", OWN6, slla=None)) == advertised(OWN6, "2001:db8::99")


def test_rfc4861_4_3_a_solicitation_to_any_group_of_the_link_is_answered() -> None:
    for group in (ALL_NODES, ip("ff02::2"), group_of(HIM6)):
        assert reply(ns(HIM6, OWN6, destination=group)) == advertised(OWN6)


def test_rfc4861_7_2_4_answer_goes_to_the_source_option() -> None:
    assert reply(ns(HIM6, OWN6, mac=KIN_MAC))[:6] == HIS_MAC


def test_rfc4861_7_2_3_target_that_is_not_ours() -> None:
    assert verdict(ns(HIM6, "2001:db8::11")) == "NOT_OURS"


def test_rfc4861_7_2_3_tentative_target_is_silent() -> None:
    assert verdict(ns(HIM6, TENTATIVE6)) == "TENTATIVE"


def test_rfc4861_7_2_8_proxied_address_without_override() -> None:
    assert reply(ns(HIM6, PROXY6)) == advertised(PROXY6, flags=S, source="fe80::ff:fe00:1")
    assert reply(ns(HIM6, PROXY6), Link(OUR_MAC)) == advertised(PROXY6, flags=S)


def test_rfc4861_7_2_5_solicited_advertisement_confirms() -> None:
    outcome = ask(na(HIM6, OWN6, HIM6))
    assert outcome == Outcome(Verdict.CONFIRMED, None, 6, HIS_MAC, int(IPv6Address(OWN6)))
    assert verdict(na(HIM6, OWN6, HIM6, tlla=None)) == "CONFIRMED"
    assert verdict(na(HIM6, OWN6, HIM6, flags=R)) == "NOT_OURS"
    assert verdict(na(HIM6, PROXY6, HIM6)) == "NOT_OURS"
    assert verdict(na(HIM6, OWN6, PROXY6, flags=0)) == "NOT_REQUEST"


def test_rfc4861_7_2_2_question_frame() -> None:
    sent = question(LINK, IPv6Address(OWN6), IPv6Address(HIM6))
    assert sent == ns(OWN6, HIM6, slla=OUR_MAC, mac=OUR_MAC)


def test_rfc4861_7_2_6_announcement_frame() -> None:
    assert announcement(LINK, IPv6Address(OWN6)) == advertised(OWN6, "ff02::1", flags=O)
    assert announcement(Link(OUR_MAC, router=True), IPv6Address(OWN6)) == advertised(OWN6, "ff02::1", flags=R | O)


# Duplicates


def test_rfc4862_5_4_2_and_rfc7527_probe_frame() -> None:
    sent = probe(LINK, IPv6Address(OWN6))
    assert sent == ns("::", OWN6, slla=None, mac=OUR_MAC, options=option(14, NONCE))
    assert probe(Link(OUR_MAC), IPv6Address(OWN6)) == ns("::", OWN6, slla=None, mac=OUR_MAC)


def test_rfc4862_5_4_3_detection_for_an_own_address_is_answered_to_all_nodes() -> None:
    assert reply(ns("::", OWN6, slla=None)) == advertised(OWN6, "ff02::1", flags=O)


def test_rfc4861_7_1_1_detection_to_any_solicited_node_group_is_valid() -> None:
    assert reply(ns("::", OWN6, slla=None, destination=group_of(HIM6))) == advertised(OWN6, "ff02::1", flags=O)


def test_rfc4862_5_4_3_detection_for_a_proxied_address_is_defended() -> None:
    assert reply(ns("::", PROXY6, slla=None)) == advertised(PROXY6, "ff02::1", flags=0, source="fe80::ff:fe00:1")


def test_rfc4862_5_4_3_detection_by_another_for_a_tentative_address() -> None:
    outcome = ask(ns("::", TENTATIVE6, slla=None))
    assert outcome == Outcome(Verdict.TAKEN, None, 6, HIS_MAC, int(IPv6Address(TENTATIVE6)))
    assert verdict(ns("::", TENTATIVE6, slla=None, options=option(14, b"\1\2\3\4\5\6"))) == "TAKEN"


@pytest.mark.parametrize("target", [TENTATIVE6, OWN6])
def test_rfc7527_4_2_our_own_nonce_is_a_loop(target: str) -> None:
    assert verdict(ns("::", target, slla=None, options=option(14, NONCE))) == "LOOPED"
    for mac in (OUR_MAC, KIN_MAC):
        assert verdict(ns("::", target, slla=None, mac=mac)) == "LOOPED"


def test_rfc7527_no_nonce_of_ours_matches_none() -> None:
    frame = ns("::", TENTATIVE6, slla=None, options=option(14, bytes(6)))
    assert answer(TABLE, Link(OUR_MAC), frame).verdict is Verdict.TAKEN


@pytest.mark.parametrize(
    ("flags", "to"), [(0, "ff02::1"), (O, "ff02::1"), (S, OWN6), (S | O, OWN6)], ids=["plain", "O", "S", "SO"]
)
def test_rfc4862_5_4_4_advertisement_for_our_address(flags: int, to: str) -> None:
    for target, expected in ((OWN6, Verdict.CONFLICT), (TENTATIVE6, Verdict.TAKEN)):
        outcome = ask(na(target, to, target, flags=flags))
        assert outcome == Outcome(expected, None, 6, HIS_MAC, int(IPv6Address(target)))
        assert ask(na(target, to, target, flags=flags, tlla=None)).verdict is expected


def test_the_advertised_hardware_address_tells_whose_it_is() -> None:
    assert verdict(na(OWN6, "ff02::1", OWN6, flags=O, tlla=KIN_MAC)) == "LOOPED"
    assert verdict(na(OWN6, "ff02::1", OWN6, flags=O, tlla=HIS_MAC, mac=KIN_MAC)) == "CONFLICT"
    assert verdict(na(OWN6, "ff02::1", OWN6, flags=O, tlla=OUR_MAC, mac=HIS_MAC)) == "LOOPED"
    assert verdict(na(OWN6, "ff02::1", OWN6, flags=O, mac=OUR_MAC)) == "LOOPED"


def test_a_solicitation_from_our_address_is_a_conflict() -> None:
    assert verdict(ns(OWN6, HIM6)) == "CONFLICT"
    assert verdict(ns(OWN6, HIM6, slla=None)) == "CONFLICT"
    assert verdict(ns(TENTATIVE6, HIM6)) == "TAKEN"
    assert verdict(ns(OWN6, HIM6, slla=KIN_MAC, mac=KIN_MAC)) == "LOOPED"


def test_kin_that_asks_is_answered_like_anyone() -> None:
    assert reply(ns(HIM6, OWN6, slla=KIN_MAC, mac=KIN_MAC))[:6] == KIN_MAC


@pytest.mark.parametrize("room", [0, 78, 85])
def test_nothing_is_written_without_room(room: int) -> None:
    assert answer(TABLE, LINK, ns(HIM6, OWN6, slla=None), capacity=room).verdict is Verdict.NO_ROOM


def test_group_and_broadcast_ethernet_destinations_are_heard() -> None:
    assert reply(ns(HIM6, OWN6, to=BROADCAST)) == advertised(OWN6)
    assert verdict(arp("192.0.2.99", OWN4, to=b"\x01\0\0\0\0\0")) == "REPLY"


def test_golden_solicited_advertisement() -> None:
    table = Table(proxy=Spans.parse("2001:db8::240"))
    got = answer(table, LINK, ns("fe80::ff:fe00:99", "2001:db8::240")).reply
    assert got is not None
    assert got[22:38] == LINK_LOCAL
    assert got[54:].hex() == "8800080e4000000020010db80000000000000000000002400201020000000001"


def test_golden_checksum_of_an_unsolicited_advertisement() -> None:
    message = bytes.fromhex("880027242000000020010db80000000000000000000002400201020000000001")
    assert internet_checksum(pseudo_header(LINK_LOCAL, ALL_NODES, 32) + message) == 0
    assert na("fe80::ff:fe00:1", "ff02::1", "2001:db8::240", tlla=OUR_MAC, flags=O, mac=OUR_MAC)[54:] == message


def test_rfc8200_8_1_every_reply_carries_a_checksum_that_holds() -> None:
    table = Table(own=Spans.parse("2001:db8::/112"))
    for low in range(0, 65536, 257):
        got = answer(table, LINK, ns(HIM6, f"2001:db8::{low:x}")).reply
        assert got is not None
        assert internet_checksum(pseudo_header(got[22:38], got[38:54], 32) + got[54:]) == 0
