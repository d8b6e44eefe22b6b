"""How long a suspect has, and how healthy we are ourselves: what Lifeguard (arXiv 1707.00788) adds to SWIM. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arpfast.gossip.timing import Timing


def least_s(timing: Timing, members: int) -> float:
    """How long a suspect has in any case, in a ring of so many."""
    scale = max(1.0, math.floor(1000 * math.log10(max(1, members))) / 1000)
    return timing.suspicion_mult * scale * timing.probe_interval_s


class Suspicion:
    """One member's time, which shrinks with every other member that suspects it independently."""

    def __init__(self, accuser: str, timing: Timing, members: int, now: float) -> None:
        """Begin. `members` are all that live, suspects and we ourselves included."""
        # With us and the suspect taken away, so many may confirm; nobody is waited for who can not be there.
        self._wanted = timing.confirmations if members - 2 >= timing.confirmations else 0
        self._least_s = least_s(timing, members)
        self._most_s = self._least_s * timing.suspicion_max_mult
        self._since = now
        self._accusers = {accuser}
        self.due = now + (self._most_s if self._wanted else self._least_s)
        """When the suspect is dead."""

    @property
    def confirmations(self) -> int:
        """How many suspect it besides the first."""
        return len(self._accusers) - 1

    def confirm(self, accuser: str) -> bool:
        """Another one suspects it; whether that was news, and not enough before."""
        if self.confirmations >= self._wanted or accuser in self._accusers:
            return False
        self._accusers.add(accuser)
        share = math.log(self.confirmations + 1) / math.log(self._wanted + 1)
        after_s = math.floor(1000 * (self._most_s - share * (self._most_s - self._least_s))) / 1000
        self.due = self._since + max(self._least_s, after_s)
        return True


class Awareness:
    """Our own health: 0 is good. Who is slow itself should not be quick to suspect others."""

    def __init__(self, timing: Timing) -> None:
        """In good health."""
        self._most = timing.awareness_max - 1
        self.score = 0

    def add(self, delta: int) -> None:
        """Worse by so much, or better."""
        self.score = max(0, min(self._most, self.score + delta))
