"""What we believe of each member, and what changes our mind: alive, suspect and dead, by incarnation.

A member alone raises its own incarnation; of two that speak of the same one, worse news win. So whoever is suspected
without reason says so with a higher incarnation, and only a member itself brings itself back. Pure.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from arpfast.gossip.members import Member, Record, State, address_of
from arpfast.gossip.messages import INCARNATION_AT_MOST, META_AT_MOST, Alive, Dead, NodeState, Suspect, encode
from arpfast.gossip.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.agenda import Agenda
    from arpfast.gossip.counting import Counts
    from arpfast.gossip.members import Members
    from arpfast.gossip.outgoing import Outgoing
    from arpfast.gossip.suspicion import Awareness
    from arpfast.gossip.timing import Timing


class Changed(Struct, frozen=True):
    """Event: a member joined, was suspected, refuted that, died, left, or has another meta or address."""

    member: Member
    before: State | None
    """What was believed of it; None if it was unknown."""


class Conflict(Struct, frozen=True):
    """Event: a message says that a member of this name, or we, have this other address. Two hosts of one name?"""

    member: Member
    address: str
    port: int


class Beliefs:
    """The rules, and the timers of suspects."""

    def __init__(
        self, timing: Timing, members: Members, outgoing: Outgoing, agenda: Agenda, awareness: Awareness,
        counts: Counts, members_at_most: int,
    ) -> None:  # fmt: skip
        """Nothing is believed but that we are there."""
        self.events: list[Changed | Conflict] = []
        self.leaving = False
        self._timing, self._members, self._outgoing, self._agenda = timing, members, outgoing, agenda
        self._awareness, self._counts = awareness, counts
        self._members_at_most = members_at_most
        self._me = members.me

    def alive(self, told: Alive, now: float) -> None:
        """A member is said to live."""
        record = self._members.by_name.get(told.node)
        if record is self._me:
            self._alive_myself(told, now)
            return
        if (
            record is not None
            and told.incarnation <= record.incarnation
            and told.address == record.raw_address
            and told.port == record.endpoint[1]
        ):
            return  # by far the most frequent: nothing new
        address = address_of(told.address)
        if address is None or not told.node or not told.port or not _versions_make_sense(told.versions):
            self._counts.refused_malformed += 1
            return
        moves = False
        if record is None:
            if told.incarnation == 0:
                return
            if len(self._members.by_name) >= self._members_at_most:
                self._counts.members_refused += 1
                return
            before = None
            record = Record(told.node, told.address, told.port, State.DEAD, now)
            self._members.add(record)
        else:
            before = record.state
            if record.endpoint != (address, told.port):
                if not self._may_move(record, now):
                    self._conflict(record, address, told.port)
                    return
                moves = True
            if told.incarnation <= record.incarnation and not moves:
                return
        news = moves or before is not State.ALIVE or told.meta != record.meta
        record.suspicion = None
        record.incarnation, record.meta = told.incarnation, told.meta
        if len(told.versions) >= 6:
            record.versions = told.versions[:6]
        record.move(told.address, told.port)
        if record.state is not State.ALIVE:
            self._members.set_state(record, State.ALIVE, now)
        self._outgoing.tell(record.name, told, now)
        if news:
            self.events.append(Changed(record.member, before))

    def _alive_myself(self, told: Alive, now: float) -> None:
        me = self._me
        if self.leaving or told.incarnation < me.incarnation:
            return
        address = address_of(told.address)
        if address is not None and (address, told.port) != me.endpoint:
            self._conflict(me, address, told.port)
        elif told.incarnation > me.incarnation or told.meta != me.meta or told.versions != me.versions:
            self._refute(told.incarnation, now)

    def _may_move(self, record: Record, now: float) -> bool:
        after_s = self._timing.reclaim_s
        return record.state is State.LEFT or (
            record.state is State.DEAD and after_s is not None and now - record.since > after_s
        )

    def _conflict(self, record: Record, address: str, port: int) -> None:
        self._counts.conflicts += 1
        self.events.append(Conflict(record.member, address, port))

    def suspect(self, told: Suspect, now: float) -> None:
        """A member is said not to answer."""
        record = self._members.by_name.get(told.node)
        if record is self._me:
            self._accused(told, now)
            return
        if record is None or told.incarnation < record.incarnation:
            return
        if record.suspicion is not None:
            if record.suspicion.confirm(told.sender):
                self._outgoing.tell(record.name, told, now)
                self._await(record, record.suspicion)
            return
        if record.state is not State.ALIVE:
            return
        self._counts.suspected += 1
        self._outgoing.tell(record.name, told, now)
        record.incarnation = told.incarnation
        record.suspicion = Suspicion(told.sender, self._timing, self._members.living, now)
        self._members.set_state(record, State.SUSPECT, now)
        self._await(record, record.suspicion)
        self.events.append(Changed(record.member, State.ALIVE))

    def _await(self, record: Record, suspicion: Suspicion) -> None:
        self._agenda.at(suspicion.due, partial(self._expire, record, suspicion))

    def _expire(self, record: Record, suspicion: Suspicion, now: float) -> None:
        if record.suspicion is suspicion and now >= suspicion.due:
            self.dead(Dead(record.incarnation, record.name, self._me.name), now)

    def condemn(self, name: str, now: float) -> bool:
        """There is proof that a suspect is dead: whether it was one."""
        record = self._members.by_name.get(name)
        if record is None or record.state is not State.SUSPECT:
            return False
        self.dead(Dead(record.incarnation, name, self._me.name), now)
        return True

    def dead(self, told: Dead, now: float) -> None:
        """A member is said to be dead, or says that it leaves."""
        record = self._members.by_name.get(told.node)
        if record is self._me:
            self._accused(told, now)
            return
        if record is None or told.incarnation < record.incarnation or not record.lives:
            return
        left = told.sender == told.node
        accuser = self._members.by_name.get(told.sender)
        if not left and accuser is not None and accuser.state is not State.ALIVE:
            # From the other side of a partition that is just healing: let it refute, before others take its place.
            self.suspect(Suspect(told.incarnation, told.node, told.sender), now)
            return
        self._counts.left += left
        self._counts.died += not left
        before = record.state
        record.suspicion = None
        record.incarnation = told.incarnation
        self._members.set_state(record, State.LEFT if left else State.DEAD, now)
        self._outgoing.tell(record.name, told, now)
        self.events.append(Changed(record.member, before))

    def _accused(self, told: Suspect | Dead, now: float) -> None:
        if self.leaving:
            return
        accuser = self._members.by_name.get(told.sender)
        if accuser is not None and accuser.state is not State.ALIVE:
            self.doubt_deaths()
        if told.incarnation >= self._me.incarnation:
            self._refute(told.incarnation, now)
        elif accuser is not None and accuser is not self._me:
            # It has missed that we refuted this, and nobody tells it again: we do.
            self._outgoing.send(accuser.endpoint, [encode(self._myself())], accuser)

    def doubt_deaths(self) -> None:
        """One speaks to us that we do not believe alive: we were parted, so tell nobody any more whom we found dead."""
        for record in self._members.silent.values():
            if record.state is State.DEAD:
                self._outgoing.news.forget(record.name)

    def _refute(self, accused: int, now: float) -> None:
        incarnation = max(self._me.incarnation, accused) + 1
        if incarnation > INCARNATION_AT_MOST:
            self._counts.unrefutable += 1
            incarnation = INCARNATION_AT_MOST
        self._counts.refuted += 1
        self._awareness.add(1)
        self._announce(incarnation, now)

    def set_meta(self, meta: bytes, now: float) -> None:
        """Tell the others something else about ourselves. Raises ValueError for more than META_AT_MOST bytes."""
        if len(meta) > META_AT_MOST:
            raise ValueError(f"expected at most {META_AT_MOST} bytes of meta, not {len(meta)}")
        if meta != self._me.meta:
            self._me.meta = meta
            self._announce(min(self._me.incarnation + 1, INCARNATION_AT_MOST), now)

    def _announce(self, incarnation: int, now: float) -> None:
        me = self._me
        me.incarnation = incarnation
        me.changed()
        self._outgoing.tell(me.name, self._myself(), now)

    def _myself(self) -> Alive:
        me = self._me
        return Alive(me.incarnation, me.name, me.raw_address, me.endpoint[1], me.meta, me.versions)

    def leave(self, now: float, done: Callable[[], None]) -> None:
        """Tell the others that we go; `done` is called once they have been told."""
        if self.leaving:
            return
        self.leaving = True
        me = self._me
        self._members.set_state(me, State.LEFT, now)
        self._outgoing.tell(me.name, Dead(me.incarnation, me.name, me.name), now, done)

    def merge(self, nodes: Iterable[NodeState], default_port: int, now: float) -> bool:
        """Learn from another's view; False if it was refused, since not all could speak the same protocol."""
        nodes = tuple(nodes)
        if not self._compatible(nodes):
            self._counts.exchanges_refused += 1
            return False
        for node in nodes:
            if node.state == State.ALIVE.value:
                port = node.port or default_port
                self.alive(Alive(node.incarnation, node.name, node.address, port, node.meta, node.versions), now)
            elif node.state == State.LEFT.value:
                self.dead(Dead(node.incarnation, node.name, node.name), now)
            else:  # what others found dead we only suspect: it is asked, and may refute
                self.suspect(Suspect(node.incarnation, node.name, self._me.name), now)
        return True

    def _compatible(self, nodes: Iterable[NodeState]) -> bool:
        spoken = {node.versions[:6] for node in nodes if node.state == State.ALIVE.value and len(node.versions) >= 6}
        if not spoken or spoken == {self._me.versions}:
            return True  # the records that we hold have been through this before
        spoken |= {record.versions for record in self._members if record.state is State.ALIVE}
        for least, most, current in ((0, 1, 2), (3, 4, 5)):
            low, high = max(each[least] for each in spoken), min(each[most] for each in spoken)
            if not all(low <= each[current] <= high for each in spoken):
                return False
        return True


def _versions_make_sense(versions: bytes) -> bool:
    return len(versions) < 3 or 0 < versions[0] <= versions[1]
