"""The announcer on a real link, judged by a Linux peer, by what passes the cable, and by the switch."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from arpfast.announcer import Announcer, Answer, Event, Phase, Settings
from arpfast.conflicts import ConflictPolicy
from arpfast.following import Watch
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.responder import Responder
from arpfast.spans import Span, Spans
from lab import Advertisement, Arp, Capture, Captured, DeadlineError, Host, Lab, Link, Solicitation, State, wait_until
from lab.frames import REQUEST
from lab.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arpfast.inspection import LinkExplanation

V4, V6 = "192.0.2.10", "2001:db8::10"


class Running:
    """Watch, announcer and responder in a host, as a daemon has them, on a thread of their own."""

    def __init__(self, host: Host) -> None:
        self.events: list[Event] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.announcer: Announcer
        self._done = host.submit(asyncio.run, self._main())
        assert self._ready.wait(DEADLINE_S)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with Responder() as responder:
            responder.start()
            self.announcer = Announcer(responder, rate_per_s=20000, report=self.events.append)
            watch = Watch()
            tasks = [asyncio.create_task(self.announcer.run()), asyncio.create_task(self._follow(watch))]
            self._ready.set()
            await self._stop.wait()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            watch.close()

    async def _follow(self, watch: Watch) -> None:
        async for snapshot in watch:
            self.announcer.interfaces(snapshot)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._done.result(30)

    def want(self, *wanted: str | Answer, **announce: Any) -> None:
        announce = {"refresh_s": 0.0} | announce
        answers = [each if isinstance(each, Answer) else Answer(Spans.parse(each)) for each in wanted]
        settings = Settings(announce=AnnounceSettings(**announce))
        self._loop.call_soon_threadsafe(self.announcer.want, answers, settings)

    def on(self, link: Link, address: str) -> LinkExplanation | None:
        span = Span.parse(address)
        explanation = self.announcer.explain(span.version, span.first)
        return next((found for found in explanation.links if found.ifindex == link.index), None)

    def explained(self, link: Link, address: str) -> LinkExplanation:
        found = self.on(link, address)
        assert found
        return found

    def wait_phase(self, link: Link, address: str, phase: Phase) -> LinkExplanation:
        def there() -> LinkExplanation | None:
            found = self.on(link, address)
            return found if found is not None and found.phase == phase else None

        found = wait_until(there, what=f"{address} to be {phase.value}, not {self.on(link, address)}")
        assert found
        return found


@pytest.fixture
def eth0(lab: Lab) -> Link:
    return lab.host("us").link(
        lab.host("peer"), addresses=["192.0.2.2/24"], peer_addresses=["192.0.2.1/24", "2001:db8::1/64"]
    )


@pytest.fixture
def running(eth0: Link) -> Iterator[Running]:
    running = Running(eth0.host)
    yield running
    running.close()


@pytest.fixture
def wire(eth0: Link) -> Iterator[Capture]:
    """What arrives at the peer."""
    assert eth0.peer
    with eth0.peer.host.capture(eth0.peer) as capture:
        yield capture


def peer_of(link: Link) -> Link:
    assert link.peer
    return link.peer


def is_probe(frame: Captured) -> bool:
    what = frame.decoded
    if isinstance(what, Arp):
        return what.operation == REQUEST and what.spa == ip_address("0.0.0.0") and what.tpa == ip_address(V4)
    return isinstance(what, Solicitation) and what.ip_source == ip_address("::") and what.target == ip_address(V6)


def is_announcement(frame: Captured) -> bool:
    what = frame.decoded
    if isinstance(what, Arp):
        return what.operation == REQUEST and what.spa == what.tpa == ip_address(V4)
    return (
        isinstance(what, Advertisement)
        and what.target == ip_address(V6)
        and what.ip_destination == ip_address("ff02::1")
    )


def test_a_peer_resolves_what_is_wanted_after_three_probes_each(eth0: Link, running: Running, wire: Capture) -> None:
    running.want(V4, V6)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    running.wait_phase(eth0, V6, Phase.ANSWERING)
    peer = peer_of(eth0).host
    for address in (V4, V6):
        assert peer.resolve(address) == eth0.mac
    probes = {
        kind: [f.time_ns for f in wire.select(is_probe) if isinstance(f.decoded, kind)] for kind in (Arp, Solicitation)
    }
    for times in probes.values():
        assert len(times) == 3
        gaps = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(times)]
        assert all(gap >= 0.095 for gap in gaps)
    first = wire.wait_for(is_announcement, count=2)
    assert first.time_ns - max(max(times) for times in probes.values()) >= 0
    # again 2 s later, of both families
    last = wire.wait_for(is_announcement, count=4)
    assert 1.9e9 < last.time_ns - first.time_ns < 4e9


def test_a_kernel_that_has_the_address_keeps_it(eth0: Link, running: Running) -> None:
    peer = peer_of(eth0)
    peer.add_address(f"{V4}/24")
    peer.add_address(f"{V6}/64")
    running.want(V4, V6, "192.0.2.11")
    for address in (V4, V6):
        found = running.wait_phase(eth0, address, Phase.TAKEN)
        assert found.taken_by == str(peer.mac)
        assert found.retry_in_s
    running.wait_phase(eth0, "192.0.2.11", Phase.ANSWERING)
    taken = [event for event in running.events if "in use by another host" in event.event]
    assert sorted(str(event.fields["address"]) for event in taken) == sorted([V4, V6])


def test_a_real_intruder_gets_dadfailed(eth0: Link, running: Running) -> None:
    running.want(V6)
    running.wait_phase(eth0, V6, Phase.ANSWERING)
    peer = peer_of(eth0)
    peer.host.set({f"net.ipv6.conf.{peer.name}.accept_dad": 1})
    peer.add_address(f"{V6}/64", dad=True, wait=False)
    wait_until(lambda: any(str(each.ip) == V6 for each in peer.duplicates()), what="DADFAILED at the intruder")


def test_a_kernel_that_takes_our_address_is_a_conflict_and_is_answered_by_one_announcement(
    eth0: Link, running: Running, wire: Capture
) -> None:
    running.want(V4, repeat=1)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    wire.wait_for(is_announcement)
    wire.clear()
    peer = peer_of(eth0)
    for _ in range(5):
        peer.host.inject(peer, Arp.request(peer.mac, V4, V4).encode())
    wire.wait_for(lambda frame: is_announcement(frame) and not frame.outgoing)
    wait_until(lambda: running.explained(eth0, V4).conflicts)
    assert running.explained(eth0, V4).conflicts[0].mac == str(peer.mac)
    assert running.explained(eth0, V4).phase == Phase.ANSWERING
    with pytest.raises(DeadlineError):
        wire.wait_for(lambda frame: is_announcement(frame) and not frame.outgoing, 0.5, count=2)
    assert len([event for event in running.events if "uses an address of ours" in event.event]) == 1


def test_by_policy_yield_the_intruder_wins(eth0: Link, running: Running) -> None:
    running.want(V4, repeat=1, conflict=ConflictPolicy.YIELD)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    peer = peer_of(eth0)

    def intrude() -> bool:
        peer.host.inject(peer, Arp.request(peer.mac, V4, V4).encode())
        found = running.on(eth0, V4)
        return found is not None and found.phase == Phase.YIELDED

    wait_until(intrude, what="the address to be given up", every_ms=20)
    assert peer.host.resolve(V4) is None


def test_the_router_confirms_both_families(eth0: Link, running: Running) -> None:
    eth0.add_address("2001:db8::2/64")
    eth0.host.route("default", via="192.0.2.1")
    eth0.host.netlink("route", "add", dst="::/0", gateway="2001:db8::1", oif=eth0.index)
    running.want(V4, V6)
    for address in (V4, V6):
        running.wait_phase(eth0, address, Phase.ANSWERING)
        wait_until(partial(lambda address: running.explained(eth0, address).confirmed, address))
        (confirmed,) = running.explained(eth0, address).confirmed
        assert confirmed.mac == str(peer_of(eth0).mac)
        assert confirmed.confirmed_ms < 1000
    entry = peer_of(eth0).host.neighbour(V4)
    assert entry
    assert entry.mac == eth0.mac


def test_carrier_loss_means_probing_again(eth0: Link, running: Running, wire: Capture) -> None:
    running.want(V4, V6, repeat=1)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    eth0.cut()
    running.wait_phase(eth0, V4, Phase.WAITING)
    probes = len(wire.select(is_probe))
    eth0.mend()
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    running.wait_phase(eth0, V6, Phase.ANSWERING)
    assert len(wire.select(is_probe)) == probes + 6
    assert peer_of(eth0).host.resolve(V4) == eth0.mac


def test_a_new_mac_reaches_the_peers_cache_at_once(eth0: Link, running: Running) -> None:
    running.want(V4, V6)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    running.wait_phase(eth0, V6, Phase.ANSWERING)
    peer = peer_of(eth0).host
    for address in (V4, V6):
        peer.resolve(address)
    eth0.set_mac("02:00:00:aa:bb:cc")
    for address in (V4, V6):
        peer.wait_neighbour(address, mac=eth0.mac)


def test_an_interface_that_comes_later_is_used_and_one_that_goes_is_forgotten(
    eth0: Link, running: Running, lab: Lab
) -> None:
    running.want(V4, V6)
    late = eth0.host.link(lab.host("late"), name="late0", peer_addresses=["192.0.2.9/24", "2001:db8::9/64"])
    running.wait_phase(late, V6, Phase.ANSWERING)
    assert peer_of(late).host.resolve(V6) == late.mac
    late.rename("renamed0")
    wait_until(lambda: (e := running.on(late, V6)) and e.interface == "renamed0")
    index = late.index
    late.delete()
    wait_until(lambda: all(each.ifindex != index for each in running.announcer.statistics().links))
    running.wait_phase(eth0, V4, Phase.ANSWERING)


def test_a_bridge_takes_over_from_its_port(eth0: Link, running: Running) -> None:
    running.want(V4, repeat=1)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    bridge = eth0.host.bridge("br0")
    eth0.enslave(bridge)
    running.wait_phase(eth0, V4, Phase.ABSENT)
    running.wait_phase(bridge, V4, Phase.ANSWERING)
    assert peer_of(eth0).host.resolve(V4) == bridge.mac


def test_a_withdrawn_address_is_silent_at_once(eth0: Link, running: Running, wire: Capture) -> None:
    running.want(V4, V6, repeat=1)
    running.wait_phase(eth0, V4, Phase.ANSWERING)
    running.want(V6, repeat=1)
    running.wait_phase(eth0, V4, Phase.ABSENT)
    assert peer_of(eth0).host.resolve(V4) is None


def test_idle_means_asleep(eth0: Link, running: Running) -> None:
    running.want(V4, V6, repeat=1)
    running.wait_phase(eth0, V6, Phase.ANSWERING)

    def quiet() -> bool:
        before = running.announcer.statistics().wakes
        with suppress(DeadlineError):
            wait_until(lambda: running.announcer.statistics().wakes != before, 1)
        return running.announcer.statistics().wakes == before

    wait_until(quiet, 10, what="a second without a wake-up")


def igmp6(host: Host, link: Link) -> set[str]:
    """The solicited-node groups that the kernel lists for the interface."""
    text = host.call(Path("/proc/thread-self/net/igmp6").read_text)
    words = [line.split() for line in text.splitlines()]
    return {w[2] for w in words if w[1] == link.name and w[2].startswith("ff0200000000000000000001ff")}


def test_groups_are_joined_and_left_for_thousands_of_addresses(eth0: Link, running: Running) -> None:
    before = igmp6(eth0.host, eth0)
    first = int(ip_address("2001:db8:1::"))
    running.want(Answer(Spans([Span(6, first, first + 1099)])), probe=ProbeMode.OFF, confirm=False)
    wanted = {f"ff0200000000000000000001ff{low:06x}" for low in range(1100)}
    wait_until(lambda: wanted <= igmp6(eth0.host, eth0), 10, what="1100 groups", every_ms=100)
    running.want(Answer(Spans([Span(6, first + 10, first + 10)])), probe=ProbeMode.OFF)
    wait_until(lambda: igmp6(eth0.host, eth0) == before | {f"ff0200000000000000000001ff{10:06x}"}, 10)
    running.want()
    wait_until(lambda: igmp6(eth0.host, eth0) == before, 10)


def test_groups_are_joined_again_after_ipv6_came_back(eth0: Link, running: Running) -> None:
    running.want(V6)
    group = "ff0200000000000000000001ff000010"
    wait_until(lambda: group in igmp6(eth0.host, eth0))
    eth0.set_mtu(1000)
    wait_until(lambda: group not in igmp6(eth0.host, eth0))
    eth0.set_mtu(1500)
    wait_until(lambda: group in igmp6(eth0.host, eth0))
    running.wait_phase(eth0, V6, Phase.ANSWERING)


def test_a_prefix_too_wide_to_join_accepts_all_multicast(eth0: Link, running: Running) -> None:
    running.want(Answer(Spans.parse("2001:db8:1::/64"), proxy=True), V6)
    running.wait_phase(eth0, V6, Phase.ANSWERING)

    def allmulti() -> int:
        (message,) = eth0.host.netlink("get_links", eth0.index)
        return int(message.get_attr("IFLA_ALLMULTI") or 0)

    wait_until(lambda: allmulti() == 1)
    assert "ff0200000000000000000001ff000010" in igmp6(eth0.host, eth0)
    running.want(V6)
    wait_until(lambda: allmulti() == 0)


def test_a_snooping_switch_delivers(lab: Lab) -> None:
    us, asker, switch = lab.host("us"), lab.host("asker"), lab.switch(snooping=True, querier=True)
    ours = us.link(switch)
    asker.link(switch, addresses=["2001:db8::1/64"])
    running = Running(us)
    try:
        running.want(V6)
        running.wait_phase(ours, V6, Phase.ANSWERING)
        switch.wait_snooping()
        switch.wait_member(peer_of(ours), "ff02::1:ff00:10")
        assert asker.resolve(V6) == ours.mac
        entry = asker.neighbour(V6)
        assert entry
        assert entry.state == State.REACHABLE
    finally:
        running.close()
