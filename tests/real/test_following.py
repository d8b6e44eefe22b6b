"""`Watch` against the kernel: every way in which an interface can change is seen, by events alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from arpfast.following import Watch
from arpfast.interfaces import Choice, Interface, Refusal
from lab import DeadlineError, Host, Lab, Link, wait_until
from lab.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Watcher:
    """A `Watch` in a host, on a thread of its own, and all its snapshots."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.watch = Watch()
        self.snapshots: list[Mapping[int, Interface]] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]
        self._done = host.submit(asyncio.run, self._main())
        assert self._ready.wait(DEADLINE_S)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._follow())
        with suppress(asyncio.CancelledError):
            await self._task
        self.watch.close()

    async def _follow(self) -> None:
        async for snapshot in self.watch:
            self.snapshots.append(snapshot)
            self._ready.set()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._done.result(5)

    def on_loop(self, function: Callable[[], object]) -> None:
        done = threading.Event()

        def do() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(do)
        assert done.wait(DEADLINE_S)

    def of(self, link: Link) -> Interface | None:
        return self.snapshots[-1].get(link.index)

    def wait(
        self, link: Link, condition: Callable[[Interface], object], what: str = "the interface to change"
    ) -> Interface:
        def there() -> Interface | None:
            interface = self.of(link)
            return interface if interface is not None and condition(interface) else None

        found = wait_until(there, what=what)
        assert found
        return found

    def wait_gone(self, index: int) -> None:
        wait_until(lambda: index not in self.snapshots[-1], what="the interface to vanish")


@pytest.fixture
def eth0(lab: Lab) -> Link:
    return lab.host("us").link(lab.host("peer"), addresses=["192.0.2.2/24", "2001:db8::2/64"])


@pytest.fixture
def watcher(eth0: Link) -> Iterator[Watcher]:
    watcher = Watcher(eth0.host)
    yield watcher
    watcher.close()


def test_the_first_snapshot_has_everything(eth0: Link, watcher: Watcher) -> None:
    found = watcher.of(eth0)
    assert found
    assert (found.name, found.mac, found.up, found.carrier) == (eth0.name, bytes(eth0.mac), True, True)
    assert found.ethernet
    assert found.arp
    assert found.ipv6
    assert not found.router6
    assert found.link_local == eth0.link_local
    assert set(found.addresses) >= {ip_interface("192.0.2.2/24"), ip_interface("2001:db8::2/64")}
    refusals = {i.name: Choice().refusal(i) for i in watcher.snapshots[-1].values()}
    assert refusals[eth0.name] is None
    assert refusals["lo"] is Refusal.LOOPBACK


def test_interfaces_appear_vanish_and_move_to_another_namespace(eth0: Link, watcher: Watcher, lab: Lab) -> None:
    late = eth0.host.link(lab.host("late"), name="late0")
    watcher.wait(late, lambda i: i.carrier and i.link_local)
    index = late.index
    late.move(lab.host("elsewhere"))
    watcher.wait_gone(index)
    late.move(eth0.host)
    watcher.wait(late, lambda i: not i.up)
    index = late.index
    late.delete()
    watcher.wait_gone(index)
    assert watcher.of(eth0)


def test_rename_mac_mtu_carrier_and_switching_off(eth0: Link, watcher: Watcher) -> None:
    eth0.rename("uplink")
    watcher.wait(eth0, lambda i: i.name == "uplink")
    eth0.set_mac("02:00:00:12:34:56")
    watcher.wait(eth0, lambda i: i.mac == bytes.fromhex("020000123456"))
    eth0.set_mtu(1400)
    watcher.wait(eth0, lambda i: i.mtu == 1400)
    eth0.cut()
    watcher.wait(eth0, lambda i: i.up and not i.carrier)
    eth0.mend()
    watcher.wait(eth0, lambda i: i.carrier)
    eth0.set_arp(enabled=False)
    assert Choice().refusal(watcher.wait(eth0, lambda i: not i.arp)) is Refusal.NO_ARP
    eth0.set_arp(enabled=True)
    eth0.down()
    assert Choice().refusal(watcher.wait(eth0, lambda i: not i.up)) is Refusal.DOWN


def test_a_port_of_a_bridge_is_not_used_and_the_bridge_is(eth0: Link, watcher: Watcher) -> None:
    bridge = eth0.host.bridge("br0")
    eth0.enslave(bridge)
    enslaved = watcher.wait(eth0, lambda i: i.master == bridge.index)
    assert Choice((eth0.name,)).refusal(enslaved) is Refusal.ENSLAVED
    assert Choice().refusal(watcher.wait(bridge, lambda i: i.carrier)) is None
    eth0.release()
    free = watcher.wait(eth0, lambda i: not i.master)
    assert Choice().refusal(free) is None


