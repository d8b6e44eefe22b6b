"""The stage for failover: hosts that share addresses on one switch, a router beside them, and a client behind it.

        client ---- router ---- switch ---- a, b, c …        gossip (if apart) ---- a, b, c …
     198.51.100.2      .1 192.0.2.1    |    192.0.2.11, 12, 13 …             203.0.113.11, 12, 13 …
                                    witness 192.0.2.9

The client is an ordinary one: in another network, so what it sees depends on the router's neighbour table, which is a
real kernel's. Every host can receive what is sent to the shared addresses: they are local to it by a route, not by an
address on an interface, and so its kernel is silent about them (arp_ignore; IPv6 answers for addresses of the receiving
interface only). Who answers for them is what is tried out. An echo on each host says which one was reached.

Addresses for many are 198.18.0.0/16 (RFC 2544), on the same wire. A kernel's neighbour table takes 1 024 entries a
family, for all namespaces of the machine together, and begins to throw some out at 512: `pool(1000)` is half and half.

What can happen to a host is a method here, and everything can be healed. Nothing outlives the lab: what is stopped is
killed with it. Numbers of hosts are those of `Host.number`; `ring.at(number)` and `ring.owner(address)` have the host.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from enum import Enum
from functools import partial
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from lab.frames import Mac
from lab.keeper import inhabitants
from lab.partition import Partition
from lab.traffic import echo
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab.host import Host
    from lab.link import Link
    from lab.network import Lab

NAMES = "abcdefghijklmnopqrstuvwxyz"
GOSSIP = "meta l4proto { tcp, udp } th dport 7946"
VRRP = "meta l4proto vrrp"
LOCAL_TABLE = 255
_SETTINGS = {
    "net.ipv4.conf.all.arp_ignore": 1,
    "net.ipv4.conf.all.arp_announce": 2,
    "net.ipv6.conf.all.keep_addr_on_down": 1,
}


class Cut(Enum):
    """Where a host's cable is cut."""

    SWITCH = "at the switch"
    """The switch's port goes down, and so the host loses its carrier."""
    HOST = "at the host"
    """The host's own interface is set down."""
    WIRE = "in between"
    """Behind something that keeps the carrier: nobody is told."""


