"""Malformed frames, each row named after its fault, and ARP: one test a rule, named after its RFC section."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from arpfast.answer import MEANINGS, Outcome, Table, Verdict, announcement, answer, probe, question
from arpfast.spans import Spans
from tests.arpfast.scene import (
    ALL_NODES,
    HIM4,
    HIM6,
    LINK,
    OWN4,
    OWN6,
    PROXY4,
    PROXY6,
    TABLE,
    TENTATIVE4,
    ask,
    reply,
    verdict,
)
from tests.arpfast.wire import BROADCAST, HIS_MAC, KIN_MAC, OUR_MAC, ZERO, arp, ip, na, ns, option

MALFORMED = {
    # Ethernet
    "empty": (b"", "SHORT"),
    "ends in the Ethernet addresses": (BROADCAST + HIS_MAC[:1], "SHORT"),
    "ends before the Ethernet type": (BROADCAST + HIS_MAC, "SHORT"),
    "nothing behind the Ethernet header": (BROADCAST + HIS_MAC + b"\x08\x06", "SHORT"),
    "IPv4": (BROADCAST + HIS_MAC + b"\x08\x00" + bytes(46), "OTHER_PROTOCOL"),
    "RARP": (arp(HIM4, OWN4).replace(b"\x08\x06", b"\x80\x35", 1), "OTHER_PROTOCOL"),
    "802.3 length in place of the type": (BROADCAST + HIS_MAC + b"\x00\x2e" + bytes(46), "OTHER_PROTOCOL"),
    "802.1Q tag": (BROADCAST + HIS_MAC + bytes.fromhex("81000007") + arp(HIM4, OWN4)[12:], "TAGGED"),
    "802.1ad tag": (BROADCAST + HIS_MAC + bytes.fromhex("88a80007") + arp(HIM4, OWN4)[12:], "TAGGED"),
    "ARP to another host's hardware address": (arp(HIM4, OWN4, to=KIN_MAC), "NOT_FOR_US"),
    "NS to another host's hardware address": (ns(HIM6, OWN6, to=KIN_MAC), "NOT_FOR_US"),
    "zero destination": (arp(HIM4, OWN4, to=ZERO), "NOT_FOR_US"),
    # ARP
    "ARP one byte short": (arp(HIM4, OWN4)[:41], "SHORT"),
    "ARP header only": (arp(HIM4, OWN4)[:22], "SHORT"),
    "hardware type IEEE 802": (arp(HIM4, OWN4, types="000608000604"), "NOT_ARP"),
    "hardware type 0": (arp(HIM4, OWN4, types="000008000604"), "NOT_ARP"),
    "protocol type IPv6": (arp(HIM4, OWN4, types="000186dd0604"), "NOT_ARP"),
    "protocol type trailer": (arp(HIM4, OWN4, types="000110000604"), "NOT_ARP"),
    "hardware length 0": (arp(HIM4, OWN4, types="000108000004"), "NOT_ARP"),
    "hardware length 8": (arp(HIM4, OWN4, types="000108000804"), "NOT_ARP"),
    "protocol length 16": (arp(HIM4, OWN4, types="000108000610"), "NOT_ARP"),
    "protocol length 0": (arp(HIM4, OWN4, types="000108000600"), "NOT_ARP"),
    "opcode 0": (arp(HIM4, OWN4, op=0), "NOT_REQUEST"),
    "opcode RARP request": (arp(HIM4, OWN4, op=3), "NOT_REQUEST"),
    "opcode in the wrong byte order": (arp(HIM4, OWN4, op=0x0100), "NOT_REQUEST"),
    "sender hardware address zero": (arp(HIM4, OWN4, sha=ZERO, source=HIS_MAC), "BAD_SENDER"),
    "sender hardware address broadcast": (arp(HIM4, OWN4, sha=BROADCAST, source=HIS_MAC), "BAD_SENDER"),
    "sender hardware address a group": (arp(HIM4, OWN4, sha=b"\x01\x00\x5e\0\0\1", source=HIS_MAC), "BAD_SENDER"),
    "sender multicast": (arp("224.0.0.1", OWN4), "BAD_SENDER"),
    "sender limited broadcast": (arp("255.255.255.255", OWN4), "BAD_SENDER"),
    "sender loopback": (arp("127.0.0.1", OWN4), "BAD_SENDER"),
    "target multicast, though in a proxied prefix": (arp(HIM4, "224.0.0.1"), "BAD_TARGET"),
    "target limited broadcast, though proxied": (arp(HIM4, "255.255.255.255"), "BAD_TARGET"),
    "target 0.0.0.0, though proxied": (arp(HIM4, "0.0.0.0"), "BAD_TARGET"),
    "target loopback, though proxied": (arp(HIM4, "127.0.0.1"), "BAD_TARGET"),
    # Neighbor Discovery
    "IPv6 header cut": (ns(HIM6, OWN6)[:53], "SHORT"),
    "nothing behind the IPv6 header": (ns(HIM6, OWN6)[:54], "SHORT"),
    "payload beyond the frame": (ns(HIM6, OWN6)[:85], "SHORT"),
    "payload length 65535": (ns(HIM6, OWN6, payload_length=65535), "SHORT"),
    "payload length 0": (ns(HIM6, OWN6, payload_length=0), "NOT_ND"),
    "version 4": (ns(HIM6, OWN6, version=4), "NOT_ND"),
    "hop-by-hop header in between": (ns(HIM6, OWN6, next_header=0), "NOT_ND"),
    "fragment header in between": (ns(HIM6, OWN6, next_header=44), "NOT_ND"),
    "UDP": (ns(HIM6, OWN6, next_header=17), "NOT_ND"),
    "echo request": (ns(HIM6, OWN6)[:54] + b"\x80" + ns(HIM6, OWN6)[55:], "NOT_ND"),
    "router solicitation": (ns(HIM6, OWN6)[:54] + b"\x85" + ns(HIM6, OWN6)[55:], "NOT_ND"),
    "the first byte of an echo request": (ns(HIM6, OWN6)[:54] + b"\x80", "NOT_ND"),
    "hop limit 254": (ns(HIM6, OWN6, hop_limit=254), "BAD_HOP_LIMIT"),
    "hop limit 0": (ns(HIM6, OWN6, hop_limit=0), "BAD_HOP_LIMIT"),
    "code 1": (ns(HIM6, OWN6, code=1), "BAD_CODE"),
    "checksum 0": (ns(HIM6, OWN6, checksum=0), "BAD_CHECKSUM"),
    "checksum of another destination": (
        ns(HIM6, OWN6)[:53] + b"\x11" + ns(HIM6, OWN6)[54:], "BAD_CHECKSUM",
    ),
    "one byte of ICMP": (ns(HIM6, OWN6, slla=None, cut=0, payload_length=1), "BAD_LENGTH"),
    "ICMP length 23": (ns(HIM6, OWN6, slla=None, cut=1), "BAD_LENGTH"),
    "payload length cuts the target, frame padded": (ns(HIM6, OWN6, slla=None, payload_length=16), "BAD_LENGTH"),
    "option of length 0": (ns(HIM6, OWN6, slla=None, options=option(1, HIS_MAC, 0)), "BAD_OPTION"),
    "unknown option of length 0": (ns(HIM6, OWN6, options=option(200, bytes(6), 0)), "BAD_OPTION"),
    "option beyond the message": (ns(HIM6, OWN6, slla=None, options=option(1, HIS_MAC, 2)), "BAD_OPTION"),
    "option beyond the message, padding behind": (
        ns(HIM6, OWN6, options=option(14, bytes(6), 255), tail=bytes(64)), "BAD_OPTION",
    ),
    "half an option": (ns(HIM6, OWN6, cut=4), "BAD_OPTION"),
    "a lone option type": (ns(HIM6, OWN6, cut=7), "BAD_OPTION"),
    "source link-layer address of 14 bytes": (ns(HIM6, OWN6, slla=None, options=option(1, bytes(14))), "BAD_OPTION"),
    "more options than fit a frame": (ns(HIM6, OWN6, options=option(200, bytes(6)) * 190), "MANY_OPTIONS"),
    "source multicast": (ns("ff02::1", OWN6), "BAD_SENDER"),
    "source loopback": (ns("::1", OWN6), "BAD_SENDER"),
    "source link-layer address a group": (ns(HIM6, OWN6, slla=b"\x33\x33\0\0\0\1"), "BAD_SENDER"),
    "source link-layer address zero": (ns(HIM6, OWN6, slla=ZERO), "BAD_SENDER"),
    "no option and a group as Ethernet source": (ns(HIM6, OWN6, slla=None, mac=BROADCAST), "BAD_SENDER"),
    "no option and a zero Ethernet source": (ns(HIM6, OWN6, slla=None, mac=ZERO), "BAD_SENDER"),
    "target multicast, though proxied": (ns(HIM6, "ff02::1"), "BAD_TARGET"),
    "target unspecified, though proxied": (ns(HIM6, "::"), "BAD_TARGET"),
    "target ::1, though proxied": (ns(HIM6, "::1"), "BAD_TARGET"),
    "target IPv4-mapped, though proxied": (ns(HIM6, "::ffff:192.0.2.10"), "BAD_TARGET"),
    "source IPv4-mapped": (ns("::ffff:192.0.2.99", OWN6), "BAD_SENDER"),
    "to another host's address": (ns(HIM6, OWN6, destination=ip("2001:db8::11")), "BAD_DESTINATION"),
    "to another address of ours": (ns(HIM6, PROXY6, destination=ip(OWN6)), "BAD_DESTINATION"),
    "to the unspecified address": (ns(HIM6, OWN6, destination=ip("::")), "BAD_DESTINATION"),
    "to a group of the host alone": (ns(HIM6, OWN6, destination=ip("ff01::1")), "BAD_DESTINATION"),
    "detection to all nodes": (ns("::", OWN6, slla=None, destination=ALL_NODES), "BAD_DESTINATION"),
    "detection to the address itself": (ns("::", OWN6, slla=None, destination=ip(OWN6)), "BAD_DESTINATION"),
    "detection with a link-layer address": (ns("::", OWN6), "UNEXPECTED_SOURCE_OPTION"),
    "advertisement: hop limit 64": (na(HIM6, OWN6, HIM6, hop_limit=64), "BAD_HOP_LIMIT"),
    "advertisement: code 2": (na(HIM6, OWN6, HIM6, code=2), "BAD_CODE"),
    "advertisement: checksum": (na(HIM6, OWN6, HIM6, checksum=0x1234), "BAD_CHECKSUM"),
    "advertisement: length 16": (na(HIM6, OWN6, HIM6, tlla=None, cut=8), "BAD_LENGTH"),
    "advertisement: option of length 0": (na(HIM6, OWN6, HIM6, options=option(2, ZERO, 0)), "BAD_OPTION"),
    "advertisement: target multicast": (na(HIM6, OWN6, "ff02::5"), "BAD_TARGET"),
    "advertisement: solicited, to all nodes": (na(HIM6, "ff02::1", OWN6, flags=0x60), "BAD_SOLICITED_FLAG"),
    "advertisement: target link-layer address zero": (na(HIM6, OWN6, OWN6, tlla=ZERO), "BAD_SENDER"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_refused(name: str) -> None:
    frame, expected = MALFORMED[name]
    outcome = ask(frame)
    assert outcome.verdict.name == expected
    assert outcome.reply is None


def test_every_cut_of_a_valid_frame_is_refused_without_a_read_beyond_it() -> None:
    for frame, least in ((arp(HIM4, OWN4), 42), (ns(HIM6, OWN6), 86)):
        assert {ask(frame[:length]).verdict for length in range(least)} == {Verdict.SHORT}


def test_verdicts_have_meanings() -> None:
    assert set(MEANINGS) == set(Verdict)
    assert all(MEANINGS.values())


# ARP


def test_rfc826_reply_swaps_and_is_padded() -> None:
    assert reply(arp(HIM4, OWN4)) == arp(OWN4, HIM4, op=2, sha=OUR_MAC, tha=HIS_MAC, to=HIS_MAC)


def test_rfc826_padding_is_ignored() -> None:
    clean = reply(arp(HIM4, OWN4))
    assert reply(arp(HIM4, OWN4, pad=42)) == clean
    assert reply(arp(HIM4, OWN4, pad=42) + b"\xa5" * 18) == clean
    assert reply(arp(HIM4, OWN4, pad=1500)) == clean


def test_rfc826_unicast_request_is_answered() -> None:
    assert reply(arp(HIM4, OWN4, to=OUR_MAC)) == reply(arp(HIM4, OWN4))


def test_rfc826_reply_goes_to_the_sender_in_the_message() -> None:
    assert reply(arp(HIM4, OWN4, source=KIN_MAC))[:6] == HIS_MAC


def test_rfc826_target_hardware_address_of_a_request_is_not_looked_at() -> None:
    assert reply(arp(HIM4, OWN4, tha=BROADCAST)) == reply(arp(HIM4, OWN4))


def test_rfc826_other_targets_and_opcodes_stay_silent() -> None:
    assert verdict(arp(HIM4, "192.0.2.11")) == "NOT_OURS"
    assert verdict(arp(HIM4, OWN4, op=2)) == "NOT_REQUEST"


def test_rfc826_sender_is_looked_at_before_target_and_opcode() -> None:
    for target in ("192.0.2.11", HIM4, OWN4, "0.0.0.0"):
        assert verdict(arp(OWN4, target)) == "CONFLICT"
        assert verdict(arp(OWN4, target, op=2)) == "CONFLICT"


def test_rfc5227_2_1_1_probe_and_announcement_frames() -> None:
    assert probe(LINK, IPv4Address(OWN4)) == arp("0.0.0.0", OWN4, sha=OUR_MAC)
    assert announcement(LINK, IPv4Address(OWN4)) == arp(OWN4, OWN4, sha=OUR_MAC)
    assert question(LINK, IPv4Address(OWN4), IPv4Address(HIM4)) == arp(OWN4, HIM4, sha=OUR_MAC)


def test_rfc5227_2_1_1_any_use_of_a_tentative_address_means_taken() -> None:
    for op in (1, 2):
        for target in (HIM4, TENTATIVE4, OWN4):
            outcome = ask(arp(TENTATIVE4, target, op=op))
            assert (outcome.verdict, outcome.mac) == (Verdict.TAKEN, HIS_MAC)
            assert outcome.address == int(IPv4Address(TENTATIVE4))


def test_rfc5227_2_1_1_another_hosts_probe_means_taken_but_not_our_own() -> None:
    assert verdict(arp("0.0.0.0", TENTATIVE4)) == "TAKEN"
    assert verdict(arp("0.0.0.0", TENTATIVE4, sha=OUR_MAC)) == "LOOPED"
    assert verdict(arp("0.0.0.0", TENTATIVE4, sha=KIN_MAC)) == "LOOPED"


def test_rfc5227_2_1_1_what_is_asked_by_unicast_is_no_probe() -> None:
    """It is asked of us, who are taken for the owner."""
    assert verdict(arp("0.0.0.0", TENTATIVE4, to=OUR_MAC)) == "TENTATIVE"


def test_rfc5227_2_1_1_a_tentative_address_is_never_answered() -> None:
    assert verdict(arp(HIM4, TENTATIVE4)) == "TENTATIVE"


def test_rfc5227_2_4_foreign_use_of_our_address_is_a_conflict_never_a_request() -> None:
    outcome = ask(arp(OWN4, OWN4))
    assert outcome == Outcome(Verdict.CONFLICT, None, 4, HIS_MAC, int(IPv4Address(OWN4)))


def test_rfc5227_2_4_our_own_frames_and_kin_are_no_conflict() -> None:
    for sha in (OUR_MAC, KIN_MAC):
        for op in (1, 2):
            assert verdict(arp(OWN4, OWN4, sha=sha, op=op)) == "LOOPED"


def test_rfc5227_2_5_probes_for_our_address_are_answered() -> None:
    assert reply(arp("0.0.0.0", OWN4)) == arp(OWN4, "0.0.0.0", op=2, sha=OUR_MAC, tha=HIS_MAC, to=HIS_MAC)


def test_rfc5227_2_6_replies_are_never_broadcast() -> None:
    assert reply(arp("0.0.0.0", OWN4))[0] & 1 == 0


def test_arp_question_of_kin_is_answered_like_any_other() -> None:
    assert reply(arp(HIM4, OWN4, sha=KIN_MAC))[:6] == KIN_MAC


def test_arp_reply_to_us_confirms_our_address() -> None:
    outcome = ask(arp(HIM4, OWN4, op=2, tha=OUR_MAC, to=OUR_MAC))
    assert outcome == Outcome(Verdict.CONFIRMED, None, 4, HIS_MAC, int(IPv4Address(OWN4)))


def test_arp_proxied_address_is_answered_but_left_to_who_takes_it() -> None:
    assert reply(arp(HIM4, PROXY4)) == arp(PROXY4, HIM4, op=2, sha=OUR_MAC, tha=HIS_MAC, to=HIS_MAC)
    assert verdict(arp("0.0.0.0", PROXY4)) == "PROXY_PROBE"
    assert verdict(arp(PROXY4, PROXY4)) == "PROXY_PROBE"
    assert reply(arp(PROXY4, OWN4))[:6] == HIS_MAC


@pytest.mark.parametrize("room", [0, 42, 59])
def test_arp_reply_is_not_written_without_room(room: int) -> None:
    assert answer(TABLE, LINK, arp(HIM4, OWN4, pad=42), capacity=room).verdict is Verdict.NO_ROOM


def test_golden_arp_reply() -> None:
    table = Table(own=Spans.parse("192.168.1.240"))
    expected = bytes.fromhex(
        "02000000009902000000000108060001080006040002020000000001c0a801f0020000000099c0a8010a000000000000000000000000000000000000"
    )
    assert answer(table, LINK, arp("192.168.1.10", "192.168.1.240")).reply == expected