def test_a_lower_interface_of_a_macvlan_stays_in_use_and_so_may_the_macvlan(eth0: Link, watcher: Watcher) -> None:
    upper = eth0.macvlan("mac0")
    assert Choice().refusal(watcher.wait(upper, lambda i: i.carrier)) is None
    assert Choice().refusal(watcher.wait(eth0, lambda i: i.carrier)) is None


def test_default_routers_come_and_go_also_without_a_word_from_the_kernel(eth0: Link, watcher: Watcher) -> None:
    eth0.host.route("default", via="192.0.2.1")
    eth0.host.netlink("route", "add", dst="::/0", gateway="2001:db8::1", oif=eth0.index)
    watcher.wait(eth0, lambda i: i.gateways == (ip_address("192.0.2.1"), ip_address("2001:db8::1")))
    eth0.host.route("198.51.100.0/24", via="192.0.2.9")
    eth0.down()  # which drops IPv4 routes silently
    watcher.wait(eth0, lambda i: not i.gateways)


def test_routes_that_are_not_default_wake_nobody(eth0: Link, watcher: Watcher) -> None:
    before = watcher.watch.statistics()
    for third in range(200):
        eth0.host.route(f"10.0.{third}.0/24", via="192.0.2.9")
    eth0.host.route("default", via="192.0.2.1")
    watcher.wait(eth0, lambda i: i.gateways)
    assert watcher.watch.statistics().events - before.events < 10


def test_ipv6_forwarding_decides_on_the_router_flag(eth0: Link, watcher: Watcher) -> None:
    eth0.host.set({"net.ipv6.conf.all.forwarding": 1})
    watcher.wait(eth0, lambda i: i.router6)
    eth0.host.set({"net.ipv6.conf.all.forwarding": 0})
    watcher.wait(eth0, lambda i: not i.router6)


def test_the_link_local_address_is_followed(eth0: Link, watcher: Watcher) -> None:
    eth0.host.set({f"net.ipv6.conf.{eth0.name}.addr_gen_mode": 1})
    eth0.remove_address(f"{eth0.link_local}/64")
    watcher.wait(eth0, lambda i: i.link_local is None)
    eth0.add_address("fe80::77/64", dad=True, wait=False)
    watcher.wait(eth0, lambda i: i.link_local == ip_address("fe80::77"))


def test_an_mtu_too_small_for_ipv6_ends_ipv6(eth0: Link, watcher: Watcher) -> None:
    eth0.set_mtu(1000)
    watcher.wait(eth0, lambda i: not i.ipv6 and i.link_local is None)
    eth0.set_mtu(1500)
    watcher.wait(eth0, lambda i: i.ipv6)


def test_a_burst_is_few_snapshots_and_what_did_not_change_is_the_same_object(
    eth0: Link, watcher: Watcher, lab: Lab
) -> None:
    other = eth0.host.link(lab.host("other"), name="other0")
    watcher.wait(other, lambda i: i.link_local)
    unchanged, before = watcher.of(other), len(watcher.snapshots)
    for last in range(10, 210):
        eth0.add_address(f"192.0.2.{last}/24", wait=False)
    watcher.wait(eth0, lambda i: len(i.addresses) >= 202)
    assert len(watcher.snapshots) - before < 150
    assert watcher.of(other) is unchanged


def test_lost_events_mean_reading_everything_again(eth0: Link, watcher: Watcher) -> None:
    listening = watcher.watch._socket
    assert listening is not None
    overflows = watcher.watch.statistics().overflows

    def lose() -> None:
        """Fills the socket while nobody reads, on the very thread that would."""
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for number in range(200):
            eth0.set_mtu(1400 - number)
        eth0.rename("after")

    watcher.on_loop(lose)
    watcher.wait(eth0, lambda i: i.name == "after" and i.mtu == 1201)
    assert watcher.watch.statistics().overflows > overflows


def test_a_dead_socket_is_opened_anew(eth0: Link, watcher: Watcher) -> None:
    listening = watcher.watch._socket
    assert listening is not None
    dead = socket.socket(socket.AF_INET, socket.SOCK_STREAM)  # receiving from it is an error

    def kill() -> None:
        watcher.watch._socket = dead

    watcher.on_loop(kill)
    eth0.rename("after")
    watcher.wait(eth0, lambda i: i.name == "after")
    assert watcher.watch.statistics().failures == 1
    listening.close()
    eth0.rename("later")
    watcher.wait(eth0, lambda i: i.name == "later")


def test_nothing_is_polled(eth0: Link, watcher: Watcher) -> None:
    """While nothing happens, the watching thread is not scheduled."""
    thread: list[int] = []
    watcher.on_loop(lambda: thread.append(threading.get_native_id()))

    def quiet() -> bool:
        before = _switches(thread[0])
        with suppress(DeadlineError):
            wait_until(lambda: _switches(thread[0]) != before, 0.5)
        return _switches(thread[0]) == before

    wait_until(quiet, what="half a second without a wake-up")


def _switches(thread: int) -> int:
    """How often a thread of ours has been scheduled."""
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