def pool(count: int) -> tuple[str, ...]:
    """One IPv4 address, or `count` of them in equal parts of both families."""
    if count == 1:
        return ("192.0.2.100",)
    first_4 = ip_address("192.0.2.100") if count <= 200 else ip_address("198.18.1.0")
    firsts = (first_4, count - count // 2), (ip_address("2001:db8::100"), count // 2)
    return tuple(str(first + number) for first, many in firsts for number in range(many))


class Ring:
    """The whole scene, ready when made."""

    def __init__(
        self, lab: Lab, hosts: int = 3, *, addresses: Sequence[str] = pool(20), gossip_apart: bool = False
    ) -> None:
        """`gossip_apart` joins the hosts by a second switch, too, on their `eth1`: 203.0.113.11 and so on."""
        self.lab = lab
        self.addresses = tuple(addresses)
        self.switch, self.router, self.client = lab.switch("switch"), lab.host("router"), lab.host("client")
        self.router.set({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        self.uplink = self.router.link(self.switch, addresses=["192.0.2.1/24", "198.18.0.1/16", "2001:db8::1/64"])
        self.client.link(
            self.router,
            addresses=["198.51.100.2/24", "2001:db8:1::2/64"],
            peer_addresses=["198.51.100.1/24", "2001:db8:1::1/64"],
        )
        self.client.route("default", via="198.51.100.1")
        self.client.route("default", via="2001:db8:1::1")
        self.witness = lab.host("witness").link(self.switch, addresses=["192.0.2.9/24", "2001:db8::9/64"])
        self.hosts = [lab.host(name) for name in NAMES[:hosts]]
        self.links = {host: self._join(host, 11 + place) for place, host in enumerate(self.hosts)}
        self.partition = self._gossip_partition = Partition(self.switch)
        self._gossip_links = self.links
        if gossip_apart:
            gossip = lab.switch("gossip")
            self._gossip_partition = Partition(gossip)
            self._gossip_links = {host: host.link(gossip, addresses=[self._apart(host)]) for host in self.hosts}
        self.gossip_apart = gossip_apart
        self._frozen: dict[Host, set[int]] = {}

    def _join(self, host: Host, last: int) -> Link:
        host.set(_SETTINGS)
        link = host.link(self.switch, addresses=[f"192.0.2.{last}/24", f"198.18.0.{last}/16", f"2001:db8::{last}/64"])
        for prefix in _prefixes(self.addresses):
            host.netlink("route", "add", dst=prefix, type="local", table=LOCAL_TABLE, scope="host", oif=1)
        self._route(host)
        echo(host)
        return link

    @staticmethod
    def _route(host: Host) -> None:
        for router in ("192.0.2.1", "2001:db8::1"):
            with suppress(FileExistsError):
                host.route("default", via=router)

    # Who is who

    def address(self, host: Host) -> str:
        """The host's own IPv4 address on the segment, by which members know each other."""
        return f"192.0.2.{11 + self.hosts.index(host)}"

    def gossip_address(self, host: Host) -> str:
        """Where the host gossips: its address on the segment, or on the second one if gossip is apart."""
        return self._apart(host).partition("/")[0] if self.gossip_apart else self.address(host)

    def _apart(self, host: Host) -> str:
        return f"203.0.113.{11 + self.hosts.index(host)}/24"

    def at(self, number: int) -> Host:
        """The host that has this number. Raises LookupError."""
        for host in self.hosts:
            if host.number == number:
                return host
        raise LookupError(f"expected the number of a host of the ring, not {number}")

    def of(self, mac: Mac | None) -> Host | None:
        """The host whose interface has this hardware address."""
        return next((host for host, link in self.links.items() if link.mac == mac), None)

    def owner(self, address: str) -> Host | None:
        """The host that the router sends to, as far as it knows."""
        entry = self.router.neighbour(address)
        return self.of(entry.mac) if entry else None

    def owners(self) -> dict[str, Host | None]:
        """The same for all addresses at once; None for one that the router has not asked for, or got no answer for."""
        hosts = {link.mac: host for host, link in self.links.items()}
        known = {str(entry.address): entry.mac for entry in self.router.neighbours()}
        return {address: hosts.get(known.get(address) or Mac(bytes(6))) for address in self.addresses}

    def wait_owner(self, address: str, host: Host | None = None, deadline_s: float = 20.0) -> Host:
        """Wait until the router sends to a host of the ring, or to this one; it asks whenever it knows nobody."""

        def found() -> Host | None:
            owner = self.owner(address)
            if owner is None:
                self.router.poke(address)
            return owner if host in {None, owner} else None

        wanted = f"{address} to be with {host.name}" if host else f"{address} to be with a host"
        owner = wait_until(found, deadline_s, what=wanted, every_ms=10)
        assert owner
        return owner

    # What happens to a host

    def cut(self, host: Host, where: Cut = Cut.SWITCH) -> None:
        """Cut the host off."""
        link = self.links[host]
        assert link.peer
        match where:
            case Cut.SWITCH:
                link.cut()
            case Cut.HOST:
                link.down()
            case Cut.WIRE:
                self.partition.sever(link.peer)

    def freeze(self, host: Host) -> None:
        """Stop everything in it, as a paused virtual machine: it says nothing, and what arrives waits.

        Its kernel cannot be stopped; nothing that it says is forwarded.
        """
        port = self.links[host].peer
        assert port
        self.partition.mute(port)
        stopped: set[int] = set()
        while fresh := set(inhabitants({host.namespace.inode})) - stopped:  # what was started meanwhile comes next
            for pid in fresh:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= fresh
            wait_until(partial(_all_stand, stopped), what=f"{host.name} to stand still")
        self._frozen[host] = stopped

    def thaw(self, host: Host) -> None:
        """Let everything in it go on where it was; what it says at once is heard."""
        port = self.links[host].peer
        assert port
        self.partition.mute(port, False)
        for pid in self._frozen.pop(host, ()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def part(self, *sides: Iterable[Host]) -> None:
        """Let no frame pass between these sides and the rest, in which everybody is who is on none of them."""
        everybody = {**self.links, self.router: self.uplink, self.witness.host: self.witness}
        self.partition.part(self._ports(*sides, links=everybody))

    def part_gossip(self, *sides: Iterable[Host], what: str = GOSSIP) -> None:
        """Let these sides and the rest not gossip with each other; all else passes.

        `what` is gossip, as nftables would match it. On a switch of its own nothing passes at all.
        """
        what = "" if self.gossip_apart else what
        self._gossip_partition.part(self._ports(*sides, links=self._gossip_links), what)

    def _ports(self, *sides: Iterable[Host], links: Mapping[Host, Link]) -> list[list[Link]]:
        chosen = [list(side) for side in sides]
        rest = [host for host in links if not any(host in side for side in chosen)]
        return [[port for host in side if (port := links[host].peer)] for side in (*chosen, rest)]

    def heal(self) -> None:
        """Mend every cable and every partition. Frozen hosts stay so."""
        self.partition.heal()
        self._gossip_partition.heal()
        for host, link in self.links.items():
            assert link.peer
            if not (link.is_up and link.peer.is_up):
                link.up(wait=False)
                link.mend()
                self._route(host)


def _prefixes(addresses: Sequence[str]) -> list[str]:
    """The same addresses as few prefixes."""
    fours = collapse_addresses(IPv4Network(address) for address in addresses if ":" not in address)
    sixes = collapse_addresses(IPv6Network(address) for address in addresses if ":" in address)
    return [str(prefix) for prefix in (*fours, *sixes)]


def _all_stand(pids: Iterable[int]) -> bool:
    """Whether each of the processes is stopped, all of its threads, or is no more.

    What waits inside the kernel (D) stops before it gets out: so does one that lets a child go first (vfork), and if
    the child was stopped, not before that goes on.
    """
    for pid in pids:
        with suppress(OSError):  # it has ended
            for path in Path(f"/proc/{pid}/task").glob("*/stat"):
                if path.read_text().rpartition(")")[2].split()[0] not in {"T", "t", "D", "Z", "X"}:
                    return False
    return True
