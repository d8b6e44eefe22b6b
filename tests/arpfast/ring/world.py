"""A ring in virtual time: members that run the real `Ownership`, a gossip and a wire that can be cut and healed.

The gossip and the watch are replaced by what they promise: a member that cannot be reached is suspected after SUSPECT_S
and dead DEAD_S later; what a member says arrives after DELAY_S; a watch that gets no answer alarms after ALARM_S. Their
own tests show that they keep these promises.
"""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from arpfast.ring.ownership import Ownership
from arpfast.ring.roster import Gossip, Wire
from arpfast.ring.standing import Standing, decode, encode
from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.ring.orders import Orders, Terms

DELAY_S, SUSPECT_S, DEAD_S, ALARM_S, TICK_S = 0.01, 0.4, 4.0, 0.06, 0.02
SETTLE_S, AGAIN_S = 0.05, 0.2
QUIET_S = SUSPECT_S + DEAD_S + 2.0
"""After so long without a mishap, every address has one owner in each connected part."""


class Host:
    """One member and what surrounds it."""

    def __init__(self, world: World, name: str, number: int, terms: Terms, **fields: Any) -> None:
        self.world, self.name, self.terms = world, name, terms
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self.fields = fields
        self.up = False
        self.frozen = False
        self.gossip_side = self.wire_side = 0
        self.answers = NOTHING
        self.announced = NOTHING
        """Again, since the test looked last."""
        self.watched: tuple[str, ...] = ()
        self.heirs: dict[str, Spans] = {}
        self.views: dict[str, tuple[Gossip, float]] = {}
        """What the gossip calls the others, and when they were last reached."""
        self.silent_since: dict[str, float] = {}
        self.due: float | None = None
        self.start()

    def start(self) -> None:
        """The process starts, knowing nothing."""
        self.up, self.frozen, self.answers = True, False, NOTHING
        self.views.clear()
        self.silent_since.clear()
        serial = int(self.world.now * 1000) << 10
        self.ownership = Ownership(Standing(self.name, serial, macs=(self.mac,), **self.fields), self.terms)
        self.ownership.want(self.world.addresses, NOTHING)
        self.world.later(0.0, self.turn)
        self.world.later(SETTLE_S, self._settle)

    def stop(self) -> None:
        """The process dies."""
        self.up, self.answers = False, NOTHING

    def freeze(self) -> None:
        """Everything stops; what it would answer is answered by nobody."""
        self.frozen = True

    def thaw(self) -> None:
        """It goes on, finds that time has passed, and stands aside until it has heard the others."""
        self.frozen = False
        self.answers = NOTHING
        self.ownership.stand_aside("it was frozen")
        self.turn()
        self.world.later(SETTLE_S, self._settle)

    @property
    def live(self) -> bool:
        return self.up and not self.frozen

    def reaches(self, other: Host) -> bool:
        """Whether gossip passes."""
        return self.live and other.live and self.gossip_side == other.gossip_side

    def sees(self, other: Host) -> bool:
        """Whether frames pass."""
        return self.live and other.live and self.wire_side == other.wire_side

    def exchange(self, other: Host) -> None:
        """Both learn all that the other knows."""
        for one, two in ((self, other), (other, self)):
            for standing in list(two.ownership.standings().values()):
                one.ownership.standing(decode(encode(standing)))

    def _settle(self) -> None:
        if not self.live or self.ownership.settled:
            return
        for other in self.world.others(self):
            if self.reaches(other):
                self.ownership.gossip(other.name, Gossip.ALIVE, ours=True)
                self.views[other.name] = (Gossip.ALIVE, self.world.now)
                self.exchange(other)
        self.ownership.settle(self.world.now)
        self.turn()

    def turn(self) -> None:
        """Carry out what follows from what came in."""
        if not self.live:
            return
        for _ in range(20):
            orders = self.ownership.orders(self.world.now)
            self._carry_out(orders)
            self.due = self.ownership.next_deadline(self.world.now)
            if not orders.condemn and not orders.exchange:
                return
        raise AssertionError(f"{self.name} does not come to rest")

    def _carry_out(self, orders: Orders) -> None:
        world = self.world
        self.answers, self.watched, self.heirs = orders.answers, orders.watch, orders.heirs
        assert not orders.announce - orders.answers
        self.announced |= orders.announce
        withheld = orders.fresh & world.outsiders
        if withheld != self.ownership.unanswered:
            self.ownership.unanswered = withheld
            world.later(0.0, self.turn)
        world.told += [(world.now, self.name, event) for event in orders.events]
        if orders.standing is not None:
            for other in world.others(self):
                world.later(DELAY_S, partial(self._arrive, other, orders.standing))
        for name in orders.condemn:
            for host in [self, *(other for other in world.others(self) if self.reaches(other))]:
                if host.name != name:
                    host.view(name, Gossip.DEAD)
        if orders.settle:
            world.later(SETTLE_S, self._settle)
        for name in orders.exchange:
            if self.reaches(world.hosts[name]):
                self.exchange(world.hosts[name])
                world.later(DELAY_S, world.hosts[name].turn)

    def _arrive(self, other: Host, said: Standing) -> None:
        """What is lost on a short cut, which nobody has noticed, is said again as long as it is so: gossip retransmits,
        and pushes and pulls now and then.
        """
        if self.reaches(other):
            if other.ownership.standing(decode(encode(said))):
                other.turn()
        elif self.ownership.said == said and self.up and other.up:
            self.world.later(AGAIN_S, partial(self._arrive, other, said))

    def view(self, name: str, state: Gossip) -> None:
        """The gossip calls a member this from now on."""
        self.views[name] = (state, self.views.get(name, (state, 0.0))[1])
        self.ownership.gossip(name, state, ours=True)

    def look(self) -> None:
        """One tick of the gossip's clock and of the watches."""
        if not self.live:
            return
        now = self.world.now
        news = [self._meet(other, now) or self._watch(other, now) for other in self.world.others(self)]
        if any(news) or (self.due is not None and self.due <= now):
            self.turn()

    def _meet(self, other: Host, now: float) -> bool:
        """Whether the gossip changes its mind about another."""
        state, reached = self.views.get(other.name, (None, now))
        if self.reaches(other) and other.ownership.settled:
            self.views[other.name] = (Gossip.ALIVE, now)
            if state is not Gossip.ALIVE:
                self.ownership.gossip(other.name, Gossip.ALIVE, ours=True)
                self.exchange(other)
                return True
        elif state is Gossip.ALIVE and now - reached > SUSPECT_S:
            self.view(other.name, Gossip.SUSPECT)
            return True
        elif state is Gossip.SUSPECT and now - reached > SUSPECT_S + DEAD_S:
            self.view(other.name, Gossip.DEAD)
            return True
        return False

    def _watch(self, other: Host, now: float) -> bool:
        """Whether a watch on another shows anything new."""
        name = other.name
        witness = self.ownership.roster.witnesses.get(name)
        if witness is None:
            return False
        shown = witness.wire
        wire: Wire | None = None
        if name in self.watched or name in self.heirs:
            said = witness.standing
            asked = NOTHING if said is None else (said.owned - said.unanswered) or said.owned
            if not asked:
                self.silent_since.pop(name, None)
                self.ownership.wire(name, None, now)
                return shown is not None
            answered = Spans(asked.spans[:1]) & (other.answers - other.ownership.unanswered)
            if self.sees(other) and answered:
                self.silent_since.pop(name, None)
            silent = name in self.silent_since or not (self.sees(other) and answered)
            alarm = silent and now - self.silent_since.setdefault(name, now) >= ALARM_S
            if alarm and name in self.heirs and not witness.fallen:
                self.ownership.inherited(name, self.heirs[name])
                return True
            if name in self.watched:
                # Not silent once it has been: only an answer undoes an alarm.
                wire = Wire.SILENT if alarm else (Wire.SILENT if silent and shown is Wire.SILENT else Wire.ASKED)
        else:
            self.silent_since.pop(name, None)
        if wire is not shown:
            self.ownership.wire(name, wire, now)
        return wire is not shown


