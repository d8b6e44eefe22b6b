"""The filters and the guard on interfaces: what they leave to others, and that nothing of them stays behind."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from arpfast.answer import Table, Verdict
from arpfast.bpf.programs import Filter, Guard
from arpfast.crossing import RateLimit
from arpfast.responder import Responder
from arpfast.spans import Spans
from lab import Advertisement, Arp, Mac, Solicitation, wait_until
from tests.arpfast.scene import HIM4, HIM6, OWN4, TABLE

if TYPE_CHECKING:
    from lab import Lab, Link

SO_ATTACH_BPF = 50
HIS = Mac("02:00:00:00:00:99")
OTHER = Mac("02:00:00:00:00:77")
LIMIT = RateLimit(per_mac_per_s=1, burst=5, total_per_s=1_000_000)


@pytest.fixture
def cable(lab: Lab) -> tuple[Link, Link]:
    near = lab.host("asker").link(
        lab.host("answerer"), addresses=["192.0.2.99/24"], peer_addresses=["192.0.2.2/24", "2001:db8::2/64"]
    )
    assert near.peer
    return near, near.peer


def listen(link: Link, filter_: Filter, version: int) -> socket.socket:
    reader = link.host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    reader.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, filter_.socket_program(version))
    reader.bind((link.name, {4: 0x0806, 6: 0x86DD}[version]))
    reader.setblocking(False)
    return reader


def heard(reader: socket.socket) -> list[bytes]:
    frames = []
    while True:
        try:
            frames.append(reader.recv(2048))
        except BlockingIOError:
            return frames


def test_strays_die_at_a_packet_socket(cable: tuple[Link, Link]) -> None:
    near, far = cable
    filter_ = Filter()
    filter_.set_table(far.index, TABLE)
    good = Arp.request(HIS, HIM4, OWN4)
    tagged = Arp(source=HIS, sha=HIS, spa=good.spa, tpa=good.tpa, tags=((0x8100, 7),))
    with listen(far, filter_, 4) as reader:
        near.host.inject(near, tagged.encode(), Arp.request(HIS, HIM4, OWN4, destination=OTHER).encode())
        far.host.inject(far, good.encode())
        near.host.inject(near, good.encode())
        wait_until(lambda: filter_.statistics().passed > 0, what="a frame passes")
        assert heard(reader) == [good.encode()]
        assert filter_.statistics().stray >= 2
    filter_.close()


def attached(link: Link) -> int:
    """How many programs are at the link's tcx ingress."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    flags, count, ids = ctypes.c_uint32(), ctypes.c_uint32(64), (ctypes.c_uint32 * 64)()
    query = link.host.call(
        libbpf.bpf_prog_query, link.index, 46, 0, ctypes.byref(flags), ids, ctypes.byref(count)
    )  # fmt: skip
    return count.value if query == 0 else 0


@pytest.mark.parametrize("classify", [False, True])
def test_the_guard_refuses_excess_and_nothing_else(cable: tuple[Link, Link], *, classify: bool) -> None:
    near, far = cable
    filter_ = Filter(limit=LIMIT)
    guard = Guard(filter_.guard_program(), classify=classify)
    far.host.call(filter_.set_table, far.index, TABLE)
    assert filter_.statistics().unguarded == {}
    if classify:
        far.host.call(guard.attach, far.index)
        far.host.call(guard.attach, far.index)
    ours = [Arp.request(HIS, HIM4, OWN4).encode()]
    theirs = [
        Arp.request(HIS, HIM4, "192.0.2.2").encode(),
        Arp.request(HIS, HIM4, "203.0.113.1").encode(),
        Arp.reply(HIS, OWN4, near.mac, HIM4, destination=b"\xff" * 6).encode(),
        Solicitation.ask(HIS, HIM6, "2001:db8::2").encode(),
    ]
    with listen(far, filter_, 4) as reader, far.host.socket(socket.AF_PACKET, socket.SOCK_RAW) as after:
        after.bind((far.name, 0x0806))
        after.setblocking(False)
        near.host.inject(near, *ours * 100, *theirs * 20, Arp.request(OTHER, HIM4, OWN4).encode())
        wait_until(lambda: filter_.statistics().guard_limited >= 90, what="the guard refuses")
        through = heard(after)
        assert through.count(ours[0]) <= 6
        for frame in theirs[:3]:
            assert through.count(frame) == 20
        assert heard(reader).count(ours[0]) <= 6
    with near.host.capture(near) as capture:
        near.host.inject(near, *ours, theirs[0], theirs[3])
        capture.wait_for(lambda frame: isinstance(frame.decoded, Arp) and frame.decoded.operation == 2)
        capture.wait_for(lambda frame: isinstance(frame.decoded, Advertisement))
    far.host.call(guard.close)
    far.host.call(filter_.close)


