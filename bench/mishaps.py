"""What happens to the owner of an address, and what the client and the witness make of it.

Every trial has a lab of its own: three hosts, a router, a client that probes all addresses, a witness. When the owners
have settled, and up to a second more has passed, the owner of the first address is the *victim*. A mishap is a function
that does something to it and notes moments; what came of it is read from what client and witness have seen, in
milliseconds or lost probes.

Where a mishap has no end by itself, it is watched for a few seconds; what has not ended by then counts as `LIMIT_MS`.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab import DeadlineError, Lab, wait_until
from lab.member import Member
from lab.ring import Cut, Ring
from lab.traffic import Traffic, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.contenders import Contender, Runner
    from lab import Host
    from lab.traffic import Delivered, Heard

LIMIT_MS = 20_000.0
SETTLED_S = 1.5
"""Longer than any contender takes from one change of owners to the next that belongs to it."""


@dataclass
class Play:
    """A trial under way."""

    ring: Ring
    contender: Contender
    runners: Mapping[Host, Runner]
    traffic: Traffic
    victim: Host = field(init=False)
    began_ns: int = 0
    over_ns: int = 0

    def settle(self) -> dict[str, Host]:
        """Wait until every address has an owner and no owner has changed for a while; who they are."""
        seen: dict[str, Host | None] = {}
        since_s = time.monotonic()

        def settled() -> bool:
            nonlocal seen, since_s
            if (owners := self.ring.owners()) != seen or None in owners.values():
                seen, since_s = owners, time.monotonic()
            return time.monotonic() - since_s > SETTLED_S

        every_ms = 50 + len(self.ring.addresses) // 4  # reading a large neighbour table takes a while
        wait_until(settled, 60, what=f"the owners of {self.contender.name} to settle", every_ms=every_ms)
        return {address: host for address, host in seen.items() if host}

    def begin(self) -> None:
        """From now on, it counts."""
        self.began_ns = time.monotonic_ns()

    def over(self) -> None:
        """Whatever it was, it is over now."""
        self.over_ns = time.monotonic_ns()

    def wait_moved(self) -> None:
        """Wait until all that the victim had is answered by others, or for as long as it may take."""
        answering: dict[str, int] = {}
        seen = 0

        def moved() -> bool:
            nonlocal seen
            events = self.traffic.events(after=seen)
            answering.update((event.address, event.host) for event in events if event.event == "host")
            seen += len(events)
            return self.victim.number not in answering.values()

        with suppress(DeadlineError):
            wait_until(moved, LIMIT_MS / 1e3, every_ms=50)

    def watch(self, seconds: float) -> None:
        """Let it go on."""
        time.sleep(seconds)

    def gather(self) -> None:
        """Give the victim all addresses, where they are shared out: the others are drained, and free again."""
        others = [runner for host, runner in self.runners.items() if host is not self.victim]
        drainable = [runner for runner in others if isinstance(runner, Member)]
        for runner in drainable:
            runner.drain()
        if drainable:
            gathered = "the victim to have all addresses"
            wait_until(lambda: set(self.settle().values()) == {self.victim}, 60, what=gathered)
        for runner in drainable:
            runner.undrain()


@dataclass(frozen=True)
class Outcome:
    """A trial that is over. Each measure is one number."""

    play: Play
    delivered: Delivered
    heard: Heard

    def outage(self) -> float:
        """The longest time without an answer for an address."""
        return min(self.delivered.longest_ms(self.play.began_ns), LIMIT_MS)

    def outage_after(self) -> float:
        """The same once it was over."""
        return min(self.delivered.longest_ms(self.play.over_ns), LIMIT_MS)

    def lost(self) -> float:
        """Probes lost, all together."""
        return sum(outage.lost for outage in self.delivered.since(self.play.began_ns))

    def moved(self) -> float:
        """Until the last address of the victim was answered by another."""
        taken = self.delivered.moved(self.play.began_ns, host=self.play.victim.number)
        return min(max(taken.values(), default=LIMIT_MS), LIMIT_MS)

    def spread(self) -> float:
        """From the first address that was back to the last."""
        ends = [outage.ended_ns for outage in self.delivered.since(self.play.began_ns)]
        return (max(ends) - min(ends)) / 1e6 if ends and all(ends) else LIMIT_MS

    def two_owners(self) -> float:
        """From the first moment with two owners of an address to the last."""
        return max(self.heard.disputed_ms(self.play.began_ns).values(), default=0.0)

    def two_owners_after(self) -> float:
        """The same once it was over."""
        return max(self.heard.disputed_ms(self.play.over_ns).values(), default=0.0)

    def taken(self) -> float:
        """Addresses that somebody else answered for than before."""
        hosts = [
            {spell.host for spell in self.delivered.spells if spell.address == address and self._late(spell.last_ns)}
            for address in self.play.ring.addresses
        ]
        return sum(len(found) > 1 for found in hosts)

    def _late(self, moment_ns: int) -> bool:
        return moment_ns >= self.play.began_ns


def cut(play: Play) -> None:
    """The owner loses its carrier."""
    play.begin()
    play.ring.cut(play.victim)
    play.wait_moved()


def cut_unnoticed(play: Play) -> None:
    """The owner's frames vanish on their way, and nobody's carrier changes."""
    play.begin()
    play.ring.cut(play.victim, Cut.WIRE)
    play.wait_moved()


def cut_gathered(play: Play) -> None:
    """The owner of all addresses loses its carrier."""
    play.gather()
    cut(play)


def kill(play: Play) -> None:
    """The owner's processes are killed; the host lives, and so does the service in it."""
    play.begin()
    play.runners[play.victim].kill()
    play.wait_moved()
    play.watch(1)


