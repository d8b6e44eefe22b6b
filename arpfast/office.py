"""What the presences of all interfaces share: time, the way out, the settings, a voice that does not shout. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from arpfast.conflicts import ConflictPolicy
from arpfast.inspection import Event
from arpfast.probing import ProbeMode

if TYPE_CHECKING:
    from random import Random

    from arpfast.agenda import Agenda, Outbox
    from arpfast.crossing import Asker

WARNINGS, WARNINGS_IN_S = 20, 10.0
"""More warnings about single addresses than this in that time are counted, not written: a whole /16 may be taken."""


class AnnounceSettings(msgspec.Struct, frozen=True):
    """How addresses are probed, announced and defended."""

    probe: ProbeMode = ProbeMode.QUICK
    repeat: int = 2
    """Announcements of a new address, 2 s apart; of an IPv6 address never more than 3 (RFC 4861 §7.2.6)."""
    refresh_s: float = 240.0
    """Every address is announced again once in this time; 0: never."""
    conflict: ConflictPolicy = ConflictPolicy.DEFEND
    confirm: bool = True
    """Ask the default routers from new addresses, whose answers prove that the path works."""


class Office:
    """What the presences of all interfaces share."""

    def __init__(self, agenda: Agenda, outbox: Outbox, random: Random) -> None:
        """With default settings and nothing to say yet."""
        self.agenda, self.outbox, self.random = agenda, outbox, random
        self.settings = AnnounceSettings()
        self.macs: frozenset[bytes] = frozenset()
        """The hardware addresses of this host: never in conflict with us."""
        self.members: frozenset[bytes] = frozenset()
        """Those of the other hosts of our ring: who of us has an address is no business of ours here."""
        self.askers: tuple[Asker, ...] = ()
        """Who asked for addresses of ours, and was answered; the latest first."""
        self.taken_lost = 0
        """How often it was not heard that an address is taken: there were too many at once."""
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()

        self._warned_since = float("-inf")
        self._warned = 0

    def warn(self, now: float, event: str, **fields: str | float) -> None:
        """Have a person told about one address; if there are too many, about their number."""
        if now - self._warned_since > WARNINGS_IN_S:
            self._warned_since, self._warned = now, 0
        self._warned += 1
        if self._warned <= WARNINGS:
            self.say("warning", event, **fields)
        elif self._warned == WARNINGS + 1:
            self.agenda.at(self._warned_since + WARNINGS_IN_S, self._sum_up)

    def _sum_up(self, _now: float) -> None:
        self.say("warning", "more addresses were contested than were listed", more=self._warned - WARNINGS)

    def say(self, level: str, event: str, **fields: str | float) -> None:
        """Have a person told."""
        self.events.append(Event(level, event, fields))
