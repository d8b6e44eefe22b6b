"""Addresses on `lo` of a real kernel: who serves, who answers for them, who asks from them, and what outlives whom."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections import Counter
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from arpfast.local import Local, clear, mark
from arpfast.loopback import Loopback
from arpfast.rtnetlink import RTM_DELADDR, RTM_NEWADDR
from arpfast.spans import Spans
from lab import Arp, Host, Lab, Solicitation, wait_until
from tests.real.stage import DEADLINE_S, Daemon, pair, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arpfast.inspection import Event
    from lab import Process

SILENT = {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2}
BOTH = Spans.parse("192.0.2.10", "2001:db8::10")
MARK = mark("/run/arpfast/control.sock")


def on_lo(host: Host) -> set[str]:
    """What is on it, without what always is."""
    return {str(address) for address, _ in host.address_flags(1)} - {"127.0.0.1/8", "::1/128"}


class Running:
    """A `Local` in a host, on a thread of its own."""

    def __init__(self, host: Host, marked: int = MARK) -> None:
        self.host = host
        self.reports: list[Event] = []
        self.local = Local(marked, self.reports.append)
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._done = host.submit(asyncio.run, self._main())
        assert self._begun.wait(DEADLINE_S)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._begun.set()
        running = asyncio.create_task(self.local.run())
        await self._stop.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.local.close()

    def want(self, addresses: Spans, interfaces: Sequence[str] = (), *, shared: bool = False) -> None:
        self._on_loop(lambda: self.local.want(addresses, interfaces, shared=shared))

    def _on_loop(self, do: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(do)

    def wait_for(self, *expected: str) -> None:
        wait_until(lambda: on_lo(self.host) == set(expected), DEADLINE_S, what=f"{expected} on lo", every_ms=10)

    def wait_present(self, count: int) -> None:
        wait_until(lambda: self.local.statistics().present == count, DEADLINE_S, what=f"{count} to be known of")

    def reported(self) -> Counter[str]:
        """How many have been added, removed and restored, as it told."""
        told: Counter[str] = Counter()
        for report in self.reports:
            told.update({name: int(count) for name, count in report.fields.items() if name != "why"})
        return told

    def close(self) -> None:
        self._on_loop(self._stop.set)
        self._done.result(DEADLINE_S)


class Scene:
    def __init__(self, lab: Lab) -> None:
        self.near, self.far = pair(lab)
        self.host = self.far.host
        self.near.host.set({f"net.{family}.neigh.eth0.retrans_time_ms": 100 for family in ("ipv4", "ipv6")})

    def answered(self, address: str) -> bool:
        """Whether the kernel answers for the address. Silence is three questions without an answer."""
        return self.near.host.resolve(address, deadline_s=DEADLINE_S) is not None


@pytest.fixture(scope="module")
def scene(_lab_is_possible: None) -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture
def running(scene: Scene) -> Iterator[Running]:
    running = Running(scene.host)
    try:
        yield running
    finally:
        running.close()
        assert on_lo(scene.host) == set()


def test_added_removed_and_gone_at_the_end(scene: Scene, running: Running) -> None:
    running.want(BOTH)
    running.wait_for("192.0.2.10/32", "2001:db8::10/128")
    running.want(Spans.parse("2001:db8::10-2001:db8::11", "198.51.100.7"))
    running.wait_for("198.51.100.7/32", "2001:db8::10/128", "2001:db8::11/128")
    wait_until(
        lambda: running.reported() == {"added": 4, "removed": 1}, DEADLINE_S, what="what stays not to be touched"
    )


def test_a_server_can_bind_to_them_and_be_reached(scene: Scene, running: Running) -> None:
    running.want(Spans.parse("198.51.100.7", "2001:db8:1::7"))
    running.wait_present(2)
    for address, via, family in (
        ("198.51.100.7", "192.0.2.2", socket.AF_INET),
        ("2001:db8:1::7", "2001:db8::2", socket.AF_INET6),
    ):
        scene.near.host.route(f"{address}/{ip_address(address).max_prefixlen}", via=via)
        with scene.host.socket(family, socket.SOCK_STREAM) as server:
            server.bind((address, 80))
            server.listen()
            with scene.near.host.socket(family, socket.SOCK_STREAM) as client:
                client.settimeout(DEADLINE_S)
                client.connect((address, 80))
                assert client.getpeername()[0] == address


def test_the_responder_answers_for_what_is_on_lo(scene: Scene, running: Running) -> None:
    """It takes the host's own address there neither for another host's nor for a conflict."""
    scene.host.set(SILENT)
    running.want(BOTH)
    running.wait_present(2)
    daemon = Daemon(scene.host, "-i", "eth0", "192.0.2.10", "2001:db8::10")
    try:
        for address in ("192.0.2.10", "2001:db8::10"):
            daemon.wait_phase(address)
            wait_until(partial(scene.answered, address), DEADLINE_S, what=f"{address} to be answered")
            assert daemon.explain(address)["kernel_interfaces"] == ["lo"]
        assert (daemon.ask("status")["conflicts"], daemon.ask("status")["taken"]) == (0, 0)
    finally:
        daemon.stop()
        scene.host.set(dict.fromkeys(SILENT, 0))


def test_nothing_begins_from_them(scene: Scene, running: Running) -> None:
    running.want(BOTH)
    running.wait_present(2)
    for there, expected, family in (
        ("192.0.2.1", "192.0.2.2", socket.AF_INET),
        ("2001:db8::1", "2001:db8::2", socket.AF_INET6),
    ):
        with scene.host.socket(family, socket.SOCK_DGRAM) as beginning:
            beginning.connect((there, 9))
            assert beginning.getsockname()[0] == expected


@pytest.mark.parametrize("value", [0, 1, 2, 3, 4, 8])
def test_when_the_kernel_answers_by_itself(scene: Scene, running: Running, value: int) -> None:
    """What `silence` says of arp_ignore and of IPv6 is so."""
    address = f"192.0.2.{20 + value}"
    running.want(Spans.parse(address, f"2001:db8::{20 + value}"))
    running.wait_present(2)
    scene.host.set({"net.ipv4.conf.all.arp_ignore": value})
    try:
        assert scene.answered(address) is (value not in {1, 2, 3, 8})
        assert not scene.answered(f"2001:db8::{20 + value}")
    finally:
        scene.host.set({"net.ipv4.conf.all.arp_ignore": 0})


def test_ipv6_stays_silent_on_a_router_that_proxies(scene: Scene, running: Running) -> None:
    running.want(Spans.parse("2001:db8::30"))
    running.wait_present(1)
    scene.host.set({"net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.all.proxy_ndp": 1})
    try:
        assert not scene.answered("2001:db8::30")
    finally:
        scene.host.set({"net.ipv6.conf.all.forwarding": 0, "net.ipv6.conf.all.proxy_ndp": 0})


@pytest.mark.parametrize("value", [0, 1, 2])
def test_when_the_kernel_asks_from_them(scene: Scene, running: Running, value: int) -> None:
    """What `silence` says of arp_announce and of IPv6 is so."""
    running.want(BOTH)
    running.wait_present(2)
    scene.host.set({"net.ipv4.conf.all.arp_announce": value})
    try:
        with scene.host.capture(scene.far) as capture:
            for source, family, there in (
                ("192.0.2.10", socket.AF_INET, f"192.0.2.{100 + value}"),
                ("2001:db8::10", socket.AF_INET6, f"2001:db8::{100 + value}"),
            ):
                with scene.host.socket(family, socket.SOCK_DGRAM) as sending:
                    sending.bind((source, 0))
                    sending.sendto(b"x", (there, 9))
            asked = capture.wait_for(sent(Arp, tpa=ip_address(f"192.0.2.{100 + value}")), DEADLINE_S).decoded
            assert isinstance(asked, Arp)
            assert str(asked.spa) == ("192.0.2.10" if value < 2 else "192.0.2.2")
            solicited = capture.wait_for(
                sent(Solicitation, target=ip_address(f"2001:db8::{100 + value}")), DEADLINE_S
            ).decoded
            assert isinstance(solicited, Solicitation)
            assert solicited.ip_source == scene.far.link_local
    finally:
        scene.host.set({"net.ipv4.conf.all.arp_announce": 0})


def test_shared_ipv4_is_kept_off_until_the_kernel_keeps_silent(scene: Scene, running: Running) -> None:
    running.want(BOTH, ["eth0"], shared=True)
    running.wait_for("2001:db8::10/128")
    wait_until(lambda: running.local.statistics().why, DEADLINE_S, what="a reason to be told")
    assert "arp_ignore=0 the kernel answers for them on eth0" in running.local.statistics().why
    assert running.local.statistics().withheld == 1
    try:
        scene.host.set(SILENT)
        running.wait_for("192.0.2.10/32", "2001:db8::10/128")
    finally:
        scene.host.set(dict.fromkeys(SILENT, 0))


def test_what_is_taken_away_is_put_back(scene: Scene, running: Running) -> None:
    running.want(BOTH)
    running.wait_present(2)
    lo = scene.host.index_of("lo")
    scene.host.netlink("addr", "del", index=lo, address="192.0.2.10", prefixlen=32)
    wait_until(lambda: running.local.statistics().restored == 1, DEADLINE_S, what="one to be restored")
    running.wait_for("192.0.2.10/32", "2001:db8::10/128")
    scene.host.netlink("link", "set", index=lo, state="down")  # takes every IPv6 address away
    scene.host.netlink("link", "set", index=lo, state="up")
    running.wait_for("192.0.2.10/32", "2001:db8::10/128")


def test_what_others_put_there_stays(scene: Scene, running: Running) -> None:
    lo = scene.host.index_of("lo")
    scene.host.netlink("addr", "add", index=lo, address="192.0.2.10", prefixlen=32)
    scene.host.netlink("addr", "add", index=lo, address="203.0.113.9", prefixlen=32)
    try:
        running.want(BOTH)
        running.wait_for("192.0.2.10/32", "203.0.113.9/32", "2001:db8::10/128")
        running.wait_present(2)
        assert running.local.explain(4, 0xC000020A) == "on lo, put there by somebody else"
        running.want(Spans())
        running.wait_for("192.0.2.10/32", "203.0.113.9/32")
    finally:
        for address in ("192.0.2.10", "203.0.113.9"):
            scene.host.netlink("addr", "del", index=lo, address=address, prefixlen=32)


def test_two_daemons_on_a_host_leave_each_other_alone(scene: Scene, running: Running) -> None:
    other = Running(scene.host, mark("/run/other.sock"))
    try:
        other.want(Spans.parse("198.51.100.1"))
        other.wait_present(1)
        running.want(BOTH)
        running.wait_for("192.0.2.10/32", "198.51.100.1/32", "2001:db8::10/128")
    finally:
        other.close()
    running.wait_for("192.0.2.10/32", "2001:db8::10/128")


def test_more_events_than_the_kernel_keeps(scene: Scene) -> None:
    """Lost events have everything read again."""

    def lose() -> tuple[set[tuple[int, int]], set[tuple[int, int]], int]:
        keys = [(4, 0x0A000000 + at) for at in range(1500)]
        with Loopback(MARK) as watching, Loopback(MARK) as acting:
            for what in (RTM_NEWADDR, RTM_DELADDR, RTM_NEWADDR):
                for at in range(0, len(keys), 30):
                    assert not acting.change(what, [(4, value) for _, value in keys[at : at + 30]])
            watching.drain()
            return set(watching.ours), set(keys), watching.overflows

    try:
        ours, expected, overflows = scene.host.call(lose)
        assert ours == expected
        assert overflows == 1
    finally:
        assert scene.host.call(clear, MARK) == 1500
    assert on_lo(scene.host) == set()


HOLDER = """
import asyncio, sys
from arpfast import privileges
from arpfast.local import Local, mark
from arpfast.spans import Spans