class World:
    """All of it."""

    def __init__(self, names: Iterable[str], addresses: Spans, terms: Terms, **fields: Any) -> None:
        self.now = 1000.0
        self.addresses = addresses
        self.outsiders = NOTHING
        """What hosts outside of the ring have: found when it is probed, and then not answered."""
        self.told: list[tuple[float, str, Any]] = []
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = count()
        self.hosts: dict[str, Host] = {}
        for number, name in enumerate(names, 1):
            self.hosts[name] = Host(self, name, number, terms, **fields)

    def others(self, host: Host) -> list[Host]:
        return [other for other in self.hosts.values() if other is not host]

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (self.now + delay_s, next(self._serial), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            tick = min(self.now + TICK_S, until)
            while self._agenda and self._agenda[0][0] <= tick:
                at, _, action = heapq.heappop(self._agenda)
                self.now = max(self.now, at)
                action()
            self.now = tick
            for host in list(self.hosts.values()):
                host.look()

    def owners(self, address: str) -> list[str]:
        """Who answers now."""
        wanted = Spans.parse(address)
        return [host.name for host in self.hosts.values() if host.live and host.answers & wanted]

    def shares(self) -> dict[str, Spans]:
        """Who answers for what."""
        return {host.name: host.answers for host in self.hosts.values() if host.live}

    def parts(self) -> list[list[Host]]:
        """The hosts that see each other on the wire."""
        sides: dict[int, list[Host]] = {}
        for host in self.hosts.values():
            if host.live:
                sides.setdefault(host.wire_side, []).append(host)
        return list(sides.values())

    def check_one_owner_each(self) -> None:
        """In every part, every address is answered, by one."""
        for part in self.parts():
            covered = NOTHING
            for host in part:
                twice = covered & host.answers
                assert not twice, f"{twice} have two owners in {[host.name for host in part]}"
                covered |= host.answers
            assert covered == self.addresses, f"{self.addresses - covered} have no owner in {[h.name for h in part]}"
