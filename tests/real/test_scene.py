"""The stage for failover: what can happen to a host happens to it alone, is measured as it was, and can be healed.

The owner of an address is mostly a kernel, which has it on its interface, for what is tried out is the stage.
"""

import io
import json
import re
import socket
import time
from contextlib import suppress

import psutil
import pytest
from rich.console import Console

from lab import Advertisement, Arp, Capture, Captured, Host, Lab, wait_until
from lab.live import Live
from lab.member import Member
from lab.ring import Cut, Ring, pool
from lab.traffic import Delivered, Outage, Traffic, Witness
from tests.real.stage import DEADLINE_S, Daemon

V4, V6 = ADDRESSES = pool(2)
PATIENCE_S = 1.0
"""A loaded machine must not make an outage of its own."""


@pytest.fixture
def ring(lab: Lab) -> Ring:
    return Ring(lab, addresses=ADDRESSES)


def own(ring: Ring, host: Host, *addresses: str) -> None:
    """Let the host's kernel have the addresses, and the router know it."""
    for address in addresses:
        ring.links[host].add_address(f"{address}/{128 if ':' in address else 32}")
        ring.router.forget(address)
        ring.wait_owner(address, host, DEADLINE_S)


def start(ring: Ring) -> Traffic:
    return Traffic.start(ring.client, ADDRESSES, patience_s=PATIENCE_S, live=True)


def wait_event(traffic: Traffic, event: str, *addresses: str, after: int = 0) -> int:
    """Wait until this has happened to each of the addresses; how many events there were by then."""
    wanted = set(addresses or ADDRESSES)

    def happened() -> bool:
        return wanted <= {found.address for found in traffic.events(after) if found.event == event}

    wait_until(happened, DEADLINE_S, what=f"{event!r} of {wanted}", every_ms=10)
    return len(traffic.events())


def wait_claimed(heard: Capture, ring: Ring, host: Host) -> None:
    """Wait until this host has claimed both addresses before the witness."""
    mac = ring.links[host].mac

    def claims(frame: Captured) -> bool:
        said = frame.decoded
        return not frame.outgoing and isinstance(said, Arp) and (said.sha, str(said.spa)) == (mac, V4)

    def advertises(frame: Captured) -> bool:
        said = frame.decoded
        return isinstance(said, Advertisement) and (said.target_mac, str(said.target)) == (mac, V6)

    heard.wait_for(claims, DEADLINE_S)
    heard.wait_for(advertises, DEADLINE_S)


def moves(delivered: Delivered, before: Host, after: Host) -> list[Outage]:
    """The outages that one host's answers went before and another's came after."""
    return [outage for outage in delivered.outages if (outage.before, outage.after) == (before.number, after.number)]


def test_nobody_answers_for_the_addresses_until_somebody_owns_them(ring: Ring) -> None:
    ring.router.set({"net.ipv4.neigh.eth0.mcast_solicit": 1, "net.ipv4.neigh.eth0.retrans_time_ms": 50})
    ring.router.set({"net.ipv6.neigh.eth0.mcast_solicit": 1, "net.ipv6.neigh.eth0.retrans_time_ms": 50})
    for address in ADDRESSES:
        assert ring.router.resolve(address, deadline_s=DEADLINE_S) is None
        assert ring.owner(address) is None
    assert ring.owners() == {V4: None, V6: None}


def test_an_outage_is_as_long_as_nobody_answered(ring: Ring) -> None:
    """The real thing, moved by hand: arpfast on one host, its cable cut, arpfast on another."""
    a, b, _ = ring.hosts
    settings = {"addresses": [*ADDRESSES], "announce": {"probe": "off"}}
    Daemon(a, settings=settings)
    for address in ADDRESSES:
        ring.wait_owner(address, a, DEADLINE_S)
    with (
        ring.witness.host.capture(ring.witness) as heard,
        start(ring) as traffic,
        Witness.start(ring.witness, ADDRESSES) as witness,
    ):
        wait_event(traffic, "host")
        wait_claimed(heard, ring, a)
        moment_ns = time.monotonic_ns()
        ring.cut(a)
        wait_event(traffic, "lost")
        Daemon(b, settings=settings)
        wait_event(traffic, "back")
        wait_claimed(heard, ring, b)
        delivered, told = traffic.stop(), witness.stop()
    taken_ms = delivered.moved(moment_ns, host=a.number)
    for address in ADDRESSES:
        (outage,) = (outage for outage in moves(delivered, a, b) if outage.address == address)
        assert outage.lost > 0
        assert outage.ended_ns == round(moment_ns + taken_ms[address] * 1e6)
        assert delivered.hosts(address) == (a.number, b.number)
        assert told.owners(address) == (ring.links[a].mac, ring.links[b].mac)
        assert ring.owner(address) is b
    assert not told.disputed_ms()
    assert delivered.answered + delivered.lost == delivered.sent


