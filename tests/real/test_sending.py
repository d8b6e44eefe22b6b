"""What the responder's thread sends of its own accord: frames, order, pace and bounds, as seen from the other end."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from arpfast.answer import Table
from arpfast.responder import FactKind, Message, MessageKind, Responder
from arpfast.spans import Address, Span, Spans
from lab import Advertisement, Arp, Capture, Captured, Lab, Link, Solicitation, wait_until
from lab.frames import ALL_NODES, BROADCAST, NO_MAC, REQUEST, UNSPECIFIED, Decoded, multicast_mac, solicited_node
from lab.neighbours import State

NONCE = b"nonce!"
RATE_PER_S = 20_000


@pytest.fixture
def responder(lab: Lab) -> Iterator[Responder]:
    with Responder(rate_per_s=RATE_PER_S) as responder:
        responder.start()
        yield responder


@pytest.fixture
def near(lab: Lab, responder: Responder) -> Link:
    return cable(lab, responder)


def cable(lab: Lab, responder: Responder) -> Link:
    near = lab.host().link(lab.host(), peer_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    near.host.call(
        responder.set_link, near.index, near.name, bytes(near.mac), router=False, link_local=None, kin=(),
        nonce=NONCE, table=Table(own=Spans.parse("10.0.0.0/16", "192.0.2.10", "2001:db8::10")),
    )  # fmt: skip
    return near


def peer_of(link: Link) -> Link:
    assert link.peer
    return link.peer


def from_(link: Link) -> Callable[[Captured], bool]:
    """Whether a captured frame is ARP or ND that came from the link."""
    mac = link.mac
    return lambda frame: not frame.outgoing and frame.decoded is not None and frame.decoded.source == mac


def message(kind: MessageKind, link: Link, span: str, target: str | None = None, mac: bytes = b"") -> Message:
    parsed = Span.parse(span)
    return Message(kind, link.index, parsed, Span.parse(target).first if target else 0, mac)


def one_of_each(
    responder: Responder, near: Link, capture: Capture, ours: Address, theirs: Address
) -> list[Decoded | None]:
    """An announcement, a probe, a question and an announcement for the peer alone, as it hears them."""
    wanted = [
        message(MessageKind.ANNOUNCE, near, str(ours)),
        message(MessageKind.PROBE, near, str(ours)),
        message(MessageKind.ASK, near, str(ours), str(theirs)),
        message(MessageKind.TELL, near, str(ours), str(theirs), peer_of(near).mac),
    ]
    assert responder.send(wanted) == 4
    capture.wait_for(from_(near), count=4)
    return [frame.decoded for frame in capture.select(from_(near))]


def test_announcements_probes_and_questions_for_ipv4(near: Link, responder: Responder) -> None:
    """RFC 5227 sections 2.1.1 and 2.3, RFC 826."""
    peer, mac, ours, theirs = peer_of(near), near.mac, IPv4Address("192.0.2.10"), IPv4Address("192.0.2.1")
    with peer.host.capture(peer) as capture:
        announcement, probe, question, told = one_of_each(responder, near, capture, ours, theirs)
    assert announcement == Arp(source=mac, operation=REQUEST, sha=mac, spa=ours, tpa=ours)
    assert probe == Arp(source=mac, operation=REQUEST, sha=mac, spa=IPv4Address(0), tpa=ours)
    assert question == Arp(source=mac, operation=REQUEST, sha=mac, spa=ours, tpa=theirs)
    assert told == Arp(destination=peer.mac, source=mac, operation=REQUEST, sha=mac, spa=ours, tpa=theirs)
    assert isinstance(probe, Arp)
    assert (probe.destination, probe.tha) == (BROADCAST, NO_MAC)
    assert responder.statistics().links[0].sent == dict.fromkeys(MessageKind, 1)


def test_announcements_probes_and_questions_for_ipv6(near: Link, responder: Responder) -> None:
    """RFC 4861 section 7.2.6, RFC 4862 section 5.4.2 with RFC 7527, RFC 4861 section 7.2.2."""
    peer, ours, theirs = peer_of(near), IPv6Address("2001:db8::10"), IPv6Address("2001:db8::1")
    with peer.host.capture(peer) as capture:
        announcement, probe, question, told = one_of_each(responder, near, capture, ours, theirs)
    assert isinstance(announcement, Advertisement)
    assert (announcement.solicited, announcement.override, announcement.router) == (False, True, False)
    assert (announcement.target, announcement.target_mac, announcement.ip_destination) == (ours, near.mac, ALL_NODES)
    assert isinstance(probe, Solicitation)
    assert (probe.ip_source, probe.ip_destination, probe.target) == (UNSPECIFIED, solicited_node(ours), ours)
    assert (probe.nonce, probe.source_mac) == (NONCE, None)
    assert isinstance(question, Solicitation)
    assert (question.ip_source, question.target, question.source_mac) == (ours, theirs, near.mac)
    assert question.destination == multicast_mac(solicited_node(theirs))
    assert isinstance(told, Advertisement)
    assert (told.solicited, told.override, told.router, told.destination) == (False, True, False, peer.mac)
    assert (told.ip_source, told.ip_destination, told.target, told.target_mac) == (ours, theirs, ours, near.mac)
    assert {announcement.checksum, probe.checksum, question.checksum, told.checksum} == {None}
    assert {announcement.hop_limit, probe.hop_limit, question.hop_limit, told.hop_limit} == {255}


@pytest.mark.parametrize(("ours", "theirs"), [("192.0.2.10", "192.0.2.1"), ("2001:db8::10", "2001:db8::1")])
def test_a_question_that_is_answered_is_confirmed(near: Link, responder: Responder, ours: str, theirs: str) -> None:
    before_ns = time.monotonic_ns()
    responder.send([message(MessageKind.ASK, near, ours, theirs)])
    seen = wait_until(responder.facts, what="a fact")
    assert [(fact.kind, fact.address, fact.mac) for fact in seen] == [
        (FactKind.CONFIRMED, Span.parse(ours).first, peer_of(near).mac)
    ]
    assert before_ns < seen[0].monotonic_ns < time.monotonic_ns()


@pytest.mark.parametrize(("ours", "theirs"), [("192.0.2.10", "192.0.2.1"), ("2001:db8::10", "2001:db8::1")])
def test_who_is_told_believes_it_whatever_it_makes_of_announcements_to_all(
    near: Link, responder: Responder, ours: str, theirs: str
) -> None:
    peer = peer_of(near)
    peer.host.set({f"net.ipv4.conf.{peer.name}.drop_gratuitous_arp": 1})
    peer.host.netlink("neigh", "add", dst=ours, lladdr="02:00:00:00:77:77", ifindex=peer.index, state=State.STALE)
    responder.send([message(MessageKind.TELL, near, ours, theirs, peer.mac)])
    peer.host.wait_neighbour(ours, mac=near.mac)


def test_a_message_that_tells_says_where(near: Link, responder: Responder) -> None:
    with pytest.raises(ValueError, match="expected 6 bytes of mac in a message that tells, not 0"):
        responder.send([message(MessageKind.TELL, near, "192.0.2.10", "192.0.2.1")])


def test_a_span_is_sent_address_by_address_across_byte_borders(near: Link, responder: Responder) -> None:
    peer = peer_of(near)
    with peer.host.capture(peer) as capture:
        responder.send([message(MessageKind.ANNOUNCE, near, "10.0.254.250-10.1.1.5")])
        responder.send([message(MessageKind.ANNOUNCE, near, "2001:db8::fffe-2001:db8::1:1")])
        capture.wait_for(from_(near), count=6 + 256 + 256 + 6 + 4)
        told = [frame.decoded for frame in capture.select(from_(near))]
    ipv4 = [int(what.spa) for what in told if isinstance(what, Arp)]
    assert ipv4 == list(range(int(IPv4Address("10.0.254.250")), int(IPv4Address("10.1.1.5")) + 1))
    ipv6 = [what.target for what in told if isinstance(what, Advertisement)]
    assert ipv6 == [IPv6Address(f"2001:db8::{tail}") for tail in ("fffe", "ffff", "1:0", "1:1")]


def test_a_thousand_addresses_go_out_at_the_pace_and_no_faster(near: Link, responder: Responder) -> None:
    """By the kernel's time stamps. A late wake-up catches up with a little, and no stretch is faster by more."""
    peer = peer_of(near)
    with peer.host.capture(peer) as capture:
        responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.1-10.0.3.232")])
        capture.wait_for(from_(near), count=1000)
        times_ns = [frame.time_ns for frame in capture.select(from_(near))]
    assert len(times_ns) == 1000
    span_ns = times_ns[-1] - times_ns[0]
    assert span_ns > 0.9 * 1000 / RATE_PER_S * 1e9
    catch_up = RATE_PER_S // 200 + 64
    for start in range(0, 1000 - 200, 50):
        assert times_ns[start + 200] - times_ns[start] > (200 - catch_up) / RATE_PER_S * 1e9 * 0.8


