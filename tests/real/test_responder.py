"""The responder on real interfaces, judged by a Linux peer's neighbour table and by what passes the cable."""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from arpfast.answer import Table, Verdict
from arpfast.responder import FactKind
from arpfast.spans import Spans
from lab import Advertisement, Arp, Lab, Link, Mac, Solicitation, wait_until
from lab.waiting import DEADLINE_S, wait_readable
from tests.real.answering import (
    NONCE,
    OURS,
    STRANGER,
    TABLE,
    Stage,
    answering,
    answers,
    descriptors,
    is_answer,
    request,
)


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    yield from answering(lab)


def tagged(frame: bytes, tci: int) -> bytes:
    return frame[:12] + struct.pack("!HH", 0x8100, tci) + frame[12:]


@pytest.mark.parametrize("address", OURS)
def test_a_linux_peer_resolves_us(stage: Stage, address: str) -> None:
    assert stage.far.host.resolve(address) == stage.near.mac
    asked = stage.responder.asked(ip_address(address).version, int(ip_address(address)))
    assert asked
    assert (asked.mac, asked.ifindex) == (stage.far.mac, stage.near.index)
    assert stage.counts().verdicts[Verdict.REPLY] >= 1


def test_who_asked_is_known_with_his_own_address(stage: Stage) -> None:
    """The latest first, whatever he asked for; who only probed has no address to be told at."""
    other = Mac("02:00:00:ff:00:02")
    assert stage.responder.askers(10) == ()
    stage.far.host.inject(stage.far, request(), request("192.0.2.11"))
    stage.wait_verdict(Verdict.REPLY, 2)
    stage.far.host.inject(
        stage.far, Solicitation.ask(other, "fe80::77", OURS[1]).encode(),
        Solicitation.ask(other, "::", OURS[1]).encode(), Arp.request(other, "0.0.0.0", OURS[0]).encode(),
    )  # fmt: skip
    stage.wait_verdict(Verdict.REPLY, 5)
    found = stage.responder.askers(10)
    assert [(one.mac, one.ifindex, one.version, one.address) for one in found] == [
        (other, stage.near.index, 6, int(IPv6Address("fe80::77"))),
        (STRANGER, stage.near.index, 4, int(IPv4Address("192.0.2.1"))),
    ]
    assert found[0].monotonic_ns > found[1].monotonic_ns
    assert stage.responder.askers(1) == found[:1]


@pytest.mark.parametrize("address", OURS)
def test_answers_are_what_the_rfcs_say(stage: Stage, address: str) -> None:
    with stage.far.host.capture(stage.far) as capture:
        stage.far.host.resolve(address)
        answer = capture.wait_for(is_answer).decoded
    if isinstance(answer, Arp):
        assert (answer.destination, answer.source, answer.sha) == (stage.far.mac, stage.near.mac, stage.near.mac)
        assert (answer.spa, answer.tpa, answer.tha) == (IPv4Address(address), IPv4Address("192.0.2.1"), stage.far.mac)
    else:
        assert isinstance(answer, Advertisement)
        assert (answer.solicited, answer.override, answer.router, answer.checksum) == (True, True, False, None)
        assert (answer.target, answer.target_mac) == (IPv6Address(address), stage.near.mac)


def test_addresses_that_are_not_ours_are_not_answered(stage: Stage) -> None:
    with stage.far.host.capture(stage.far) as capture:
        stage.far.host.inject(stage.far, request("192.0.2.200"))
        stage.far.host.inject(stage.far, Solicitation.ask(STRANGER, "2001:db8::1", "2001:db8::200").encode())
        stage.wait_verdict(Verdict.NOT_OURS, 2)
        assert not answers(capture)


def test_a_frame_of_another_vlan_is_never_answered(stage: Stage) -> None:
    solicitation = Solicitation.ask(STRANGER, "2001:db8::1", OURS[1]).encode()
    with stage.far.host.capture(stage.far) as capture:
        for frame in (request(), solicitation):
            stage.far.host.inject(stage.far, tagged(frame, 7), tagged(frame, 0xE007), tagged(tagged(frame, 7), 9))
        stage.far.host.inject(stage.far, request("192.0.2.11"))
        last = capture.wait_for(is_answer)
        assert isinstance(last.decoded, Arp)
        assert last.decoded.spa == IPv4Address("192.0.2.11")
        assert len(answers(capture)) == 1


