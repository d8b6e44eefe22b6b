"""What the wish and the interfaces together oblige us to do, on every interface. Pure: no socket, no clock, no thread.

Four inputs: `want` replaces the wish, `interfaces` the picture of the host, `facts` come from the responder's thread,
and `advance` lets time pass. Each is followed by `orders`, which says what has to be carried out now: tables first,
then frames, so that nothing is announced which would not be answered, and a withdrawn address is silent at once.
Nothing else comes out, so the whole of announcing, probing and defending runs in tests at any speed.

`Presence` has what happens on one interface; this decides on which interfaces there is one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from functools import partial
from itertools import chain
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from arpfast.agenda import Agenda, Outbox
from arpfast.crossing import Fact, FactKind, Message
from arpfast.inspection import Event, LinkTotals
from arpfast.interfaces import Choice, Interface
from arpfast.office import AnnounceSettings, Office
from arpfast.presence import Presence
from arpfast.spans import NOTHING, Spans, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from random import Random

    from arpfast.crossing import Asker

KIN_AT_MOST = 32
"""As many MACs as `struct link` holds."""


class Answer(msgspec.Struct, frozen=True):
    """What to answer for in one way."""

    spans: Spans
    proxy: bool = False
    """Prefixes that are answered for without being ours: neither probed nor announced, O=0 (RFC 4861 §7.2.8)."""
    interfaces: frozenset[str] | None = None
    """Names of interfaces to answer on, of those that are chosen; None: all of them."""
    settled: bool = False
    """Known not to be a stranger's, for another member of our ring answered for it before: answered for at once,
    without probing, and the routers are told first."""


class Settings(msgspec.Struct, frozen=True):
    """On which interfaces, and how."""

    choice: Choice = Choice()
    announce: AnnounceSettings = AnnounceSettings()
    standby: Spans = NOTHING
    """What may have to be answered at any moment: solicited-node groups are joined for it as well, since a switch that
    snoops would take up to a second to let the first question through."""


class LinkOrder(msgspec.Struct, frozen=True):
    """What the responder is to know of one interface from now on."""

    interface: Interface
    own: Spans
    proxied: Spans
    tentative: Spans
    groups: Spans
    """IPv6 addresses whose solicited-node groups are to be joined."""
    kin: tuple[bytes, ...]
    nonce: bytes


class Orders(msgspec.Struct, frozen=True):
    """What to carry out, in this order."""

    drops: tuple[int, ...]
    links: tuple[LinkOrder, ...]
    messages: tuple[Message, ...]
    events: tuple[Event, ...]


class Duties:
    """The state of announcing on all interfaces."""

    def __init__(self, rate_per_s: float, random: Random | None = None) -> None:
        """`rate_per_s` is the pace of the responder's thread."""
        self.agenda = Agenda()
        self.office = Office(self.agenda, Outbox(self.agenda, rate_per_s), random or SystemRandom())
        self.presences: dict[int, Presence] = {}
        self.settings = Settings()
        self.snapshot: Mapping[int, Interface] = {}
        self._settled = Spans()
        self._wish: dict[tuple[frozenset[str] | None, bool], Spans] = {}
        self._unions: dict[tuple[frozenset[str] | None, ...], tuple[Spans, Spans]] = {}
        self._kin: tuple[bytes, ...] = ()
        self._drops: list[int] = []

    def want(
        self, answers: Sequence[Answer], settings: Settings, now: float, *, askers: tuple[Asker, ...] = ()
    ) -> None:
        """Replace the whole wish. What is in the old and the new one is not touched. `askers` asked for any of it, the
        latest first.
        """
        self.office.askers = askers
        by_group: defaultdict[tuple[frozenset[str] | None, bool], list[Spans]] = defaultdict(list)
        for answer in answers:
            by_group[answer.interfaces, answer.proxy].append(answer.spans)
        self._settled = Spans(chain.from_iterable(answer.spans for answer in answers if answer.settled))
        self._wish = {
            group: parts[0] if len(parts) == 1 else Spans(chain.from_iterable(parts))
            for group, parts in by_group.items()
        }
        self._unions.clear()
        chosen_anew = settings.choice != self.settings.choice
        if settings.standby != self.settings.standby:
            for presence in self.presences.values():
                presence.dirty = True
        self.settings, self.office.settings = settings, settings.announce
        for presence in self.presences.values():
            presence.repeating.start_refreshing(now)
        for index, interface in self.snapshot.items():
            if chosen_anew or index in self.presences:
                self._arrange(interface, now)

    def set_rate(self, rate_per_s: float, now: float) -> None:
        """The responder's thread is about to keep another pace."""
        self.office.outbox.set_rate(rate_per_s, now)

    def interfaces(self, snapshot: Mapping[int, Interface], now: float) -> None:
        """Replace the picture of the host."""
        before, self.snapshot = self.snapshot, snapshot
        self._look_at_macs()
        for index in [index for index in self.presences if index not in snapshot]:
            self._leave(index, "interface is gone")
        for index, interface in snapshot.items():
            if before.get(index) is not interface:
                self._arrange(interface, now)
        # Which interfaces are used decides on the order of kin, so once more.
        self._look_at_macs()

    def facts(self, facts: Iterable[Fact], now: float, *, taken_lost: int = 0) -> None:
        """Take what the thread reports; `taken_lost` is how many of kind TAKEN have been lost since the start."""
        self.office.taken_lost = taken_lost
        taken: defaultdict[int, dict[tuple[Version, int], bytes]] = defaultdict(dict)
        for fact in facts:
            presence = self.presences.get(fact.ifindex)
            if presence is None:
                continue
            if fact.kind == FactKind.CONFIRMED:
                presence.confirming.confirm((fact.version, fact.address), fact.mac, fact.monotonic_ns / 1e9)
            elif fact.kind == FactKind.TAKEN:
                taken[fact.ifindex].setdefault((fact.version, fact.address), fact.mac)
            elif fact.kind == FactKind.CONFLICT:
                presence.found_conflict((fact.version, fact.address), fact.mac, now)
            elif fact.kind == FactKind.SOCKET_FAILED:
                # Open it anew; if the interface is really gone, rtnetlink is about to say so.
                self.agenda.at(now + 1.0, partial(_reopen, presence))
        for ifindex, found in taken.items():
            self.presences[ifindex].found_taken(found, now)

    def members(self, macs: frozenset[bytes], now: float) -> None:
        """Replace the hardware addresses of the others in our ring; what was held to be taken by one is tried again."""
        self.office.members = macs
        for presence in self.presences.values():
            presence.forgive(macs, now)

    def joined(self, ifindex: int, now: float) -> None:
        """All the groups that the last order for this interface asked for have been joined."""
        presence = self.presences.get(ifindex)
        if presence is not None:
            presence.join(now)

    def announce(self, spans: Spans, now: float) -> tuple[int, int]:
        """Announce again now what is answered among `spans`, and try again now what others had: how many of each."""
        done = [presence.announce(spans, now) for presence in self.presences.values()]
        return sum(again for again, _ in done), sum(tried for _, tried in done)

    def next_deadline(self) -> float | None:
        """When `advance` is due, or None."""
        return self.agenda.next_deadline()

    def advance(self, now: float) -> None:
        """Let time pass."""
        self.agenda.advance(now)

    def orders(self) -> Orders:
        """What to carry out now; each order is given once."""
        links = []
        for presence in self.presences.values():
            if presence.dirty:
                presence.dirty = False
                links.append(
                    LinkOrder(
                        presence.interface,
                        presence.answering,
                        presence.proxying,
                        presence.tentative,
                        (presence.own | presence.proxied | self.settings.standby).of_version(6),
                        tuple(mac for mac in self._kin if mac != presence.interface.mac)[:KIN_AT_MOST],
                        presence.nonce,
                    )
                )
        drops, self._drops = self._drops, []
        events, self.office.events = self.office.events, []
        return Orders(tuple(drops), tuple(links), tuple(self.office.outbox.taken()), tuple(events))

    def wanted(self, version: Version, value: int) -> tuple[bool, bool]:
        """Whether the address is wanted anywhere: as our own, as proxied."""
        own = any(spans.find(version, value) for (_, proxy), spans in self._wish.items() if not proxy)
        return own, any(spans.find(version, value) for (_, proxy), spans in self._wish.items() if proxy)

    def unanswered(self) -> Spans:
        """What is wanted and not answered on some interface: being probed, or another host's."""
        return Spans(
            span
            for presence in self.presences.values()
            for spans in (presence.own - presence.answering, presence.proxied - presence.proxying)
            for span in spans
        )

    def totals(self) -> tuple[LinkTotals, ...]:
        """The state of each interface in use; walks the sets, so for a scrape, not for an event."""
        return tuple(
            LinkTotals(
                presence.interface.name,
                index,
                answering=presence.answering.size,
                proxying=presence.proxying.size,
                probing=presence.probing.size,
                waiting=presence.waiting.size,
                taken=sum(not held.yielded and not held.trying for held in presence.withheld.values()),
                yielded=sum(held.yielded and not held.trying for held in presence.withheld.values()),
                unconfirmed=presence.confirming.unconfirmed(),
            )
            for index, presence in self.presences.items()
        )

    def _arrange(self, interface: Interface, now: float) -> None:
        """Make the presence on one interface what the wish and the choice say."""
        refusal = self.settings.choice.refusal(interface)
        presence = self.presences.get(interface.index)
        if refusal is not None:
            if presence is not None:
                self._leave(interface.index, f"interface is {refusal.value}")
            return
        if presence is None:
            presence = Presence(interface, os.urandom(6), self.office)
            self.presences[interface.index] = presence
            self.office.say("info", "interface in use", interface=interface.name, mac=interface.mac.hex(":"))
        elif presence.interface.name != interface.name:
            self.office.say("info", "interface renamed", interface=interface.name, before=presence.interface.name)
        own, proxied = self._wanted_on(interface.name)
        presence.update(interface, own, proxied, now, settled=self._settled)

    def _leave(self, index: int, why: str) -> None:
        presence = self.presences.pop(index)
        presence.close()
        self._drops.append(index)
        self.office.say("info", "interface no longer in use", interface=presence.interface.name, why=why)

    def _wanted_on(self, name: str) -> tuple[Spans, Spans]:
        """What is own and what is proxied on an interface of this name; equal wishes share one object."""
        groups = tuple(group for group, _ in self._wish if group is None or name in group)
        found = self._unions.get(groups)
        if found is None:
            own = proxied = Spans()
            for (group, proxy), spans in self._wish.items():
                if group in groups:
                    own, proxied = (own, proxied | spans) if proxy else (own | spans, proxied)
            found = self._unions[groups] = own, proxied
        return found

    def _look_at_macs(self) -> None:
        """Our own interfaces' MACs, those most likely to share a network with us first: only so many fit."""
        in_order = sorted(
            (i for i in self.snapshot.values() if len(i.mac) == 6 and any(i.mac)),
            key=lambda i: (i.index not in self.presences, not i.addresses, i.index),
        )
        kin = tuple(dict.fromkeys(interface.mac for interface in in_order))
        self.office.macs = frozenset(kin)
        if kin[: KIN_AT_MOST + 1] != self._kin:
            self._kin = kin[: KIN_AT_MOST + 1]
            for presence in self.presences.values():
                presence.dirty = True


def _reopen(presence: Presence, _now: float) -> None:
    presence.dirty = not presence.gone