def test_interfaces_take_turns(lab: Lab, near: Link, responder: Responder) -> None:
    other = cable(lab, responder)
    peer, other_peer = peer_of(near), peer_of(other)
    with peer.host.capture(peer) as capture, other_peer.host.capture(other_peer) as other_capture:
        responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.0/18")])
        capture.wait_for(from_(near))
        responder.send([message(MessageKind.ANNOUNCE, other, "10.0.0.0/24")])
        other_capture.wait_for(from_(other), count=256)
        sent = {link.ifindex: link.sent[MessageKind.ANNOUNCE] for link in responder.statistics().links}
    assert sent[near.index] < 1 << 14
    assert sent[other.index] == 256


def test_a_full_queue_refuses_and_tells_when_there_is_room(near: Link, responder: Responder) -> None:
    wanted = [message(MessageKind.ANNOUNCE, near, "10.0.0.0/30")] + [
        message(MessageKind.ANNOUNCE, near, f"10.0.{number // 256}.{number % 256}") for number in range(5000)
    ]
    taken = responder.send(wanted)
    assert 4096 <= taken < 5000
    seen = wait_until(responder.facts, what="room")
    assert [(fact.kind, fact.ifindex) for fact in seen] == [(FactKind.ROOM, near.index)]
    assert responder.send(wanted[taken:]) == 5001 - taken
    wait_until(lambda: responder.statistics().links[0].sent[MessageKind.ANNOUNCE] == 5004, what="all of it")
    assert responder.statistics().links[0].queued == 0


