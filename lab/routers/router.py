"""What the routers have in common: what they are told, what a test reads of them, and their life.

A router takes whatever its peers announce, tells them nothing but the `networks` that it has of its own, and helps
peers that restart gracefully (RFC 4724). It dials as often as it can, so that tests need not wait for it.
"""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar, Literal

from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab.host import Host
    from lab.process import Process

Family = Literal["ipv4", "ipv6"]
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
DEADLINE_S = 60.0
"""For a session to come up, or a route to come: a router may have to wait until it dials again."""
DETECT_MULTIPLIER = 3


@dataclass(frozen=True, kw_only=True)
class Peering:
    """A peer, as the router is configured for it."""

    address: str = ""
    """A link-local one with its interface: `fe80::1%eth0`."""
    interface: str = ""
    """Instead of an address: whoever is there. BIRD cannot."""
    asn: int = 0
    """0: whichever is not its own."""
    own_asn: int = 0
    """What the router says that it is here, if it is not what it is elsewhere."""
    password: str = field(default="", repr=False)
    multihop: bool = False
    passive: bool = False
    """It waits for the peer to dial."""
    hold_time_s: int = 90
    families: tuple[Family, ...] = FAMILIES
    bfd_ms: int = 0
    """How often BFD sends; 0: no BFD. It has missed a peer after three."""

    @property
    def name(self) -> str:
        """What the router calls it: its address, or the interface."""
        return self.address or self.interface


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session, as the router sees it."""

    peer: str
    state: str
    """RFC 4271's, in small letters; BIRD has `idle` for all that is not there yet."""
    asn: int = 0
    """The peer's, 0 if it has not said."""
    hold_time_s: int = 0
    """As negotiated."""
    since_unix_s: float = 0.0
    """When it was established, to the second; 0 if it is not."""
    families: frozenset[str] = frozenset()
    """As negotiated."""
    received: int = 0
    """How many prefixes the peer has told."""

    @property
    def established(self) -> bool:
        """Whether it is."""
        return self.state == "established"


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way to a prefix, as it arrived."""

    prefix: str
    peer: str
    next_hops: tuple[str, ...]
    """The global one first."""
    as_path: tuple[int, ...] = ()
    origin: str = "igp"
    local_pref: int | None = None
    med: int | None = None
    communities: frozenset[str] = frozenset()
    """`65000:1` and `large:65000:1:2`; the well-known ones by number, too."""
    stale: bool = False
    """Kept for a peer that restarts."""


@dataclass(frozen=True, kw_only=True)
class Bfd:
    """A BFD session, as the router sees it."""

    peer: str
    state: str
    """`up`, `down`, `init`, `admindown`."""
    detect_ms: int = 0
    """After how long a silence it is down."""

    @property
    def up(self) -> bool:
        """Whether it is."""
        return self.state == "up"


NOBODY = Session(peer="", state="idle")


class Router(ABC):
    """A router in a host; `start` it. Peers are called by their address, or by the interface that they are on."""

    product: ClassVar[str]

    def __init__(
        self, host: Host, asn: int, peerings: Iterable[Peering], *, networks: Iterable[str] = (), forwards: bool = True
    ) -> None:
        """`networks` are what it announces itself; `forwards`: its kernel gets what it is told."""
        self.host, self.asn = host, asn
        self.peerings = tuple(peerings)
        self.router_id = f"10.255.0.{host.number}"
        self.networks = tuple(networks)
        self.forwards = forwards
        self.directory = Path(mkdtemp(prefix=f"{self.product}-", dir=host.lab.directory))
        self.processes: list[Process] = []

    # Its life

    @abstractmethod
    def _spawn(self) -> None:
        """Write the configuration, start the processes, and wait until it can be asked."""

    def start(self, peerings: Iterable[Peering] | None = None) -> None:
        """Start it (again), with other peers if given, and wait until it can be asked."""
        if peerings is not None:
            self.peerings = tuple(peerings)
        self.processes.clear()
        self._spawn()

    def stop(self) -> None:
        """Ask it to end, as its administrator would, and wait until it has."""
        for process in reversed(self.processes):
            process.stop()

    def kill(self) -> None:
        """Kill it where it stands: nobody is told."""
        self._signal(signal.SIGSTOP)  # one that saw another die might still say something
        for process in self.processes:
            process.kill()

    def freeze(self) -> None:
        """Have it stand still: it holds its sessions, and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def restart(self, peerings: Iterable[Peering] | None = None) -> None:
        """Stop and start it."""
        self.stop()
        self.start(peerings)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def pids(self) -> list[int]:
        """Of its processes."""
        return [process.pid for process in self.processes]

    # What it sees

    @abstractmethod
    def sessions(self) -> Mapping[str, Session]:
        """All of them, by peer."""

    @abstractmethod
    def routes(self) -> Mapping[str, Sequence[Route]]:
        """All that it has been told, by prefix; the ways to one in the order of their peers."""

    @abstractmethod
    def bfd(self) -> Mapping[str, Bfd]:
        """All BFD sessions, by peer."""

    def count(self) -> int:
        """How many prefixes it has been told, by all peers together: cheap, unlike `routes`."""
        return sum(session.received for session in self.sessions().values())

    def established(self, peer: str) -> bool:
        """Whether the session with the peer is."""
        session = self.sessions().get(peer)
        return session is not None and session.established

    # Waiting

    def wait_established(self, *peers: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the sessions with these peers are there, or with all that it is configured for."""
        wanted = peers or tuple(peering.name for peering in self.peerings)

        def there() -> bool:
            sessions = self.sessions()
            return all(peer in sessions and sessions[peer].established for peer in wanted)

        wait_until(there, deadline_s, what=f"{self.product} to have sessions with {', '.join(wanted)}", every_ms=50)

    def wait_steady(self, *peers: str, for_s: float = 1.0, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the sessions with these peers, or all, and BFD where it is wanted, have been there for a while.

        BFD may begin after BGP, and FRR makes it anew when BGP is there, which GoBGP takes for a failure.
        """
        wanted = [peering for peering in self.peerings if not peers or peering.name in peers]
        before: object = None
        since_s = time.monotonic()

        def steady() -> bool:
            nonlocal before, since_s
            sessions, looks = self.sessions(), self.bfd()
            now = [(sessions.get(each.name, NOBODY).state, looks.get(each.name)) for each in wanted]
            if now != before:
                before, since_s = now, time.monotonic()
            there = all(each.name in sessions and sessions[each.name].established for each in wanted)
            seen = all(not each.bfd_ms or (each.name in looks and looks[each.name].up) for each in wanted)
            return there and seen and time.monotonic() - since_s >= for_s

        wait_until(steady, deadline_s, what=f"{self.product} to have steady sessions", every_ms=50)

    def wait_down(self, peer: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until there is no session with the peer."""
        wait_until(
            lambda: not self.established(peer), deadline_s,
            what=f"{self.product} to have no session with {peer}", every_ms=20,
        )  # fmt: skip

    def wait_route(self, prefix: str, *peers: str, deadline_s: float = DEADLINE_S) -> Sequence[Route]:
        """Wait until it has the prefix from just these peers, or from anybody; the ways to it."""

        def there() -> Sequence[Route]:
            routes = self.routes().get(prefix, ())
            return routes if not peers or {route.peer for route in routes} == set(peers) else ()

        return wait_until(
            there, deadline_s, what=f"{self.product} to have {prefix} from {peers or 'anybody'}", every_ms=50
        )

    def wait_no_route(self, prefix: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nobody has told it the prefix."""
        wait_until(
            lambda: prefix not in self.routes(), deadline_s, what=f"{self.product} to have no {prefix}", every_ms=50
        )

    def wait_count(self, count: int, deadline_s: float = DEADLINE_S, *, every_ms: int = 50) -> None:
        """Wait until it has been told as many prefixes, by all peers together."""
        wait_until(
            lambda: self.count() == count, deadline_s, what=f"{self.product} to have {count} routes", every_ms=every_ms
        )

    def wait_bfd(self, *peers: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the BFD sessions with these peers are up."""

        def up() -> bool:
            sessions = self.bfd()
            return all(peer in sessions and sessions[peer].up for peer in peers)

        wait_until(up, deadline_s, what=f"{self.product} to have BFD with {', '.join(peers)}", every_ms=50)
