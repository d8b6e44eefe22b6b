"""`make demo`: three hosts share addresses; their owner dies in several ways, and a client behind a router keeps count.

Nothing is staged but the network: the hosts run the installed `arpfast` command from one settings file, router and
client are ordinary Linux kernels, and every line `outage … ms` is what the client's own probes, one every 2 ms to each
address, missed. Ends by itself and leaves nothing behind.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from lab.live import Live
from lab.member import Member
from lab.network import Lab
from lab.playing import chapter, perform
from lab.ring import Cut, Ring, pool
from lab.traffic import Traffic
from lab.waiting import wait_until

if TYPE_CHECKING:
    from rich.console import Console

    from lab.host import Host

DEADLINE_S = 30.0


class Piece:
    """The hosts, their daemons and the audience."""

    def __init__(self, lab: Lab, console: Console) -> None:
        """Start everything, and wait until every address has an owner."""
        self.console = console
        self.ring = Ring(lab, addresses=pool(8))
        options = {"profile": "fast", "hold_down": "2s"}
        self.members = {host: Member(self.ring, host, options=options) for host in self.ring.hosts}
        for member in self.members.values():
            member.start()

    def owner(self) -> Host:
        """Who has the first address."""
        return self.ring.wait_owner(self.ring.addresses[0], deadline_s=DEADLINE_S)

    def show(self, host: Host, *command: str) -> None:
        """Run a command on a member, showing both it and what it says."""
        self.console.print(f"{host.name}$ arpfast {' '.join(command)}", style="dim")
        for line in self.members[host].run(*command).rstrip().splitlines():
            self.console.print(f"  {line.rstrip()}", markup=False, soft_wrap=True)

    def wait_answering(self) -> Host:
        """Who has the first address, once that host itself says so: it may just have stood aside for a moment."""

        def found() -> list[Host]:
            host = self.owner()
            return [host] if self.members[host].ask("explain", self.ring.addresses[0])["ring"]["ours"] else []

        return wait_until(found, DEADLINE_S, what="an owner that says so", every_ms=50)[0]

    def wait_shared(self) -> None:
        """Wait until every member has its share again."""
        wait_until(
            lambda: {owner for owner in self.ring.owners().values() if owner} == set(self.ring.hosts),
            DEADLINE_S, what="every member to have its share", every_ms=50,
        )  # fmt: skip


def play(console: Console) -> None:
    """The whole piece."""
    with Lab() as lab:
        console.print("Three hosts with one settings file, a router, and a client behind it:", style="bold")
        piece = Piece(lab, console)
        ring = piece.ring
        with Traffic.start(ring.client, ring.addresses, live=True) as traffic, Live(ring, traffic, console) as live:
            live.wait_calm(deadline_s=DEADLINE_S)
            piece.wait_shared()
            piece.show(piece.owner(), "status", "--ring")

            host = piece.owner()
            with chapter(live, f"The cable of {host.name} is cut", ring.heal):
                ring.cut(host, Cut.SWITCH)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"{host.name} freezes, and is thawed again", lambda: None):
                ring.freeze(host)
                live.wait_calm()
                ring.thaw(host)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"arpfast on {host.name} is killed: traffic flows on, but somebody else answers now",
                         piece.members[host].start):  # fmt: skip
                piece.members[host].kill()
                wait_until(lambda: piece.owner() is not host, DEADLINE_S, what="another owner", every_ms=20)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"The gossip of {host.name} is cut, its cable is not: nothing moves", ring.heal):
                ring.part_gossip([host])
                live.wait_calm(for_s=2.0)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"{host.name} is drained", piece.members[host].undrain):
                piece.members[host].drain()
                wait_until(lambda: piece.owner() is not host, DEADLINE_S, what="another owner", every_ms=20)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"arpfast on {host.name} is told to stop (SIGTERM), and hands over first",
                         piece.members[host].start):  # fmt: skip
                piece.members[host].process.signal(signal.SIGTERM)
                piece.members[host].process.wait(DEADLINE_S)

            piece.wait_shared()

            host = piece.wait_answering()
            piece.show(host, "explain", ring.addresses[0])
            piece.show(host, "timeline", ring.addresses[0])


if __name__ == "__main__":
    sys.exit(perform(play))
