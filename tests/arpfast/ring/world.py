"""A ring in virtual time: members that run the real `Ownership`, a gossip and a wire that can be cut and healed.

The gossip and the watch are replaced by what they promise: a member that cannot be reached is suspected after SUSPECT_S
and dead DEAD_S later; what a member says arrives after DELAY_S; a watch that gets no answer alarms after ALARM_S. Their
own tests show that they keep these promises. With several networks, each has its addresses, its wire and a router that
answers whoever reaches it; gossip goes wherever it can.
"""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from arpfast.ring.orders import Terms
from arpfast.ring.ownership import Ownership
from arpfast.ring.roster import Gossip, Wire
from arpfast.ring.standing import Standing, decode, encode
from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.ring.orders import Orders

DELAY_S, SUSPECT_S, DEAD_S, ALARM_S, TICK_S = 0.01, 0.4, 4.0, 0.06, 0.02
SETTLE_S, AGAIN_S = 0.05, 0.2
QUIET_S = SUSPECT_S + DEAD_S + 2.0
ADDRESSES = Spans.parse("192.0.2.10-192.0.2.21", "2001:db8::10-2001:db8::13")
ADDRESS = "192.0.2.10"
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
        self.dark: set[int] = set()
        """The networks on which its cable is cut."""
        self.answers = NOTHING
        self.announced = NOTHING
        """Again, since the test looked last."""
        self.watched: tuple[str, ...] = ()
        self.heirs: dict[str, Spans] = {}
        self.views: dict[str, tuple[Gossip, float]] = {}
        """What the gossip calls the others, and when they were last reached."""
        self.silent_since: dict[tuple[str, int], float] = {}
        self.alarmed: set[tuple[str, int]] = set()
        """Who was found silent on which network, and has not answered there since."""
        self.due: float | None = None
        self.start()

    def start(self) -> None:
        """The process starts, knowing nothing."""
        self.up, self.frozen, self.answers = True, False, NOTHING
        self.views.clear()
        self.silent_since.clear()
        self.alarmed.clear()
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

    def sees(self, other: Host, network: int) -> bool:
        """Whether frames pass."""
        there = network not in self.dark | other.dark
        return self.live and other.live and self.wire_side == other.wire_side and there

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
        """Whether the watches on another show anything new."""
        name = other.name
        witness = self.ownership.roster.witnesses.get(name)
        if witness is None:
            return False
        if name not in self.watched and name not in self.heirs:
            self._forget(name)
            self.ownership.wire(name, None, now)
            return witness.wire is not None
        said = witness.standing
        answered = NOTHING if said is None else other.answers - other.ownership.unanswered
        before = witness.wire, witness.silent
        wires: dict[int, Wire] = {}
        news = False
        for number, network in enumerate(self.world.networks):
            claimed = NOTHING if said is None else said.owned & network
            asked = Spans(((claimed - said.unanswered) or claimed).spans[:1]) if said else NOTHING
            if not asked:
                self.silent_since.pop((name, number), None)
                self.alarmed.discard((name, number))
                continue
            if self.sees(other, number) and asked & answered:
                self.silent_since.pop((name, number), None)
                if (name, number) in self.alarmed or witness.lost & network:
                    self.alarmed.discard((name, number))
                    self.ownership.roster.heard(name, network)
                    news = True
                wires[number] = Wire.ASKED
                continue
            if now - self.silent_since.setdefault((name, number), now) >= ALARM_S:
                self.alarmed.add((name, number))
                news |= self._inherit(name, number)
            # Only an answer undoes an alarm.
            wires[number] = Wire.SILENT if (name, number) in self.alarmed else Wire.ASKED
        if not wires:
            self.ownership.wire(name, None, now)
            return before != (None, NOTHING) or news
        if name in self.watched:
            wire = Wire.SILENT if set(wires.values()) == {Wire.SILENT} else Wire.ASKED
            silent = [n for n, each in wires.items() if wire is Wire.ASKED and each is Wire.SILENT]
            spans = Spans(span for n in silent if said for span in said.owned & self.world.networks[n])
            self.ownership.wire(name, wire, now, spans)
            news |= before != (wire, spans)
        return news

    def _inherit(self, name: str, number: int) -> bool:
        """What the thread does by itself, and what counts of it: where others lead to the member as well, only what a
        router has answered.
        """
        witness = self.ownership.roster.witnesses[name]
        network = self.world.networks[number]
        spans = self.heirs.get(name, NOTHING) & network
        if not spans or witness.fallen or not spans - witness.lost:
            return False
        if len(self.world.networks) == 1:
            self.ownership.inherited(name, spans)
        elif number in self.dark:
            return False
        else:
            self.ownership.inherited(name, spans, network)
        return True

    def _forget(self, name: str) -> None:
        for number in range(len(self.world.networks)):
            self.silent_since.pop((name, number), None)
            self.alarmed.discard((name, number))


class World:
    """All of it."""

    def __init__(
        self, names: Iterable[str], addresses: Spans, terms: Terms, networks: Iterable[Spans] = (), **fields: Any
    ) -> None:
        self.now = 1000.0
        self.addresses = addresses
        self.networks = tuple(networks) or (addresses,)
        """What is at home on each."""
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

    def owners_on(self, network: int, address: str) -> list[str]:
        """Who answers now, and is heard on this network."""
        return [name for name in self.owners(address) if network not in self.hosts[name].dark]

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


def ring(names: str = "abc", networks: Iterable[Spans] = (), **terms: Any) -> World:
    """A world of these members that share ADDRESSES, settled."""
    world = World(names, ADDRESSES, Terms(members=len(names), hold_down_s=3.0, **terms), networks)
    world.run(5.0)
    world.check_one_owner_each()
    return world


def owner(world: World) -> str:
    """The one that answers for ADDRESS."""
    (found,) = world.owners(ADDRESS)
    return found