def test_a_priority_tag_belongs_to_the_interface_itself(stage: Stage) -> None:
    with stage.far.host.capture(stage.far) as capture:
        stage.far.host.inject(stage.far, tagged(request(), 5 << 13))
        assert not getattr(capture.wait_for(is_answer).decoded, "tags", ())
        stage.far.host.inject(stage.far, tagged(Solicitation.ask(STRANGER, "2001:db8::1", OURS[1]).encode(), 0))
        capture.wait_for(is_answer, count=2)


def test_unicast_to_another_host_is_not_answered(stage: Stage) -> None:
    """As a switch floods it, or a promiscuous interface hears it."""
    with stage.far.host.capture(stage.far) as capture:
        other = Mac("02:00:00:00:77:77")
        stage.far.host.inject(stage.far, request(destination=other))
        stage.far.host.inject(stage.far, Solicitation.ask(STRANGER, "2001:db8::1", OURS[1], to=other).encode())
        stage.far.host.inject(stage.far, request(destination=stage.near.mac))
        capture.wait_for(is_answer)
        assert len(answers(capture)) == 1


def test_a_solicitation_longer_than_a_slot_is_answered(stage: Stage) -> None:
    """With SEND's options (RFC 3971) a solicitation does not fit into the ring's slots."""
    padding = tuple((11, bytes(248 + 6)) for _ in range(4))
    ask = Solicitation.ask(STRANGER, "2001:db8::1", OURS[1])
    long = Solicitation(**{**ask.__dict__, "options": ask.options + padding}).encode()
    assert len(long) > 1000
    with stage.far.host.capture(stage.far) as capture:
        for count in range(1, 6):
            stage.far.host.inject(stage.far, long)
            answer = capture.wait_for(is_answer, count=count).decoded
            assert isinstance(answer, Advertisement)
            assert (answer.target_mac, answer.checksum) == (stage.near.mac, None)
        stage.far.host.inject(stage.far, ask.encode(), *[long] * 20, ask.encode())
        capture.wait_for(is_answer, count=27)
    assert stage.counts().verdicts[Verdict.REPLY] == 27


def test_a_long_frame_that_was_cut_in_flight_is_refused(stage: Stage) -> None:
    ask = Solicitation.ask(STRANGER, "2001:db8::1", OURS[1])
    padding = tuple((11, bytes(248 + 6)) for _ in range(4))
    long = Solicitation(**{**ask.__dict__, "options": ask.options + padding}).encode()
    stage.far.host.inject(stage.far, long[:-1], long[:300])
    stage.wait_verdict(Verdict.SHORT, 2)


def test_conflicts_are_told_once_a_second_with_who_it_was(stage: Stage) -> None:
    theirs = Arp.request(STRANGER, OURS[0], "192.0.2.1").encode()
    stage.far.host.inject(stage.far, *[theirs] * 200)
    assert wait_readable(stage.responder.fileno(), DEADLINE_S)
    stage.wait_verdict(Verdict.CONFLICT, 200)
    facts = stage.responder.facts()
    assert 1 <= len(facts) <= 2
    assert (facts[0].kind, facts[0].ifindex, facts[0].version) == (FactKind.CONFLICT, stage.near.index, 4)
    assert (facts[0].address, facts[0].mac) == (int(IPv4Address(OURS[0])), STRANGER)
    assert stage.responder.facts() == []
    assert not wait_readable(stage.responder.fileno(), 0)
    stage.far.host.inject(stage.far, Advertisement.tell(STRANGER, OURS[1]).encode())
    fact = stage.wait_fact(FactKind.CONFLICT)
    assert (fact.version, fact.address, fact.mac) == (6, int(IPv6Address(OURS[1])), STRANGER)


def test_a_flood_of_conflicts_from_ever_new_macs_does_not_flood_python(stage: Stage) -> None:
    frames = [
        Arp.request(
            b"\x02\x00\x00\xee" + struct.pack("!H", number), f"192.0.2.{10 + number % 90}", "192.0.2.1"
        ).encode()
        for number in range(3000)
    ]
    stage.far.host.inject(stage.far, *frames)
    stage.wait_verdict(Verdict.CONFLICT, 2500)
    assert len(stage.responder.facts()) <= 90 * 4 * 3


