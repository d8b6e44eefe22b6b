"""The watches on other members: which to have, and what the thread's facts about them mean. No rules of the ring here.

A member is watched for each of its reaches (`reaching.py`), by every hardware address that it may answer with there;
of a reach it is silent only if all of these watches are. The question is for an address that it claims, and
not, if it can be helped, for one that it still probes, that another host has, or that it is about to hand over: its
silence about that says nothing.

`default`: three intervals of 20 ms, only while the ring doubts a member. `fast`: heirs watch at that pace all the time,
and the watches of a reach carry an estate: what to answer and whom to tell, so that the thread can begin without
Python.

Where gossip may go another way than frames, to hear nothing can mean that our own cable is cut. The thread then answers
where nobody hears it, which harms nobody; to claim what it answers would have the owner stop. So there an inheritance
counts once a router has answered us on that network, or the ring suspects the member, too; and if the member speaks
before that, it is given up.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from arpfast.answer import Table
from arpfast.crossing import Estate, FactKind, Message, MessageKind, Watch
from arpfast.probing import PROBED_AT_MOST
from arpfast.ring.reaching import Reach, reaches
from arpfast.ring.roster import Wire
from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from arpfast.crossing import Fact
    from arpfast.interfaces import Interface
    from arpfast.responder import Responder
    from arpfast.ring.standing import Standing
    from arpfast.spans import Version

INTERVAL_MS, MISSES = 20.0, 3
LEASE_MS = {"default": 250.0, "fast": 60.0}
"""A host that stood still for so long may have been succeeded: the ring needs longer to suspect it, and a watch of the
profile just as long to alarm."""

RETIRED = 256
"""How many watches are remembered that are over: a fact about one may be under way."""

Key = tuple[int, "Version", int, bytes]
"""ifindex, version, address, MAC: how a fact names its watch."""


class Scope(Protocol):
    """Where what is answered, if not everything everywhere."""

    def on(self, interface: str, spans: Spans) -> Spans:
        """What of these we would answer on one of our interfaces."""

    def everywhere(self, spans: Spans) -> Spans:
        """What of these is answered by any member on whatever interface it is asked."""


class Everywhere:
    """Everything everywhere."""

    def on(self, _interface: str, spans: Spans) -> Spans:
        """All of them."""
        return spans

    def everywhere(self, spans: Spans) -> Spans:
        """All of them."""
        return spans


class Told(NamedTuple):
    """What a fact about a member comes to."""

    name: str
    inherited: Spans = NOTHING
    """What the thread has begun to answer for, if that counts by now."""
    network: Spans = NOTHING
    """Where it was inherited, if the member may be heard elsewhere."""
    heard: bool = False
    """It answers again, on this network."""


class Shown(NamedTuple):
    """What the watches on a member show together."""

    wire: Wire | None
    """None: there is none."""
    silent: Spans = NOTHING
    """What it does not answer for, where it answers for others."""


class _Watched(msgspec.Struct, frozen=True):
    """What a watch is about."""

    name: str
    reach: Reach
    inheritance: Spans


class Watching:
    """The watches of one member."""

    def __init__(
        self,
        responder: Responder,
        profile: str,
        know: Callable[[frozenset[bytes]], None],
        scope: Scope = Everywhere(),  # noqa: B008 (it has no state)
    ) -> None:
        """Nobody is watched. `know` is told the members' hardware addresses as the thread is."""
        self._responder, self._know, self._scope = responder, know, scope
        self._profile = profile
        self._interfaces: dict[int, Interface] = {}
        self._watches: dict[Key, tuple[_Watched, Watch]] = {}
        self._wire: dict[Key, Wire] = {}
        self._unproved: set[_Watched] = set()
        """What the thread answers for, though it may be our own cable that is cut."""
        self._lost: set[tuple[str, Spans]] = set()
        """Who was inherited from on which network alone, and has not been heard there since."""
        self._retired: dict[Key, _Watched] = {}
        """What the watches were about that are over."""
        self._tables: dict[Spans, Table] = {}
        self._next_tables: dict[Spans, Table] = {}
        self._members: frozenset[bytes] = frozenset()
        self._wanted: tuple[object, ...] = ()
        responder.set_lease(LEASE_MS[profile])

    def profile(self, profile: str) -> None:
        """Replace the profile."""
        if profile != self._profile:
            self._profile = profile
            self._responder.set_lease(LEASE_MS[profile])

    def resume(self) -> None:
        """Have the thread answer again after a freeze; what it is to answer must be right by now."""
        self._responder.resume()

    def interfaces(self, used: Iterable[Interface]) -> None:
        """Replace the interfaces in use."""
        self._interfaces = {interface.index: interface for interface in used}

    def want(
        self,
        watch: Sequence[str],
        heirs: Mapping[str, Spans],
        standings: Mapping[str, Standing],
        elected: Mapping[str, Spans],
    ) -> None:
        """Watch these members, and inherit this from those; tell the thread whom its rivals are. `elected` is what each
        is to own from now on.
        """
        members = frozenset(mac for standing in standings.values() for mac in standing.macs)
        ours = frozenset(interface.mac for interface in self._interfaces.values())
        if members - ours != self._members:
            self._members = members - ours
            self._responder.set_members(self._members)
            self._know(self._members)
        names = [name for name in dict.fromkeys((*watch, *heirs)) if name in standings]
        wanted = (
            [(standings[name], elected.get(name), self._scope.everywhere(standings[name].owned)) for name in names],
            dict(heirs),
            dict(self._interfaces),
        )
        if wanted == self._wanted:
            return
        self._wanted = wanted
        before, self._watches = self._watches, {}
        for name, (standing, theirs, settled) in zip(names, wanted[0], strict=True):
            for reach in reaches(standing, self._interfaces.values(), settled):
                watched = _Watched(name, reach, heirs.get(name, NOTHING) & reach.claimed)
                for watch_ in self._made(watched, standing, theirs or NOTHING, settled):
                    self._watches[watch_.ifindex, watch_.version, watch_.address, watch_.mac] = watched, watch_
        self._tables, self._next_tables = self._next_tables, {}
        self._retire(before)
        self._wire = {key: self._wire.get(key, Wire.ASKED) for key in self._watches}
        if self._unproved:
            self._unproved &= {watched for watched, _ in self._watches.values()}
        made = tuple(made for _, made in self._watches.values())
        if made != tuple(made for _, made in before.values()):
            self._responder.set_watches(made)

    def _retire(self, before: Mapping[Key, tuple[_Watched, Watch]]) -> None:
        for key, (watched, _) in before.items():
            self._retired.pop(key, None)
            if key not in self._watches:
                self._retired[key] = watched
        while len(self._retired) > RETIRED:
            del self._retired[next(iter(self._retired))]

    def shown(self, name: str) -> Shown:
        """What the watches on a member show together: it is silent if it is so for everything."""
        of: dict[Reach, set[Wire]] = {}
        for key, (watched, _) in self._watches.items():
            if watched.name == name:
                of.setdefault(watched.reach, set()).add(self._wire[key])
        seen = {reach: _together(wires) for reach, wires in of.items()}
        wire = _together(set(seen.values())) if seen else None
        if wire is None or wire is Wire.SILENT:
            return Shown(wire)
        return Shown(wire, Spans(span for reach, each in seen.items() if each is Wire.SILENT for span in reach.claimed))

    def fact(self, fact: Fact) -> Told | None:
        """Take a fact; None if it says nothing about a member.

        What the thread inherited by a watch that was replaced a moment later is ours all the same: it has announced
        it, and, if the new watch has the same estate, answers for it.
        """
        if fact.kind is FactKind.CONFIRMED:
            return self._proved(fact) if self._unproved else None
        key = (fact.ifindex, fact.version, fact.address, fact.mac)
        if key not in self._watches:
            over = self._retired.get(key) if fact.kind is FactKind.INHERITED else None
            return None if over is None or over.reach.network else Told(over.name, over.inheritance)
        watched, _ = self._watches[key]
        name, reach = watched.name, watched.reach
        match fact.kind:
            case FactKind.INHERITED:
                self._wire[key] = Wire.SILENT
                if not reach.network:
                    return Told(name, watched.inheritance)
                self._unproved.add(watched)
            case FactKind.SILENT:
                self._wire[key] = Wire.SILENT
            case FactKind.SPOKE:
                self._wire[key] = Wire.ASKED
                if watched in self._unproved:
                    self._give_up()
                self._lost -= {lost for lost in self._lost if self._is_about(lost, watched)}
                return Told(name, network=reach.network, heard=True)
            case FactKind.RESUMED:
                self._wire[key] = Wire.ASKED
            case FactKind.SUSPENDED:
                self._wire[key] = Wire.SUSPENDED
            case _:
                return None
        return Told(name)

    def _proved(self, fact: Fact) -> Told | None:
        """A router has answered us where we have inherited: it hears us, and others no longer."""
        for watched in self._unproved:
            there = any(interface.index == fact.ifindex for interface, _ in watched.reach.ways)
            if there and watched.inheritance.find(fact.version, fact.address):
                self._unproved.discard(watched)
                self._lost.add((watched.name, watched.reach.network))
                return Told(watched.name, watched.inheritance, watched.reach.network)
        return None

    @staticmethod
    def _is_about(lost: tuple[str, Spans], watched: _Watched) -> bool:
        name, network = lost
        return name == watched.name and bool(network & watched.reach.network or not watched.reach.network)

    def _give_up(self) -> None:
        """An estate is in force for as long as it is named: the next turn makes others, of tables that are new."""
        self._unproved.clear()
        self._tables, self._wanted = {}, ()

    def _made(self, watched: _Watched, standing: Standing, elected: Spans, settled: Spans) -> list[Watch]:
        asked = _asked(watched.reach.claimed, standing.unanswered, elected, settled)
        if asked is None:
            return []
        version, address = asked
        # Who may answer on another interface than he is asked on is not silent.
        sure = settled.find(version, address) is not None
        estate = self._estate(watched.inheritance) if watched.inheritance and sure else None
        mute = any(self._is_about(lost, watched) for lost in self._lost)
        return [
            Watch(interface.index, version, address, mac, INTERVAL_MS, MISSES, estate, mute)
            for interface, mac in watched.reach.ways
            if version == 4 or interface.link_local is not None
        ]

    def _estate(self, inheritance: Spans) -> Estate:
        asking: list[Message] = []
        announcing: list[Message] = []
        tables: list[tuple[int, Table]] = []
        for index, interface in self._interfaces.items():
            there = self._scope.on(interface.name, inheritance)
            # A table is known by identity: the same inheritance must not begin its watch anew.
            table = self._next_tables[there] = self._tables.get(there) or self._next_tables.get(there) or Table(there)
            tables.append((index, table))
            spans = [span for span in there if span.size <= PROBED_AT_MOST]
            for gateway in interface.gateways:
                asking += (
                    Message(MessageKind.ASK, index, span, int(gateway))
                    for span in spans
                    if span.version == gateway.version
                )
            announcing += (Message(MessageKind.ANNOUNCE, index, span) for span in spans)
        return Estate(tuple(tables), (*asking, *announcing))


def _asked(claimed: Spans, unanswered: Spans, elected: Spans, settled: Spans) -> tuple[Version, int] | None:
    """An address that it answers for and will, of IPv4 if there is one, and on whatever interface if there is such a
    one; else one that it answers for; else any, for it may have said less than it did.
    """
    answered = (claimed - unanswered) or claimed
    answered = answered & settled or answered
    lasting = (span for span in answered if elected.find(span.version, span.first))
    return next(((span.version, span.first) for span in (*islice(lasting, 1), *answered.spans[:1])), None)


def _together(wires: set[Wire]) -> Wire:
    return next(wire for wire in (Wire.ASKED, Wire.SUSPENDED, Wire.SILENT) if wire in wires)
