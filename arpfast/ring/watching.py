"""The watches on other members: which to have, and what the thread's facts about them mean. No rules of the ring here.

A member is watched on every interface that shares a network with it, by every hardware address that it may answer with
there; it is silent only if all of these watches are. The question is for an address that it claims, and
not, if it can be helped, for one that it still probes, that another host has, or that it is about to hand over: its
silence about that says nothing.

`default`: three intervals of 20 ms, only while the ring doubts a member. `fast`: heirs watch at that pace all the time,
and where one watch says it all, it carries an estate: what to answer and whom to tell, so that the thread can begin
without Python.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol

from arpfast.answer import Table
from arpfast.crossing import Estate, FactKind, Message, MessageKind, Watch
from arpfast.probing import PROBED_AT_MOST
from arpfast.ring.roster import Wire
from arpfast.spans import NOTHING, Span, Spans

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
        self._watches: dict[Key, tuple[str, Watch]] = {}
        self._wire: dict[Key, Wire] = {}
        self._estates: dict[str, Spans] = {}
        self._retired: dict[Key, tuple[str, Spans]] = {}
        """Whom a watch was on that is over, and what it was to inherit."""
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
        names = tuple(dict.fromkeys((*watch, *heirs)))
        there = [name for name in names if name in standings]
        asked = {name: _asked(standings[name], elected.get(name, NOTHING), self._scope) for name in there}
        wanted = (asked, dict(heirs), {name: standings[name] for name in asked}, dict(self._interfaces))
        if wanted == self._wanted:
            return
        self._wanted = wanted
        before, self._watches = self._watches, {}
        for name, address in asked.items():
            for made in self._made(standings[name], address, heirs.get(name, NOTHING)):
                self._watches[made.ifindex, made.version, made.address, made.mac] = name, made
        self._tables, self._next_tables = self._next_tables, {}
        self._retire(before)
        self._estates = dict(heirs)
        self._wire = {key: self._wire.get(key, Wire.ASKED) for key in self._watches}
        if before != self._watches:
            self._responder.set_watches(tuple(made for _, made in self._watches.values()))

    def _retire(self, before: Mapping[Key, tuple[str, Watch]]) -> None:
        for key, (name, _) in before.items():
            self._retired.pop(key, None)
            if key not in self._watches:
                self._retired[key] = name, self._estates.get(name, NOTHING)
        while len(self._retired) > RETIRED:
            del self._retired[next(iter(self._retired))]

    def shown(self, name: str) -> Wire | None:
        """What the watches on a member show together; None if there is none."""
        shown = {self._wire[key] for key, (of, _) in self._watches.items() if of == name}
        return next((wire for wire in (Wire.ASKED, Wire.SUSPENDED, Wire.SILENT) if wire in shown), None)

    def fact(self, fact: Fact) -> tuple[str, Spans] | None:
        """Take a fact: whom it is about, and what was inherited from it. None if it is about no watch of ours.

        What the thread inherited by a watch that was replaced a moment later is ours all the same: it has announced
        it, and, if the new watch has the same estate, answers for it.
        """
        key = (fact.ifindex, fact.version, fact.address, fact.mac)
        if key not in self._watches:
            return self._retired.get(key) if fact.kind is FactKind.INHERITED else None
        name, _ = self._watches[key]
        match fact.kind:
            case FactKind.SILENT | FactKind.INHERITED:
                self._wire[key] = Wire.SILENT
            case FactKind.SPOKE | FactKind.RESUMED:
                self._wire[key] = Wire.ASKED
            case FactKind.SUSPENDED:
                self._wire[key] = Wire.SUSPENDED
            case _:
                return None
        inherited = self._estates.get(name, NOTHING) if fact.kind is FactKind.INHERITED else NOTHING
        return name, inherited

    def _made(self, standing: Standing, asked: tuple[Version, int] | None, inheritance: Spans) -> list[Watch]:
        if asked is None:
            return []
        version, address = asked
        pairs = [
            (interface.index, mac)
            for interface in self._shared(standing)
            if version == 4 or interface.link_local is not None
            for mac in standing.macs
        ]
        # The thread acts on one watch; where it takes several to know, the rules have to put them together. Who may
        # answer on another interface than he is asked on is not silent.
        sure = len(pairs) == 1 and bool(self._scope.everywhere(Spans([Span(version, address, address)])))
        estate = self._estate(inheritance) if inheritance and sure else None
        return [Watch(index, version, address, mac, INTERVAL_MS, MISSES, estate) for index, mac in pairs]

    def _shared(self, standing: Standing) -> list[Interface]:
        """Our interfaces on a network of its own; all of them if there is none, or nothing is known of its networks."""
        usable = [interface for interface in self._interfaces.values() if interface.carrier]
        shared = [i for i in usable if any(address.ip in standing.networks for address in i.addresses)]
        return shared or usable

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


def _asked(standing: Standing, elected: Spans, scope: Scope) -> tuple[Version, int] | None:
    """An address that it answers for and will, of IPv4 if there is one, and on whatever interface if there is such a
    one; else one that it answers for; else any, for it may have said less than it did.
    """
    owned = standing.owned
    answered = (owned - standing.unanswered) or owned
    answered = scope.everywhere(answered) or answered
    lasting = (span for span in answered if elected.find(span.version, span.first))
    return next(((span.version, span.first) for span in (*islice(lasting, 1), *answered.spans[:1])), None)
