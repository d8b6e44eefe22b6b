"""Which addresses are known to be nobody's on the wire, before they are given for the first time. Pure.

    Allocator --candidates--> speakers, who probe --free, used--> Proving

The next addresses of each pool are asked about ahead, half of them at a time, so that giving one costs no time: a
Service gets the lowest that is proven free. What another host has is left out until it is found free, and asked about
for as long. A Service for which nothing is proven waits for a while and then gets what there is: no speaker, a slow
one, or one that is cut off never holds up an address. Nor is anything waited for while no speaker says anything.

An address that a Service has, or has had, needs no proof: it was ours.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from arpfast.spans import NOTHING, Span, Spans
from cluster.probes import AT_MOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.spans import Address, Version
    from cluster.probes import Said
    from cluster.resources import Key

PATIENCE_S = 2.0
"""How long a Service without an address waits for proof."""


class Proving:
    """What has been found out, and who waits for more."""

    def __init__(self, ahead: int = 0) -> None:
        """Nothing is known. `ahead`: how many addresses of each pool and family are asked about; 0: none ever are."""
        self._ahead = ahead
        self.used: dict[tuple[Version, int], str] = {}
        """Addresses that other hosts have, and whose they are."""
        self.asked = self._free = self._ours = self._proven = NOTHING
        self.stale = False
        """It may have to be asked about others."""
        self._speaks = False
        self._given = 0
        self._since_s: dict[Key, float] = {}

    def find(self, said: Iterable[Said]) -> None:
        """This is what all speakers say now."""
        every = sorted(said, key=lambda each: each.at_s)
        self._speaks, self.stale = bool(every), True
        self.used, self._free = {}, NOTHING
        for each in every:  # a later word counts: one who is gone cannot take back its own
            self.used = {key: mac for key, mac in self.used.items() if not each.free.find(*key)} | dict(each.used)
            self._free = (self._free | each.free) - Spans(self._taken)
        self._proven = self._free | self._ours

    def had(self, addresses: Iterable[Address]) -> None:
        """A Service has these no longer."""
        if self._ahead:
            self._ours |= Spans(map(Span.of, addresses))
            self._proven = self._free | self._ours

    def given(self, key: Key) -> None:
        """A Service has something."""
        self._since_s.pop(key, None)
        self._given += 1
        if self._given >= self._ahead // 4:
            self._given, self.stale = 0, True

    def proof(self) -> Spans | None:
        """What is proven; None: nothing need be. As long as it is the same object, there is nothing new."""
        return self._proven if self._ahead and self._speaks else None

    def wait(self, key: Key, now_s: float) -> None:
        """A Service has nothing for want of proof."""
        self._since_s.setdefault(key, now_s)
        self.stale = True

    def forget(self, key: Key) -> None:
        """It waits no longer."""
        self._since_s.pop(key, None)

    def is_out_of_patience(self, key: Key, now_s: float) -> bool:
        """Whether a Service has waited for long enough."""
        return now_s - self._since_s.get(key, now_s) >= PATIENCE_S

    @property
    def due_s(self) -> float | None:
        """When the patience of one that waits ends."""
        return next(iter(self._since_s.values())) + PATIENCE_S if self._since_s else None  # the longest is first

    def overdue(self, now_s: float) -> list[Key]:
        """Those who have waited for long enough."""
        return [key for key in self._since_s if self.is_out_of_patience(key, now_s)]

    def share(self, stocks: int) -> int:
        """How many addresses of each of so many stocks are asked about: more, if Services wait."""
        return max(1, min(self._ahead + len(self._since_s), AT_MOST // max(1, stocks)))

    def ask(self, ahead: Mapping[tuple[str, Version], Spans]) -> bool:
        """These come next, by pool and family. Whether something else is to be asked than before: of one of them, not
        even half is known or asked about.
        """
        self.stale = False
        if not self._ahead:
            return False
        known = self._proven | self.asked
        if all(2 * (spans & known).size >= spans.size for spans in ahead.values()):
            return False
        before, self.asked = self.asked, Spans(chain(*ahead.values(), self._taken))
        return self.asked != before

    @property
    def _taken(self) -> list[Span]:
        """What other hosts have: it is asked about until it comes free."""
        return [Span(version, value, value) for version, value in self.used]