def test_a_tentative_address_is_watched_and_never_answered(stage: Stage) -> None:
    stage.set_link(table=Table(tentative=Spans.parse(*OURS)))
    with stage.far.host.capture(stage.far) as capture:
        stage.far.host.inject(stage.far, request())
        stage.wait_verdict(Verdict.TENTATIVE)
        stage.far.host.inject(stage.far, Arp.request(STRANGER, "0.0.0.0", OURS[0]).encode())
        fact = stage.wait_fact(FactKind.TAKEN)
        assert (fact.address, fact.mac) == (int(IPv4Address(OURS[0])), STRANGER)
        stage.far.host.inject(stage.far, Advertisement.tell(STRANGER, OURS[1]).encode())
        assert stage.wait_fact(FactKind.TAKEN).version == 6
        assert not answers(capture)


def test_an_interface_that_goes_down_and_comes_back_is_answered_on(stage: Stage) -> None:
    assert stage.far.host.resolve(OURS[0]) == stage.near.mac
    for _ in range(3):
        stage.near.down()
        wait_until(lambda: stage.counts().socket_errors >= 2, what="both sockets to notice")
        stage.near.up()
        stage.near.wait_carrier()
        stage.far.host.forget()
        assert stage.far.host.resolve(OURS[0]) == stage.near.mac
        assert stage.far.host.resolve(OURS[1]) == stage.near.mac
    assert stage.responder.facts() == []


def test_an_interface_that_is_still_down_is_answered_on_once_it_is_up(stage: Stage) -> None:
    second = stage.near.host.link(stage.lab.host("other"), peer_addresses=["192.0.2.2/24"], up=False)
    assert second.peer
    stage.set_link(second)
    second.peer.up(wait=False)
    second.up()
    assert second.peer.host.resolve(OURS[0]) == second.mac


def test_an_interface_that_vanishes_is_told_of_and_the_others_go_on(stage: Stage) -> None:
    second = stage.near.host.link(stage.lab.host("other"), peer_addresses=["192.0.2.2/24"])
    assert second.peer
    stage.set_link(second)
    assert second.peer.host.resolve(OURS[0]) == second.mac
    stage.near.delete()
    failed = [stage.wait_fact(FactKind.SOCKET_FAILED)]
    assert (failed[0].ifindex, failed[0].error) == (stage.near.index, 19)
    second.peer.host.forget()
    assert second.peer.host.resolve(OURS[0]) == second.mac
    stage.responder.drop_link(stage.near.index)
    assert [link.ifindex for link in stage.responder.statistics().links] == [second.index]
    with pytest.raises(OSError, match="could not find the interface: No such device") as caught:
        stage.near.host.call(
            stage.responder.set_link, stage.near.index, "gone", bytes(STRANGER),
            router=False, link_local=None, kin=(), nonce=NONCE, table=TABLE,
        )  # fmt: skip
    assert caught.value.filename == "gone"


def test_an_interface_made_anew_under_the_same_index_is_opened_anew(stage: Stage) -> None:
    """A wish that has not changed, and sockets that are orphans: the index came back, they do not."""
    index, mac, peer = stage.near.index, stage.near.mac, stage.far.host
    stage.near.delete()
    stage.near.host.netlink("link", "add", ifname="again", kind="veth", index=index, address=str(mac),
                            peer={"ifname": "eth0", "net_ns_fd": peer.namespace.file})  # fmt: skip
    near, far = Link(stage.near.host, index), Link(peer, peer.index_of("eth0"))
    far.add_address("192.0.2.1/24", wait=False)
    far.up(wait=False)
    near.up(wait=False)
    near.wait_carrier()
    stage.set_link()
    assert peer.resolve(OURS[0]) == mac


def test_a_changed_mac_is_told_from_then_on(stage: Stage) -> None:
    stage.near.set_mac("02:00:00:00:55:55")
    stage.set_link()
    assert stage.far.host.resolve(OURS[0]) == Mac("02:00:00:00:55:55")


def test_the_same_wish_again_changes_nothing(stage: Stage) -> None:
    before = descriptors()
    stage.far.host.resolve(OURS[0])
    for _ in range(10):
        stage.set_link()
    assert descriptors() == before
    assert stage.counts().verdicts[Verdict.REPLY] >= 1
