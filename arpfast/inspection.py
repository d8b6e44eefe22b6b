"""What the announcer tells people: events for the log, explanations of one address, counts. Plain values, ready for
JSON.

MACs and addresses are text here; times are seconds: `_unix_s` for people, `_ms` and `_in_s` for spans of time.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """What becomes of an address on one interface."""

    ANSWERING = "answering"
    PROXYING = "proxying"
    PROBING = "probing"
    WAITING = "waiting"
    """To be probed: for its turn, the solicited-node groups or the carrier."""
    TAKEN = "taken"
    """Found in use by another host; tried again later."""
    YIELDED = "yielded"
    """Given up to another host that kept using it; tried again later."""
    ABSENT = "absent"
    """Not answered here: not wanted, or the interface is not used."""


FILTER_VERDICTS = ("passed", "foreign", "malformed", "stray", "limited", "guard_admitted", "guard_limited")
"""What the kernel's filter and guard count, by the names of `arpfast.bpf.statistics.FilterStatistics`."""


class Event(msgspec.Struct, frozen=True):
    """Something a person may want to know: for the log."""

    level: str
    """`info`, `warning` or `error`."""
    event: str
    """A short sentence without the particulars."""
    fields: dict[str, str | int | float]


class ConflictRecord(msgspec.Struct, frozen=True):
    """Another host that used the address while we answered for it."""

    mac: str
    frames: int
    defended: int
    first_unix_s: float
    last_unix_s: float


class Confirmation(msgspec.Struct, frozen=True):
    """A router answered a question asked from the address: the path to it works."""

    mac: str
    confirmed_ms: float
    """From the announcement to the answer."""


class LinkExplanation(msgspec.Struct, frozen=True):
    """One address on one interface."""

    interface: str
    ifindex: int
    phase: Phase
    why: str = ""
    since_unix_s: float | None = None
    """Since when in this phase; for addresses wanted long ago among many, of the last change near it."""
    taken_by: str | None = None
    retry_in_s: float | None = None
    conflicts: tuple[ConflictRecord, ...] = ()
    confirmed: tuple[Confirmation, ...] = ()


class Explanation(msgspec.Struct, frozen=True):
    """All about one address."""

    address: str
    wanted: bool
    """Among the addresses or proxied prefixes that were asked for, be it of another host of the ring."""
    proxied: bool
    kernel_interfaces: tuple[str, ...] = ()
    """Interfaces on which the kernel itself owns it, and answers with its own MAC."""
    links: tuple[LinkExplanation, ...] = ()


class LinkTotals(msgspec.Struct, frozen=True):
    """How many addresses are in which phase on one interface."""

    interface: str
    ifindex: int
    answering: int = 0
    proxying: int = 0
    probing: int = 0
    waiting: int = 0
    taken: int = 0
    yielded: int = 0
    unconfirmed: int = 0
    """Addresses whose question to the router has gone unanswered so far."""


class AnnouncerStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and the present state of each interface in use."""

    links: tuple[LinkTotals, ...] = ()
    tables: int = 0
    """Tables built."""
    wakes: int = 0
    """Times the announcer's task woke: none in an idle second."""
    taken: int = 0
    conflicts: int = 0
    defended: int = 0
    yielded: int = 0
    confirmed: int = 0
    unconfirmed: int = 0
    group_joins: int = 0
    group_failures: int = 0

    @property
    def state_totals(self) -> dict[Phase, int]:
        """Addresses by phase, over all interfaces."""
        return {
            phase: sum(getattr(link, phase.value) for link in self.links) for phase in Phase if phase != Phase.ABSENT
        }
