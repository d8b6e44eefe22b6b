"""The responder on real interfaces, judged by a Linux peer's neighbour table and by what passes the cable."""

import gc
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from arpfast.answer import Kind, Table, Verdict
from arpfast.responder import Estate, Fact, FactKind, LinkStatistics, RateLimit, Responder, Watch, alive
from arpfast.spans import Spans
from lab import Advertisement, Arp, Capture, Captured, Host, Lab, Link, Mac, Solicitation, wait_until
from lab.frames import REPLY
from lab.waiting import wait_readable

OURS = ("192.0.2.10", "2001:db8::10")
TABLE = Table(own=Spans.parse("192.0.2.10-192.0.2.99", "2001:db8::10-2001:db8::99"))
NONCE = b"nonce!"
STRANGER = Mac("02:00:00:ff:00:01")


@dataclass
class Stage:
    """We on `near`, whose host's kernel owns nothing; a peer with addresses on `far`."""

    lab: Lab
    responder: Responder
    near: Link
    far: Link

    def set_link(self, link: Link | None = None, table: Table | None = TABLE, mac: bytes | None = None) -> None:
        link = link or self.near
        link.host.call(
            self.responder.set_link, link.index, link.name, bytes(link.mac) if mac is None else mac,
            router=False, link_local=None, kin=(), nonce=NONCE, table=table,
        )  # fmt: skip

    def counts(self, link: Link | None = None) -> LinkStatistics:
        index = (link or self.near).index
        return next(found for found in self.responder.statistics().links if found.ifindex == index)

    def wait_verdict(self, verdict: Verdict, count: int = 1) -> None:
        wait_until(lambda: self.counts().verdicts[verdict] >= count, what=f"{count} {verdict.name}")

    def wait_fact(self, kind: FactKind) -> Fact:
        seen: list[Fact] = []

        def found() -> Fact | None:
            seen.extend(self.responder.facts())
            return next((fact for fact in seen if fact.kind == kind), None)

        fact = wait_until(found, what=f"a fact {kind.name}")
        assert fact
        return fact


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    near = lab.host("us").link(lab.host("peer"), peer_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    assert near.peer
    with Responder() as responder:
        responder.start()
        stage = Stage(lab, responder, near, near.peer)
        stage.set_link()
        yield stage


def is_answer(frame: Captured) -> bool:
    """Seen from the peer: what bypasses the queueing discipline also bypasses a capture on our own side."""
    what = frame.decoded
    return not frame.outgoing and (
        isinstance(what, Advertisement) or (isinstance(what, Arp) and what.operation == REPLY)
    )


def answers(capture: Capture) -> list[Captured]:
    return capture.select(is_answer)


def request(target: str = OURS[0], **fields: bytes) -> bytes:
    return Arp.request(STRANGER, "192.0.2.1", target, **fields).encode()


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
    assert wait_readable(stage.responder.fileno(), 5)
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


def descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the lab's threads come and go, and what they open
            found.append(str(path.readlink()))
    return sorted(found)


def asking(host: Host, link: Link, targets: int, rate_per_s: int, stop: threading.Event) -> int:
    """Ask for 192.0.2.10 and its neighbours at a steady pace until told to stop; returns how many times."""
    frames = [request(f"192.0.2.{10 + number}") for number in range(targets)]
    slice_ = rate_per_s // 500
    asked = 0
    while not stop.wait(0.002):
        host.inject(link, *(frames[(asked + i) % targets] for i in range(slice_)))
        asked += slice_
    return asked


def test_a_thousand_new_tables_under_load_miss_no_request(stage: Stage) -> None:
    stop = threading.Event()
    before = alive()
    asked = stage.far.host.submit(asking, stage.far.host, stage.far, 80, 10_000, stop)
    tables = [
        Table(own=Spans.parse("192.0.2.10-192.0.2.99", f"198.51.100.{number % 250}", "2001:db8::10"))
        for number in range(1000)
    ]
    replaced = [0]

    def replace() -> None:
        for table in tables:
            stage.responder.set_link(
                stage.near.index, "eth0", mac, router=False, link_local=None, kin=(), nonce=NONCE, table=table
            )
            replaced[0] += 1

    mac = bytes(stage.near.mac)
    wait_until(lambda: stage.counts().verdicts[Verdict.REPLY] > 1000, what="the load")
    stage.near.host.call(replace)
    stop.set()
    total = asked.result()
    stage.wait_verdict(Verdict.REPLY, total)
    counts = stage.counts()
    assert replaced == [1000]
    assert (counts.verdicts[Verdict.REPLY], counts.drops, counts.send_errors) == (total, 0, 0)
    gc.collect()
    assert alive() == before


def test_links_come_and_go_under_load_and_the_one_that_stays_misses_nothing(stage: Stage) -> None:
    stop = threading.Event()
    before = alive()
    others = [stage.near.host.link(stage.lab.host()) for _ in range(3)]
    asked = stage.far.host.submit(asking, stage.far.host, stage.far, 80, 10_000, stop)
    for _ in range(10):
        for other in others:
            stage.set_link(other)
        for other in others:
            stage.responder.drop_link(other.index)
    stop.set()
    total = asked.result()
    stage.wait_verdict(Verdict.REPLY, total)
    assert stage.counts().drops == 0
    assert alive() == before


def test_a_ring_that_is_full_counts_what_it_loses(stage: Stage) -> None:
    """Before the thread runs nobody empties the ring."""
    with Responder(ring_frames=256) as responder:
        idle = Stage(stage.lab, responder, stage.near, stage.far)
        idle.set_link()
        stage.far.host.inject(stage.far, *[request()] * 300)
        wait_until(lambda: idle.counts().drops >= 40, what="drops")
        assert idle.counts().drops == 44
        assert idle.counts().verdicts[Verdict.REPLY] == 0
        responder.start()
        idle.wait_verdict(Verdict.REPLY, 256)


def test_the_limit_spares_the_polite(stage: Stage) -> None:
    stage.responder.drop_link(stage.near.index)
    with Responder(limit=RateLimit(per_mac_per_s=10, burst=20, total_per_s=10_000)) as responder:
        limited = Stage(stage.lab, responder, stage.near, stage.far)
        limited.set_link()
        responder.start()
        stage.far.host.inject(stage.far, *[request()] * 500)
        limited.wait_verdict(Verdict.LIMITED, 400)
        assert stage.far.host.resolve(OURS[0]) == stage.near.mac


def test_a_member_is_a_rival_is_never_limited_and_no_asker(stage: Stage) -> None:
    stage.responder.set_rates(rate_per_s=20_000, limit=RateLimit(per_mac_per_s=1, burst=1, total_per_s=0))
    stage.responder.set_members([STRANGER])
    stage.far.host.inject(stage.far, *[request()] * 100)
    stage.wait_verdict(Verdict.REPLY, 100)
    assert stage.responder.asked(4, int(IPv4Address(OURS[0]))) is None
    assert stage.responder.askers(10) == ()
    stage.far.host.inject(stage.far, Arp.request(STRANGER, OURS[0], OURS[0]).encode())
    fact = stage.wait_fact(FactKind.RIVAL)
    assert (fact.ifindex, fact.version, fact.address, fact.mac) == (
        stage.near.index, 4, int(IPv4Address(OURS[0])), STRANGER,
    )  # fmt: skip
    stage.responder.set_members([])
    stage.far.host.inject(stage.far, Arp.request(STRANGER, OURS[0], OURS[0]).encode())
    assert stage.wait_fact(FactKind.CONFLICT).mac == STRANGER


class Shown:
    """A filter that only remembers which tables it was shown."""

    def __init__(self) -> None:
        self.tables: dict[int, Table] = {}

    def socket_program(self, version: int) -> int:
        return -1

    def set_limit(self, limit: RateLimit | None) -> None:
        pass

    def set_members(self, macs: frozenset[bytes]) -> None:
        pass

    def set_table(self, ifindex: int, table: Table) -> None:
        self.tables[ifindex] = table

    def drop_link(self, ifindex: int) -> None:
        del self.tables[ifindex]


def test_the_filter_has_what_may_be_inherited_and_interfaces_alike_share_it(stage: Stage) -> None:
    links = [stage.near, stage.near.host.link(stage.lab.host())]
    heirloom = Table(own=Spans.parse("203.0.113.7"))
    estate = Estate(tuple((link.index, heirloom) for link in links))
    shown = Shown()
    with Responder(filter=shown) as responder:
        both = Stage(stage.lab, responder, stage.near, stage.far)
        for link in links:
            both.set_link(link)
        assert set(shown.tables.values()) == {TABLE}
        watch = Watch(stage.near.index, 4, int(IPv4Address("203.0.113.7")), STRANGER, estate=estate)
        stage.near.host.call(responder.set_watches, [watch])
        (union,) = set(shown.tables.values())
        assert [union.find(ip_address(one)) for one in ("203.0.113.7", OURS[0], OURS[1])] == [Kind.OWN] * 3
        with pytest.raises(OSError, match="could not open a packet socket for a watch: No such device"):
            stage.lab.host().call(responder.set_watches, [Watch(stage.near.index, 6, 1, STRANGER), watch])
        assert set(shown.tables.values()) == {union}
        responder.set_watches([])
        assert set(shown.tables.values()) == {TABLE}


def test_the_limit_changes_while_it_runs(stage: Stage) -> None:
    stage.responder.set_rates(rate_per_s=20_000, limit=RateLimit(per_mac_per_s=1, burst=1, total_per_s=0))
    stage.far.host.inject(stage.far, *[request()] * 100)
    stage.wait_verdict(Verdict.LIMITED, 90)
    replies = stage.counts().verdicts[Verdict.REPLY]
    stage.responder.set_rates(rate_per_s=20_000, limit=None)
    stage.far.host.inject(stage.far, *[request()] * 100)
    stage.wait_verdict(Verdict.REPLY, replies + 100)


def test_an_ebpf_filter_is_attached_and_taken_off_again_without_a_gap(stage: Stage) -> None:
    refuse_all, accept_all = socket_filter(0), socket_filter(0x40000)
    stage.responder.set_filter(stage.near.index, 4, accept_all)
    assert stage.far.host.resolve(OURS[0]) == stage.near.mac
    replies = stage.counts().verdicts[Verdict.REPLY]
    stage.responder.set_filter(stage.near.index, 4, refuse_all)
    stage.far.host.inject(stage.far, request())
    assert stage.far.host.resolve(OURS[1]) == stage.near.mac
    assert stage.counts().verdicts[Verdict.REPLY] == replies + 1
    stage.responder.set_filter(stage.near.index, 4, None)
    os.close(refuse_all)
    os.close(accept_all)
    stage.far.host.forget()
    assert stage.far.host.resolve(OURS[0]) == stage.near.mac


def socket_filter(verdict: int) -> int:
    """An eBPF socket filter that gives every frame the same verdict: r0 = verdict; exit."""
    import ctypes

    program = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    instructions = ctypes.create_string_buffer(program)
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack("=IIQQ", 1, 2, ctypes.addressof(instructions), ctypes.addressof(licence)).ljust(120, b"\0")
    buffer = ctypes.create_string_buffer(attributes)
    bpf = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(bpf, 5, buffer, len(attributes))
    if descriptor < 0:
        pytest.skip(f"needs CAP_BPF: {os.strerror(ctypes.get_errno())}")
    return int(descriptor)


def thread_of_the_responder() -> Path:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the lab's threads come and go
            if (task / "comm").read_text() == "arpfast-link\n":
                found.append(task)
    (only,) = found
    return only


def test_it_sleeps_when_nothing_happens(stage: Stage) -> None:
    """No wake-ups: the thread's count of context switches stands still."""
    thread = thread_of_the_responder()

    def switches() -> str:
        return "".join(line for line in (thread / "status").read_text().splitlines() if "ctxt_switches" in line)

    stage.far.host.resolve(OURS[0])
    for setting in ("net.ipv6.conf.all.disable_ipv6",):  # the kernels' own chatter
        stage.far.host.set({setting: 1})
        stage.near.host.set({setting: 1})
    before = switches()
    assert not wait_readable(stage.responder.fileno(), 0.5)
    assert switches() == before


def test_the_thread_takes_no_signals(stage: Stage) -> None:
    status = (thread_of_the_responder() / "status").read_text()
    (blocked,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    assert int(blocked, 16) & 1 << (15 - 1)


def test_closing_frees_everything(stage: Stage) -> None:
    before = descriptors()
    first = alive()
    for _ in range(5):
        with Responder() as responder:
            responder.start()
            Stage(stage.lab, responder, stage.near, stage.far).set_link()
        responder.close()
    forgotten = Responder()
    forgotten.start()
    Stage(stage.lab, forgotten, stage.near, stage.far).set_link()
    del forgotten
    gc.collect()
    assert alive() == first
    assert descriptors() == before
    with pytest.raises(ValueError, match="the responder is closed"):
        responder.statistics()


def test_a_forked_child_may_close_and_the_parent_goes_on(stage: Stage) -> None:
    child = os.fork()
    if child == 0:
        stage.responder.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert stage.far.host.resolve(OURS[0]) == stage.near.mac


def test_without_the_capability_the_error_says_what_was_attempted() -> None:
    script = """
import os
from arpfast.responder import Responder
os.setuid(65534)
with Responder() as responder:
    try:
        responder.set_link(1, "lo", bytes(6), router=False, link_local=None, kin=(), nonce=b"", table=None)
    except PermissionError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[Errno 1] could not open a packet socket: Operation not permitted: 'lo'\n"


FIFO = """
import os, resource, sys, threading
from arpfast.responder import Responder
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if sys.argv[1] == "nobody first":
    os.setuid(65534)
with Responder(fifo=True) as responder:
    if sys.argv[1] == "nobody then":
        os.setuid(65534)
    possible = []
    def attempt():
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            return
        possible.append(True)
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    responder.start()
    for task in os.listdir("/proc/self/task"):
        try:
            name = open(f"/proc/self/task/{task}/comm").read()
        except OSError:
            continue
        if name == "arpfast-link\\n":
            break
    runs = os.sched_getscheduler(int(task)) == os.SCHED_FIFO
    print(responder.statistics().fifo == bool(possible), runs, bool(possible))
"""


@pytest.mark.parametrize("who", ["root", "nobody then", "nobody first"])
def test_the_thread_runs_first_where_it_may_and_says_whether_it_does(who: str) -> None:
    """The capability need not outlive the constructor. Whether it may, the machine says: some forbid it to root."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", FIFO, who], capture_output=True, text=True, check=True, timeout=60
    )
    said, runs, possible = done.stdout.split()
    assert said == "True", done.stdout
    assert runs == possible
    if who == "nobody first":
        assert possible == "False"


def test_it_stays_small() -> None:
    """Four thousand frames of two families are 2 MiB; the rest is a few hundred KiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Responder() as responder:
        responder.start()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rate_per_s": 0}, "expected a rate from 1 to 1000000 frames a second, not 0"),
        ({"ring_frames": 300}, "expected a power of two from 256 to 65536 for ring_frames, not 300"),
    ],
)
def test_bad_settings_are_refused(fields: dict[str, int], expected: str) -> None:
    make: Callable[..., Responder] = Responder
    with pytest.raises(ValueError, match=expected):
        make(**fields)


def test_packet_sockets_leave_the_kernel_its_own(stage: Stage) -> None:
    """What the kernel itself owns on the interface is answered by it, not by us, and our own sockets still work."""
    stage.near.add_address("192.0.2.3/24")
    assert stage.far.host.resolve("192.0.2.3") == stage.near.mac
    with stage.near.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("192.0.2.3", 0))