async def main():
    local = Local(mark(sys.argv[1]), lambda event: print(event.event, event.fields, flush=True))
    local.want(Spans.parse(*sys.argv[3:]))
    await local.run()

kept = {privileges.Capability[name] for name in sys.argv[2].split(",") if name}
privileges.drop(privileges.account("nobody"), kept)
asyncio.run(main())
"""


def holder(host: Host, *addresses: str, keep: str = "NET_ADMIN") -> Process:
    return host.spawn([sys.executable, "-P", "-c", HOLDER, "/run/arpfast/control.sock", keep, *addresses])


def test_killed_and_started_again_it_cleans_up_and_takes_over(scene: Scene) -> None:
    host = scene.host
    first = holder(host, "192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11")
    first.wait_for_line("'added': 4", DEADLINE_S)
    first.signal(signal.SIGKILL)
    first.wait(DEADLINE_S)
    assert len(on_lo(host)) == 4, "the kernel keeps them"
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("192.0.2.11", 0))
        second = holder(host, "192.0.2.11", "2001:db8::11", "2001:db8::12")
        line = second.wait_for_line("addresses on lo", DEADLINE_S)
        assert ("'added': 1" in line.string, "'removed': 2" in line.string) == (True, True), line.string
        assert on_lo(host) == {"192.0.2.11/32", "2001:db8::11/128", "2001:db8::12/128"}
    second.signal(signal.SIGKILL)
    second.wait(DEADLINE_S)
    assert host.call(clear, MARK) == 3
    assert on_lo(host) == set()


def test_without_the_capability_it_says_so(scene: Scene) -> None:
    process = holder(scene.host, "192.0.2.10", keep="")
    process.wait_for_line("192.0.2.10: CAP_NET_ADMIN is missing", DEADLINE_S)
    assert process.alive
    process.kill()
    assert on_lo(scene.host) == set()
