"""How long routers wait for 100, 1 000 and 10 000 routes, for one more, and for their end; beside FRR that is told to.

One node announces to 1 and to 16 routers (BIRD, each in a host of its own, which forward nothing): arpfast's BGP, a
process with gobgpd beside it, from the moment that it is told what to want; and FRR's bgpd, which reads as many
`network` statements (`vtysh -f`), without which the comparison would be with nothing. A router is asked how many routes
it has every few milliseconds. Processor time is all that either takes for everything, the speaker and its daemon
together; memory is what is resident while all routes are there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Protocol

from lab import Lab, wait_until
from lab.routers import Bird, Frr, Peering
from lab.speaking import MY_ASN, Speaking, peer
from speaker.bgp.wish import Attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab import Host, Process

ROUTES, PEERS = (100, 1000, 10_000), (1, 16)
DEADLINE_S = 120.0
NODE, ASN = "192.0.2.1", 64600
FIRST = IPv4Address("198.18.0.0")
PLAIN = Attributes()


class Announcer(Protocol):
    """Somebody who announces."""

    def begin(self, host: Host, peers: Sequence[str]) -> None:
        """Start it."""

    def announce(self, prefixes: Sequence[str]) -> None:
        """Announce these, and no others."""

    def processes(self) -> Sequence[Process]:
        """All that it consists of."""


class Arpfast:
    """`Bgp` and gobgpd."""

    def begin(self, host: Host, peers: Sequence[str]) -> None:
        self._speaking = Speaking(host)
        self._speaking.start()
        self._neighbours = {address: peer(address, address=address, asn=ASN) for address in peers}
        self._told = dict.fromkeys(self._neighbours, PLAIN)
        self._speaking.want(self._neighbours)

    def announce(self, prefixes: Sequence[str]) -> None:
        self._speaking.want(self._neighbours, dict.fromkeys(prefixes, self._told))

    def processes(self) -> Sequence[Process]:
        return self._speaking.process, self._speaking.daemon


class Directly:
    """FRR, told by its own command line."""

    def begin(self, host: Host, peers: Sequence[str]) -> None:
        self._frr = Frr(host, MY_ASN, [Peering(address=address, asn=ASN) for address in peers], forwards=False)
        self._frr.start()
        self._there: set[str] = set()

    def announce(self, prefixes: Sequence[str]) -> None:
        wanted = set(prefixes)
        gone = [f"no network {prefix}" for prefix in self._there - wanted]
        new = [f"network {prefix}" for prefix in wanted - self._there]
        self._frr.do(f"router bgp {MY_ASN}", "address-family ipv4 unicast", *gone, *new)
        self._there = wanted

    def processes(self) -> Sequence[Process]:
        return self._frr.processes


ANNOUNCERS: dict[str, type[Arpfast | Directly]] = {"arpfast": Arpfast, "frr": Directly}


@dataclass(frozen=True)
class Case:
    """One of each."""

    who: str
    routes: int
    peers: int

    def __str__(self) -> str:
        return f"{self.routes} routes, {self.peers} {'peer' if self.peers == 1 else 'peers'}"


def test_bgp(ledger: Ledger, rounds: Rounds) -> None:
    cases = [Case(who, routes, peers) for who in ANNOUNCERS for routes in ROUTES for peers in PEERS]
    for case in rounds(cases, lambda case: f"{case}, {case.who}"):
        with Lab() as lab:
            _measure(case, lab, ledger)
    for case in cases:
        if case.who == "arpfast":
            ledger.compare(f"{case}: all there", "arpfast", "frr", at_most=2)
            ledger.compare(f"{case}: one more there", "arpfast", "frr", at_most=2)
            ledger.compare(f"{case}: all gone", "arpfast", "frr", at_most=2)
    most = f"{Case('', max(ROUTES), 1)}: all there"
    ledger.judge(most, "arpfast", ledger.of(most, "arpfast").values, "ms", at_most=2000)


def _measure(case: Case, lab: Lab, ledger: Ledger) -> None:
    switch, node = lab.switch(), lab.host("node")
    node.link(switch, addresses=[f"{NODE}/24"])
    addresses = [f"192.0.2.{11 + number}" for number in range(case.peers)]
    routers = []
    for address in addresses:
        host = lab.host()
        host.link(switch, addresses=[f"{address}/24"])
        routers.append(Bird(host, ASN, [Peering(address=NODE, asn=MY_ASN)], forwards=False))
        routers[-1].start()
    announcer = ANNOUNCERS[case.who]()
    announcer.begin(node, addresses)
    for router in routers:
        router.wait_established()

    def took_ms(prefixes: Sequence[str]) -> float:
        """Until every router has just so many."""
        began_s = time.monotonic()
        announcer.announce(prefixes)
        for router in routers:
            wait_until(lambda router=router: router.count() == len(prefixes), DEADLINE_S)  # type: ignore[misc]
        return (time.monotonic() - began_s) * 1e3

    prefixes = [f"{FIRST + number}/32" for number in range(case.routes + 1)]
    before_s = sum(process.cpu_s() for process in announcer.processes())
    ledger.add(f"{case}: all there", case.who, took_ms(prefixes[:-1]), "ms")
    memory = sum(process.rss_bytes() for process in announcer.processes())
    ledger.add(f"{case}: one more there", case.who, took_ms(prefixes), "ms")
    ledger.add(f"{case}: all gone", case.who, took_ms([]), "ms")
    used_s = sum(process.cpu_s() for process in announcer.processes()) - before_s
    ledger.add(f"{case}: processor", case.who, used_s * 1e3, "ms")
    ledger.add(f"{case}: memory", case.who, memory / 2**20, "MiB")