def test_the_guard_lets_members_ask(cable: tuple[Link, Link]) -> None:
    near, far = cable
    filter_ = Filter(limit=LIMIT)
    filter_.set_members(frozenset({HIS}))
    far.host.call(filter_.set_table, far.index, TABLE)
    with listen(far, filter_, 4) as reader:
        near.host.inject(near, *[Arp.request(HIS, HIM4, OWN4).encode()] * 100)
        wait_until(lambda: filter_.statistics().passed == 100, what="all of them pass")
        assert len(heard(reader)) == 100
    assert filter_.statistics().guard_limited == 0
    far.host.call(filter_.close)


def test_the_guard_comes_with_the_limit_and_goes_with_it(cable: tuple[Link, Link]) -> None:
    _, far = cable
    filter_, stranger = Filter(), Filter(limit=LIMIT)
    call = far.host.call
    call(stranger.set_table, far.index, TABLE)
    call(filter_.set_table, far.index, TABLE)
    assert attached(far) == 1
    call(filter_.set_limit, LIMIT)
    assert attached(far) == 2
    call(filter_.set_limit, None)
    assert attached(far) == 1
    call(filter_.set_limit, LIMIT)
    call(filter_.drop_link, far.index)
    assert attached(far) == 1
    call(filter_.set_table, far.index, TABLE)
    filter_.close()
    assert attached(far) == 1
    stranger.close()
    assert attached(far) == 0


def test_the_guard_follows_an_interface_made_anew(lab: Lab) -> None:
    asker, answerer = lab.host(), lab.host()
    filter_ = Filter(limit=LIMIT)
    index = 0
    for _ in range(3):
        far = answerer.link(asker, name="eth0")
        if index:
            assert far.index != index
        index = far.index
        answerer.call(filter_.set_table, index, TABLE)
        assert attached(far) == 1
        far.delete()
        filter_.drop_link(index)
    gone = answerer.call(filter_.set_table, 4242, TABLE)
    assert gone is None
    assert "attach the guard to interface 4242" in filter_.statistics().unguarded[4242]
    filter_.close()


HOLD = """
import signal
import sys
from arpfast.answer import Table
from arpfast.bpf.programs import Filter
from arpfast.crossing import RateLimit
from arpfast.spans import Spans
filter = Filter(limit=RateLimit(per_mac_per_s=1, burst=5, total_per_s=100))
filter.set_table(int(sys.argv[1]), Table(own=Spans.parse("192.0.2.1")))
print(filter.statistics().unguarded, flush=True)
signal.pause()
"""


def test_sigkill_leaves_nothing(cable: tuple[Link, Link]) -> None:
    _, far = cable
    process = far.host.spawn([sys.executable, "-P", "-c", HOLD, str(far.index)])
    wait_until(lambda: attached(far) == 1, deadline_s=20, what="the guard is attached")
    process.signal(signal.SIGKILL)
    wait_until(lambda: attached(far) == 0, what="the guard is gone")


def test_hundreds_of_new_tables_under_load_miss_no_request(cable: tuple[Link, Link]) -> None:
    near, far = cable
    filter_ = Filter()
    stop = threading.Event()
    asked = 0

    def ask() -> None:
        nonlocal asked
        frames = [Arp.request(HIS, HIM4, f"192.0.2.{number}").encode() for number in range(10, 90)]
        while not stop.wait(0.002):
            near.host.inject(near, *(frames[(asked + i) % 80] for i in range(20)))
            asked += 20

    with Responder(filter=filter_) as responder:
        responder.start()

        def show(number: int) -> None:
            spans = Spans.parse("192.0.2.10-192.0.2.89", f"198.51.100.{number % 250}", "2001:db8::10")
            responder.set_link(
                far.index, "eth0", mac, router=False, link_local=None, kin=(), nonce=b"nonce!", table=Table(own=spans)
            )

        def count(verdict: Verdict) -> int:
            return responder.statistics().links[0].verdicts[verdict]

        mac = bytes(far.mac)
        far.host.call(show, 0)
        asking = near.host.submit(ask)
        wait_until(lambda: count(Verdict.REPLY) > 1000, what="the load")
        for number in range(250):
            far.host.call(show, number)
        stop.set()
        asking.result()
        wait_until(lambda: count(Verdict.REPLY) >= asked, what=f"{asked} replies")
        assert count(Verdict.REPLY) == asked
        assert filter_.statistics().unfiltered == {}
        assert filter_.statistics().passed >= asked
    filter_.close()