def test_messages_for_an_interface_that_is_dropped_are_dropped_and_counted(near: Link, responder: Responder) -> None:
    responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.0/16")] * 10)
    responder.drop_link(near.index)
    assert 9 <= responder.statistics().messages_dropped <= 10
    assert responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.1")]) == 1
    assert 10 <= responder.statistics().messages_dropped <= 11


def test_an_interface_that_is_down_costs_its_messages_and_holds_up_nobody(
    lab: Lab, near: Link, responder: Responder
) -> None:
    other = cable(lab, responder)
    other_peer = peer_of(other)
    near.down()
    with other_peer.host.capture(other_peer) as capture:
        responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.0/24")])
        responder.send([message(MessageKind.ANNOUNCE, other, "10.0.0.0/24")])
        capture.wait_for(from_(other), count=256)

    def refused() -> int:
        return next(link.send_errors for link in responder.statistics().links if link.ifindex == near.index)

    wait_until(lambda: refused() == 256, what="the errors")


def test_answers_come_before_announcements(near: Link, responder: Responder) -> None:
    peer = peer_of(near)
    responder.send([message(MessageKind.ANNOUNCE, near, "10.0.0.0/16")])
    with peer.host.capture(peer) as capture:
        assert peer.host.resolve("192.0.2.10") == near.mac
        kinds = Counter(
            frame.decoded.operation for frame in capture.select(from_(near)) if isinstance(frame.decoded, Arp)
        )
    assert kinds[REQUEST] < 10_000


@pytest.mark.parametrize("span", [Span(4, 0, 1 << 24), Span(6, 1, 0)])
def test_spans_that_nobody_could_mean_are_refused(near: Link, responder: Responder, span: Span) -> None:
    with pytest.raises(ValueError, match="expected 1 to 16777216 addresses in a message"):
        responder.send([Message(MessageKind.ANNOUNCE, near.index, span)])