def test_two_hosts_that_answer_at_once_are_two_owners(ring: Ring) -> None:
    a, b, c = ring.hosts
    own(ring, a, *ADDRESSES)
    # seldom, so that a witness which is held up for a moment does not take it for the end of a claim
    seldom = Witness.start(ring.witness, ADDRESSES, every_s=0.2)
    with ring.witness.host.capture(ring.witness) as heard, seldom as witness:
        wait_claimed(heard, ring, a)
        for address in ADDRESSES:
            ring.links[b].add_address(f"{address}/{128 if ':' in address else 32}")
        for host in (b, a) * 3:
            wait_claimed(heard, ring, host)
            heard.clear()
        told = witness.stop()
    disputed_ms = told.disputed_ms()
    for address in ADDRESSES:
        assert told.owners(address) == (ring.links[a].mac, ring.links[b].mac)
        assert disputed_ms[address] > 0
    assert ring.links[c].mac not in {claim.mac for claim in told.claims}


def test_one_of_many_addresses_moves_alone(lab: Lab) -> None:
    addresses = pool(100)[:50]
    ring = Ring(lab, hosts=2, addresses=addresses)
    a, b = ring.hosts
    for host in (a, b):
        host.set({"net.ipv4.conf.all.arp_announce": 0})
    own(ring, a, *addresses)
    with Traffic.start(ring.client, addresses, patience_s=PATIENCE_S, live=True) as traffic:
        wait_event(traffic, "host", *addresses)
        own(ring, b, addresses[7])
        wait_until(
            lambda: (b.number, addresses[7]) in {(one.host, one.address) for one in traffic.events()}, DEADLINE_S
        )
        delivered = traffic.stop()
    moved = {address for address in addresses if b.number in delivered.hosts(address)}
    assert moved == {addresses[7]}
    assert all(delivered.hosts(address)[0] == a.number for address in addresses)


@pytest.mark.parametrize("where", Cut)
def test_a_cut_is_healed(ring: Ring, where: Cut) -> None:
    a, b, _ = ring.hosts
    own(ring, a, *ADDRESSES)
    with start(ring) as traffic:
        wait_event(traffic, "host")
        ring.cut(a, where)
        assert ring.links[a].carrier is (where is Cut.WIRE)
        assert ring.links[b].carrier
        many = wait_event(traffic, "lost")
        ring.heal()
        wait_event(traffic, "back", after=many)
        delivered = traffic.stop()
    for address in ADDRESSES:
        assert set(delivered.hosts(address)) == {a.number}
    assert moves(delivered, a, a)


def test_a_frozen_host_says_nothing_until_it_is_thawed(ring: Ring) -> None:
    a, b, _ = ring.hosts
    own(ring, a, *ADDRESSES)
    running = psutil.Process(a.spawn(["sh", "-c", "while :; do /bin/true; done"]).pid)

    def used() -> float:
        return sum(running.cpu_times()[:4])

    with start(ring) as traffic:
        wait_event(traffic, "host")
        ring.freeze(a)
        used_s = used()
        many = wait_event(traffic, "lost")
        ring.router.set({"net.ipv4.neigh.eth0.mcast_solicit": 1, "net.ipv4.neigh.eth0.retrans_time_ms": 50})
        assert ring.router.resolve(ring.address(a), deadline_s=DEADLINE_S) is None
        assert ring.router.resolve(ring.address(b), deadline_s=DEADLINE_S) == ring.links[b].mac
        assert used() == used_s
        ring.thaw(a)
        ring.wait_owner(V4, a, DEADLINE_S)
        wait_event(traffic, "back", after=many)
    wait_until(lambda: used() > used_s, DEADLINE_S, what="what was frozen to go on")
    ring.freeze(a)  # and the lab ends all the same