def freeze(play: Play) -> None:
    """All of the owner stands still, and goes on two seconds after others have taken over."""
    play.begin()
    play.ring.freeze(play.victim)
    play.wait_moved()
    play.watch(2)
    play.over()
    play.ring.thaw(play.victim)
    play.watch(3)


def part_gossip(play: Play) -> None:
    """For six seconds, the owner and the others do not hear each other's gossip; the wire is whole."""
    play.begin()
    play.ring.part_gossip([play.victim], what=play.contender.gossip)
    play.watch(6)


def part_owner(play: Play) -> None:
    """The owner is cut off, alive, and comes back two seconds after others have taken over."""
    play.begin()
    play.ring.part([play.victim])
    play.wait_moved()
    _heal(play)


def part_others(play: Play) -> None:
    """The others are cut off, with the client on the owner's side, and come back after six seconds."""
    play.begin()
    play.ring.part([host for host in play.ring.hosts if host is not play.victim])
    play.watch(4)
    _heal(play)


def _heal(play: Play) -> None:
    play.watch(2)
    play.over()
    play.ring.heal()
    play.watch(4)


def drain(play: Play) -> None:
    """The owner is drained."""
    runner = play.runners[play.victim]
    assert isinstance(runner, Member)
    play.begin()
    runner.drain()
    play.wait_moved()
    play.watch(1)


def stop(play: Play) -> None:
    """The owner is told to end (SIGTERM)."""
    play.begin()
    play.runners[play.victim].stop()
    play.wait_moved()
    play.watch(1)


def roll(play: Play) -> None:
    """Every host is ended and started again, one after the other."""
    play.begin()
    for runner in play.runners.values():
        runner.stop()
        play.settle()
        runner.start()
        play.settle()


def trial(contender: Contender, mishap: Callable[[Play], None], addresses: tuple[str, ...]) -> Outcome:
    """Play it once, in a lab of its own."""
    with Lab() as lab:
        ring = Ring(lab, addresses=addresses)
        return played(ring, contender, contender.join(ring), mishap)


def played(
    ring: Ring, contender: Contender, runners: Mapping[Host, Runner], mishap: Callable[[Play], None]
) -> Outcome:  # fmt: skip
    """Play it once, in a ring that there is, whose runners run."""
    with (
        Traffic.start(ring.client, ring.addresses, live=True) as traffic,
        Witness.start(ring.witness, ring.addresses) as witness,
    ):
        play = Play(ring, contender, runners, traffic)
        play.victim = play.settle()[ring.addresses[0]]
        play.watch(random.random())  # or it would always be the same time after a periodic message
        mishap(play)
        return Outcome(play, traffic.stop(), witness.stop())
