"""Who is measured at failover. Each is started on all hosts of a ring, and has its own word for what members exchange.

keepalived is Debian's, with its default interval of a second, with a tenth, and with the shortest that the protocol
has. arpfast is the command as a user runs it, with either profile of detection; it takes part once it knows rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lab.member import Member, knows_ring
from lab.peers.keepalived import Keepalived
from lab.ring import GOSSIP, VRRP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Host
    from lab.ring import Ring


class Runner(Protocol):
    """One host's share of a contender."""

    def start(self) -> None:
        """Start it (again)."""

    def stop(self) -> None:
        """Have it end in good order, and wait until it has."""

    def kill(self) -> None:
        """Kill it where it stands."""


class Contender(Protocol):
    """Somebody who keeps addresses alive."""

    @property
    def name(self) -> str:
        """As in the tables."""

    @property
    def gossip(self) -> str:
        """What its members exchange, as nftables matches it."""

    def obstacle(self) -> str | None:
        """Why it cannot be measured."""

    def join(self, ring: Ring) -> Mapping[Host, Runner]:
        """Start it on every host, the first one first."""


@dataclass(frozen=True)
class Vrrp:
    """keepalived."""

    interval_s: float

    gossip = VRRP

    @property
    def name(self) -> str:
        """With the interval between two advertisements."""
        return f"keepalived {self.interval_s:g} s"

    def obstacle(self) -> str | None:
        """It is always there."""
        return None

    def join(self, ring: Ring) -> dict[Host, Keepalived]:
        """The first host has the highest priority."""
        runners = {
            host: Keepalived(ring.links[host], ring.addresses, priority=200 - 10 * place, interval_s=self.interval_s)
            for place, host in enumerate(ring.hosts)
        }
        for runner in runners.values():
            runner.start()
        return runners


@dataclass(frozen=True)
class Arpfast:
    """The ring of this project."""

    profile: str

    gossip = GOSSIP

    @property
    def name(self) -> str:
        """With the profile, unless that is the default."""
        return "arpfast" if self.profile == "default" else f"arpfast {self.profile}"

    def obstacle(self) -> str | None:
        """It takes a build that knows rings."""
        return None if knows_ring() else "the arpfast that is built here knows no `ring`"

    def join(self, ring: Ring) -> dict[Host, Member]:
        """All alike."""
        runners = {host: Member(ring, host, options={"profile": self.profile}) for host in ring.hosts}
        for runner in runners.values():
            runner.start()
        return runners


CONTENDERS: tuple[Contender, ...] = (Arpfast("default"), Arpfast("fast"), Vrrp(1), Vrrp(0.1), Vrrp(0.01))