def reached(ring: Ring, sender: Host, receiver: Host, port: int, *, apart: bool = False) -> bool:
    """Whether a datagram to this port arrives. One to another port follows it: when that is there, it is too late."""
    address = ring.gossip_address(receiver) if apart else ring.address(receiver)
    with (
        receiver.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried,
        receiver.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker,
        sender.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        tried.bind((address, port))
        tried.setblocking(False)
        marker.bind((ring.address(receiver), 9999))
        marker.settimeout(DEADLINE_S)
        sending.sendto(b"tried", (address, port))
        sending.sendto(b"marker", (ring.address(receiver), 9999))
        marker.recv(99)
        with suppress(BlockingIOError):
            return bool(tried.recv(99))
        return False


def test_gossip_can_be_cut_and_the_wire_stay_whole(ring: Ring) -> None:
    a, b, c = ring.hosts
    ring.part_gossip([a])
    assert (reached(ring, a, b, 7946), reached(ring, c, a, 7946)) == (False, False)
    assert (reached(ring, a, b, 7947), reached(ring, b, c, 7946)) == (True, True)
    ring.part_gossip([b])
    assert (reached(ring, a, b, 7946), reached(ring, a, c, 7946)) == (False, True)
    ring.heal()
    assert reached(ring, a, b, 7946)


def test_gossip_on_a_wire_of_its_own_can_be_cut_there(lab: Lab) -> None:
    ring = Ring(lab, hosts=2, addresses=ADDRESSES, gossip_apart=True)
    a, b = ring.hosts
    for one, other in ((a, b), (b, a)):  # or the marker overtakes what waits for an answer
        assert one.resolve(ring.gossip_address(other))
    assert reached(ring, a, b, 1234, apart=True)
    ring.part_gossip([a])
    assert not reached(ring, a, b, 1234, apart=True)
    assert reached(ring, a, b, 7946)
    ring.heal()
    assert reached(ring, a, b, 7946, apart=True)


def test_a_partition_has_sides(ring: Ring) -> None:
    a, b, c = ring.hosts
    for host in (a, b, c, ring.router):
        host.set({"net.ipv4.neigh.eth0.mcast_solicit": 1, "net.ipv4.neigh.eth0.retrans_time_ms": 50})

    def sees(one: Host, address: str) -> bool:
        return one.resolve(address, deadline_s=DEADLINE_S) is not None

    ring.part([a, b])
    assert sees(a, ring.address(b))
    assert sees(c, "192.0.2.1")
    assert not sees(a, ring.address(c))
    assert not sees(ring.router, ring.address(b))
    ring.part([a], [b])
    assert not sees(a, ring.address(b))
    assert sees(ring.router, ring.address(c))
    ring.heal()
    assert sees(a, "192.0.2.1")
    assert sees(b, ring.address(a))


def test_what_people_see_of_an_outage(ring: Ring) -> None:
    a, b, _ = ring.hosts
    own(ring, a, *ADDRESSES)
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with start(ring) as traffic, Live(ring, traffic, console) as live:
        live.wait_calm(0, DEADLINE_S)
        with live.chapter("the cable of a is cut"):
            ring.cut(a)
            wait_event(traffic, "lost")
            console.print(live.table())
            own(ring, b, *ADDRESSES)
            live.wait_calm(0, DEADLINE_S)
        with live.chapter("nothing happens"):
            pass
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert re.search(
        r"^the cable of a is cut\n(.*\n)+  outage \d+ ms\n  2 addresses went from a to b\n", said, re.MULTILINE
    )
    assert re.search(rf"{V4} +│ ○ +│ · +│ · +│ away", said)
    assert said.endswith("nothing happens\n  nothing lost\n")


def test_members_know_each_other_by_their_addresses_where_they_gossip(ring: Ring) -> None:
    files = [Member(ring, host, options={"profile": "fast"}, settings={"local": "off"}).path for host in ring.hosts]
    assert json.loads(files[0].read_text()) == {
        "addresses": [*ADDRESSES],
        "interfaces": ["eth0"],
        "local": "off",
        "ring": {"members": ["192.0.2.11", "192.0.2.12", "192.0.2.13"], "profile": "fast"},
    }
    assert len({file.read_text() for file in files}) == 1
