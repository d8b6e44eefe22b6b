"""The responder's thread: new tables and links under load, limits, sleep, signals, and an end that leaves nothing."""

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
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from arpfast.answer import Kind, Table, Verdict
from arpfast.responder import Estate, FactKind, RateLimit, Responder, Watch, alive
from arpfast.spans import Spans
from lab import Arp, Host, Lab, Link, wait_until
from lab.waiting import wait_readable
from tests.real.answering import NONCE, OURS, STRANGER, TABLE, Stage, answering, descriptors, request


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    yield from answering(lab)


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
