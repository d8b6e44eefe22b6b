"""What two members take from each other again and again, since each believes that it was given it. Pure.

Members that know the same elect the same, and epochs settle the rest. But they need not know the same for long: one may
be cut off from what it is told by, and not from the ring. Whoever claims last then has the address; who loses it twice
leaves it to the other for a while, each time for longer, until what it knows of the address changes, or until the
other says that it would hand over: who does that, and has waited a moment in vain, cedes.
"""

from __future__ import annotations

from arpfast.spans import NOTHING, Spans

PATIENCE_S, PATIENCE_AT_MOST_S = 1.0, 64.0
CALM_S = 300.0
"""After so long without a loss, all is forgotten."""
CEDE_S = 0.5
"""To hand over takes a few milliseconds."""


class Contest:
    """What was lost to others here though it was ours by election, and how often."""

    def __init__(self) -> None:
        """Nothing was."""
        self._lost: dict[int, Spans] = {}
        """By how often."""
        self._until: dict[float, Spans] = {}
        self._latest_s = float("-inf")
        self._handing = NOTHING
        self._handing_s = 0.0

    def lost(self, spans: Spans, now: float) -> None:
        """Another member has claimed these by better right."""
        if not spans:
            return
        if now - self._latest_s > CALM_S:
            self._lost.clear()
        self._latest_s = now
        rest = spans
        for times in sorted(self._lost, reverse=True):
            if again := rest & self._lost[times]:
                rest -= again
                self._lost[times] -= again
                self._lost[times + 1] = self._lost.get(times + 1, NOTHING) | again
                until_s = now + min(PATIENCE_S * 2 ** (times - 1), PATIENCE_AT_MOST_S)
                self._until[until_s] = self._until.get(until_s, NOTHING) | again
        self._lost[1] = self._lost.get(1, NOTHING) | rest

    def forget(self, spans: Spans) -> None:
        """Something new is known of these."""
        if spans and (self._lost or self._until):
            self._lost = {times: left for times, had in self._lost.items() if (left := had - spans)}
            self._until = {until_s: left for until_s, had in self._until.items() if (left := had - spans)}

    def ceded(self, handing: Spans, now: float) -> Spans:
        """Of what is to be handed over: what nobody has taken for some time."""
        if not handing or not self._handing:
            self._handing_s = now
        self._handing = handing
        return handing if now - self._handing_s >= CEDE_S else NOTHING

    def left(self, now: float) -> Spans:
        """What is left to who has it."""
        self._until = {until_s: spans for until_s, spans in self._until.items() if until_s > now}
        return Spans(span for spans in self._until.values() for span in spans) if self._until else NOTHING

    def next_deadline(self, now: float) -> float | None:
        """When some of this changes by itself."""
        dues = [until_s for until_s in self._until if until_s > now]
        if self._handing and now - self._handing_s < CEDE_S:
            dues.append(self._handing_s + CEDE_S)
        return min(dues, default=None)
