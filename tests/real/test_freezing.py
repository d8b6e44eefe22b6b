"""A process that was stopped and goes on: what it says then, and what it does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from arpfast.responder import FactKind
from lab import Arp, Captured, Lab, Link, Mac, wait_until
from lab.frames import REPLY
from tests.real.member import Member

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE_MS = 1000
STRANGER = Mac("02:00:00:ff:00:01")
OURS = "192.0.2.10"


@pytest.fixture
def member(lab: Lab) -> Iterator[Member]:
    near = lab.host("us").link(lab.host("peer"), peer_addresses=["192.0.2.1/24"])
    member = Member(near)
    member.answer(OURS)
    yield member
    member.close()


def far_of(member: Member) -> Link:
    assert member.link.peer
    return member.link.peer


def from_us(frame: Captured) -> bool:
    return not frame.outgoing and isinstance(frame.decoded, Arp)


def stand_still(member: Member, ms: int) -> None:
    member.stop()
    end_s = time.monotonic() + ms / 1000
    wait_until(lambda: time.monotonic() > end_s, what="time to pass")


def test_a_frozen_owner_comes_back_silent_until_it_is_told_to_speak(member: Member) -> None:
    """Neither what waited in its ring is answered, nor what comes afterwards; what was to be sent never is."""
    far = far_of(member)
    request = Arp.request(STRANGER, "192.0.2.1", OURS).encode()
    member.do(f"responder.set_lease({LEASE_MS})")
    assert far.host.resolve(OURS) == member.link.mac
    with far.host.capture(far) as capture:
        stand_still(member, 2 * LEASE_MS)
        far.host.inject(far, *[request] * 300)
        member.go_on()
        frozen = member.wait_fact(FactKind.FROZEN)
        assert frozen["span_ns"] > LEASE_MS * 1e6
        member.do(f"responder.send([Message(MessageKind.ANNOUNCE, {member.link.index}, Span.parse('10.0.0.0/24'))])")
        far.host.inject(far, *[request] * 10)
        wait_until(lambda: member.verdicts("FROZEN") == 310, what="all questions to be heard")
        wait_until(
            lambda: member.do("answer = responder.statistics().links[0].withheld") == 256, what="nothing to wait"
        )
        assert member.do("answer = (responder.statistics().frozen, responder.statistics().freezes)") == [True, 1]
        assert capture.select(from_us) == []
        member.do("responder.resume()")
        wait_until(lambda: not member.do("answer = responder.statistics().frozen"), what="it to speak again")
        far.host.inject(far, request)
        capture.wait_for(from_us)
        assert len(capture.select(from_us)) == 1
    assert len(member.facts(FactKind.FROZEN)) == 1


def test_who_may_not_answer_hears_who_does(member: Member) -> None:
    """How else would it learn that it was replaced?"""
    far = far_of(member)
    member.do(f"responder.set_lease({LEASE_MS})")
    member.do(f"responder.set_members([{bytes(STRANGER)!r}])")
    stand_still(member, 2 * LEASE_MS)
    far.host.inject(far, Arp.request(STRANGER, OURS, OURS).encode())
    member.go_on()
    assert member.wait_fact(FactKind.RIVAL)["mac"] == str(STRANGER)
    assert member.wait_fact(FactKind.FROZEN)


def test_without_a_lease_it_goes_on_as_if_nothing_had_been(member: Member) -> None:
    far = far_of(member)
    with far.host.capture(far) as capture:
        stand_still(member, 100)
        far.host.inject(far, *[Arp.request(STRANGER, "192.0.2.1", OURS).encode()] * 100)
        member.go_on()
        capture.wait_for(
            lambda frame: from_us(frame) and isinstance(frame.decoded, Arp) and frame.decoded.operation == REPLY,
            count=100,
        )
    assert member.facts() == []


def test_a_lease_that_is_given_up_ends_a_freeze(member: Member) -> None:
    member.do(f"responder.set_lease({LEASE_MS})")
    stand_still(member, 2 * LEASE_MS)
    member.go_on()
    member.wait_fact(FactKind.FROZEN)
    member.do("responder.set_lease(None)")
    assert far_of(member).host.resolve(OURS) == member.link.mac


def test_a_lease_has_a_sane_length(member: Member) -> None:
    for length in (0, 4_000_000):
        with pytest.raises(RuntimeError, match=f"expected a lease of 1 to 3600000 ms, not {length}"):
            member.do(f"responder.set_lease({length})")
