"""Somebody else uses an address of ours: what RFC 5227 lets us do about it, and how often we say so. Pure.

Of the three ways of RFC 5227 §2.4, `defend` is (c): keep the address, one announcement in DEFEND_INTERVAL, tell the
administrator. `yield` is (b): defend once, and give up if it goes on. `report` is (c) without the announcement, for
those who want to look first. NDP knows no such rule for an address in use; the same is applied to both families.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from random import Random

    from arpfast.spans import Version

DEFEND_INTERVAL_S = 10.0  # RFC 5227 §1.1
MAX_CONFLICTS, RATE_LIMIT_INTERVAL_S = 10, 60.0
RETRY_AT_MOST_S = 300.0
REPORT_AGAIN_S = 3600.0
REMEMBERED = 1024

Key = tuple["Version", int]
"""An address: family and value."""


class ConflictPolicy(StrEnum):
    """What to do when another host uses an address that we answer for."""

    DEFEND = "defend"
    YIELD = "yield"
    REPORT = "report"


class Reaction(StrEnum):
    """What a conflict calls for now."""

    ANNOUNCE = "announce"
    GIVE_UP = "give up"
    NOTHING = "nothing"


class Conflict(msgspec.Struct):
    """An address of ours and another host that used it."""

    mac: bytes
    first_s: float
    last_s: float
    count: int = 1
    defended: int = 0


class Conflicts:
    """The conflicts of one interface: bounded, the oldest are forgotten first."""

    def __init__(self) -> None:
        """None yet."""
        self._conflicts: dict[tuple[Key, bytes], Conflict] = {}
        self._defended_s: dict[Key, float] = {}

    def observe(self, key: Key, mac: bytes, now: float, policy: ConflictPolicy) -> tuple[Reaction, bool]:
        """Take note of a frame in which `mac` used the address. What to do, and whether it is news to the administrator
        (once for each address and MAC, again when it had been quiet for an hour).
        """
        conflict = self._conflicts.pop((key, mac), None)
        news = conflict is None or now - conflict.last_s > REPORT_AGAIN_S
        if conflict is None:
            conflict = Conflict(mac, now, now)
            if len(self._conflicts) >= REMEMBERED:
                oldest = next(iter(self._conflicts))
                del self._conflicts[oldest]
        else:
            conflict.last_s = now
            conflict.count += 1
        self._conflicts[key, mac] = conflict  # at the end again: the order is that of the last frame seen
        if policy is ConflictPolicy.REPORT:
            return Reaction.NOTHING, news
        defended_s = self._defended_s.get(key)
        if defended_s is not None and now - defended_s < DEFEND_INTERVAL_S:
            if policy is ConflictPolicy.YIELD:
                del self._defended_s[key]
                return Reaction.GIVE_UP, news
            return Reaction.NOTHING, news
        if len(self._defended_s) >= REMEMBERED:
            self._defended_s = {k: at for k, at in self._defended_s.items() if now - at < DEFEND_INTERVAL_S}
            if len(self._defended_s) >= REMEMBERED:
                return Reaction.NOTHING, news  # more addresses are contested at once than can be defended by the rule
        self._defended_s[key] = now
        conflict.defended += 1
        return Reaction.ANNOUNCE, news

    def of(self, key: Key) -> list[Conflict]:
        """Those of one address, the latest last."""
        return [conflict for (of, _), conflict in self._conflicts.items() if of == key]

    def __len__(self) -> int:
        return len(self._conflicts)


class Withheld(msgspec.Struct):
    """An address that is ours by wish but not used, since somebody else has it."""

    mac: bytes
    since_s: float
    retry_s: float
    yielded: bool = False
    """Given up after use, by policy `yield`; else found taken before use."""
    times: int = 1
    trying: bool = False
    """Being probed again."""


def retry_delay_s(times: int, random: Random) -> float:
    """How long to leave an address alone that was found taken `times` times: a minute (RFC 5227 §2.1.1,
    RATE_LIMIT_INTERVAL), doubling up to five; and up to a quarter more, so that two hosts which probe for the same
    address do not for ever find each other.
    """
    delay = min(RATE_LIMIT_INTERVAL_S * 2.0 ** min(times - 1, 8), RETRY_AT_MOST_S)
    return delay * random.uniform(1, 1.25)
