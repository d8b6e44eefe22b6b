"""One answer(), wherever it runs: the programs in the kernel say of every frame what the C function says."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arpfast.answer import Link, Table, Verdict, answer, probe
from arpfast.bpf.answering import Way
from arpfast.crossing import RateLimit
from arpfast.spans import Span, Spans
from tests.arpfast.scene import HIM4, HIM6, LINK, OWN4, OWN6, PROXY4, TABLE
from tests.arpfast.test_reference import ARP, NA, NS
from tests.arpfast.wire import HIS_MAC, MEMBER_MAC, OUR_MAC, arp, ns
from tests.real.in_kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())
UNSEEN = {Verdict.OTHER_PROTOCOL, Verdict.TAGGED, Verdict.NOT_ND, Verdict.NOT_FOR_US, Verdict.SHORT}
"""What a frame may be that is left alone by its first bytes."""
LONGEST = 7 * 8


@pytest.fixture(scope="module")
def xdp() -> Iterator[Kernel]:
    kernel = Kernel(Way.NATIVE, members=[MEMBER_MAC])
    kernel.sit(LINK, TABLE)
    yield kernel
    kernel.close()


def same(kernel: Kernel, frame: bytes, link: Link = LINK, table: Table = TABLE) -> None:
    least = {b"\x08\x00": 34, b"\x86\xdd": 54}.get(frame[12:14], 14) if kernel.way is Way.TC else 14
    if not least <= len(frame) <= 2048:  # the test run takes no other
        return
    outcome = answer(table, link, frame)
    told = kernel.answer(frame)
    assert told.reply == (None if told.verdict == "UNJUDGED" else outcome.reply)
    assert not told.dropped
    if told.verdict == "UNJUDGED":
        assert int.from_bytes(frame[18:20], "big") > LONGEST
    elif told.verdict is None:
        assert outcome.verdict in UNSEEN
    else:
        assert told.verdict is outcome.verdict


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(xdp: Kernel, path: Path) -> None:
    same(xdp, path.read_bytes()[1:])


@settings(max_examples=600, suppress_health_check=list(HealthCheck), deadline=None)
@given(ARP | NS | NA, st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=3), st.integers(14, 120))
def test_whole_bent_and_cut_frames(xdp: Kernel, frame: bytes, bends: list[tuple[int, int]], cut: int) -> None:
    bent = bytearray(frame)
    for at, value in bends:
        if at < len(bent):
            bent[at] = value
    same(xdp, frame)
    same(xdp, bytes(bent))
    same(xdp, bytes(bent[:cut]))


def test_tc_says_the_same(lab: Lab) -> None:
    host, other = lab.host("host"), lab.host("other")
    link = host.link(other)
    link.set_mac(OUR_MAC)

    def inside() -> None:
        kernel = Kernel(Way.TC, link.index, members=[MEMBER_MAC])

        @settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
        @given(ARP | NS | NA)
        def whole(frame: bytes) -> None:
            same(kernel, frame)

        try:
            kernel.sit(LINK, TABLE)
            for path in CORPUS:
                same(kernel, path.read_bytes()[1:])
            whole()
        finally:
            kernel.close()

    host.call(inside)


# Tables


def spread(version: int, count: int, stride: int) -> Spans:
    first = int(ip_address("10.0.0.0" if version == 4 else "2001:db8::"))
    return Spans(Span(version, at, at) for at in range(first, first + count * stride, stride))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("count", "stride"), [(1, 1), (300, 2), (5000, 3), (3000, 70_000), (100_000, 1)])
def test_every_form_of_table(xdp: Kernel, version: int, count: int, stride: int) -> None:
    table = Table(own=spread(version, count, stride), proxy=Spans.parse("172.16.0.0/12", "2001:db8:f::/48"))
    xdp.sit(LINK, table)
    first = int(ip_address("10.0.0.0" if version == 4 else "2001:db8::"))
    asker = Link(HIS_MAC)
    for nth in {*range(0, count, count // 50 + 1), count - 1}:
        for off in (-1, 0, 1):
            address = first + nth * stride + off
            same(xdp, probe(asker, ip_address(address.to_bytes(4 if version == 4 else 16, "big"))), table=table)
    xdp.sit(LINK, TABLE)


# What else there is to a reply


def test_no_reply_after_the_term_nor_to_members() -> None:
    kernel = Kernel(Way.NATIVE, members=[MEMBER_MAC])
    question = arp(HIM4, OWN4)
    try:
        assert kernel.answer(question).verdict is None, "no seat, no look"
        kernel.sit(LINK, TABLE)
        kernel.set_term(0)
        assert kernel.answer(question)[:2] == (Verdict.FROZEN, None)
        kernel.set_term(1 << 62, boot_until_ns=1)
        assert kernel.answer(question)[:2] == (Verdict.FROZEN, None)
        kernel.set_term(0, boot_until_ns=1 << 62)
        assert kernel.answer(question).verdict is Verdict.REPLY
        assert kernel.answer(arp(HIM4, OWN4, sha=MEMBER_MAC)).verdict is Verdict.REPLY
        kernel.seats.set_members(True)
        assert kernel.answer(arp(HIM4, OWN4, sha=MEMBER_MAC))[:2] == ("UNJUDGED", None)
        assert kernel.answer(question).verdict is Verdict.REPLY
        kernel.seats.rise(kernel.ifindex)
        assert kernel.answer(question).verdict is None
    finally:
        kernel.close()


def test_the_limit_of_an_asker_drops_and_that_of_all_passes_on() -> None:
    kernel = Kernel(Way.NATIVE, members=[MEMBER_MAC])
    own = arp(HIM4, OWN4)
    try:
        kernel.sit(LINK, TABLE)
        kernel.filter.set_limit(RateLimit(per_mac_per_s=1, burst=5, total_per_s=1_000_000))
        told = [kernel.answer(own) for _ in range(20)]
        assert [one.verdict for one in told].count(Verdict.REPLY) == 5
        assert all(one.dropped for one in told if one.verdict is Verdict.LIMITED)
        assert all(kernel.answer(arp(HIM4, OWN4, sha=MEMBER_MAC)).reply for _ in range(20))
        kernel.filter.set_limit(RateLimit(per_mac_per_s=1_000_000, burst=1_000_000, total_per_s=10))
        askers = [bytes([2, 1, 1, 1, 1, last]) for last in range(20)]
        told = [kernel.answer(arp(HIM4, OWN4, sha=mac)) for mac in askers]
        assert {one.verdict for one in told} == {Verdict.REPLY, Verdict.LIMITED}
        assert not any(one.dropped for one in told)
    finally:
        kernel.close()


def test_identities_and_seats_change_hands(xdp: Kernel) -> None:
    for last in range(1, 60):
        link = Link(bytes([2, 9, 9, 9, 9, last]), link_local=bytes(15) + bytes([last]), router=bool(last % 2))
        for frame in (arp(HIM4, OWN4), arp(HIM4, PROXY4), ns(HIM6, OWN6)):
            xdp.sit(link, TABLE)
            same(xdp, frame, link)
    xdp.sit(LINK, TABLE)


def test_only_one_interface_has_a_seat(xdp: Kernel) -> None:
    with pytest.raises(OSError, match="interface 1 has the seat of interface 1025"):
        xdp.seats.sit(1025, LINK, TABLE)
