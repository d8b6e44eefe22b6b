"""Time for pure state machines: what is due when, and how fast frames may leave.

Nothing here reads a clock. Whoever drives it passes `now` in, in seconds of any monotonic clock, and sleeps until
`Agenda.next_deadline`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from arpfast.crossing import Message, MessageKind
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

Action = Callable[[float], None]
"""Called with `now`."""

QUEUED_S = 0.1
"""How much the responder's thread is given ahead of the pace. What waits here instead can still be called back."""


class Agenda:
    """Actions by the time they are due; one that lost its meaning finds that out itself when it runs."""

    def __init__(self) -> None:
        """Nothing is due."""
        self._heap: list[tuple[float, int, Action]] = []
        self._serial = count()

    def at(self, due: float, action: Action) -> None:
        """Have `action` run once, at `due` or the first `advance` after it."""
        heapq.heappush(self._heap, (due, next(self._serial), action))

    def next_deadline(self) -> float | None:
        """When `advance` has something to do next, or None: sleep until an event."""
        return self._heap[0][0] if self._heap else None

    def advance(self, now: float) -> None:
        """Run all that is due, in order of time; also what becomes due by that."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)


class Parcel:
    """One kind of frame for a set of addresses, as it waits to leave."""

    __slots__ = ("_at", "_spans", "_within", "ifindex", "kind", "live", "mac", "target", "then")

    def __init__(
        self,
        kind: MessageKind,
        ifindex: int,
        spans: Spans,
        *,
        live: Callable[[Spans], Spans],
        then: Action | None = None,
        target: int = 0,
        mac: bytes = b"",
    ) -> None:
        """`live` says which of some addresses it still holds for, asked when they leave; `then` is told when the last
        frame will have left.
        """
        self.kind, self.ifindex, self.live, self.then, self.target = kind, ifindex, live, then, target
        self.mac = mac
        self._spans, self._at, self._within = spans.spans, 0, 0

    def take(self, at_most: int) -> tuple[Spans, bool]:
        """The next addresses, not more than `at_most`, and whether these are the last."""
        taken: list[Span] = []
        while at_most > 0 and self._at < len(self._spans):
            span = self._spans[self._at]
            first = span.first + self._within
            last = min(span.last, first + at_most - 1)
            taken.append(Span(span.version, first, last))
            at_most -= last - first + 1
            if last == span.last:
                self._at, self._within = self._at + 1, 0
            else:
                self._within += last - first + 1
        return Spans(taken), self._at == len(self._spans)


class Outbox:
    """Paces parcels into messages for the thread, which paces the frames by the same rate.

    It models when the thread will have sent what it was given: a probe's answer can only be awaited from when the
    probe left.
    """

    def __init__(self, agenda: Agenda, rate_per_s: float) -> None:
        """`rate_per_s` is the thread's, as is what `set_rate` is told."""
        self.rate_per_s = rate_per_s
        self._agenda = agenda
        self._parcels: deque[Parcel] = deque()
        self._busy_until = 0.0
        self._wake_at: float | None = None
        self._leaving: deque[tuple[float, Action]] = deque()
        self._messages: list[Message] = []

    def set_rate(self, rate_per_s: float, now: float) -> None:
        """The thread sends at this rate from now on, also what it was given before."""
        slower, self.rate_per_s = self.rate_per_s / rate_per_s, rate_per_s
        self._busy_until = now + max(0.0, self._busy_until - now) * slower
        leaving, self._leaving = self._leaving, deque()
        for due, then in leaving:
            self._left_at(now + max(0.0, due - now) * slower, then)
        self._wake_at = None
        self._pump(now)

    def put(self, parcel: Parcel, now: float, *, urgent: bool = False) -> None:
        """Let it leave in its turn, or before all others."""
        (self._parcels.appendleft if urgent else self._parcels.append)(parcel)
        self._pump(now)

    def taken(self) -> list[Message]:
        """The messages to hand to the thread now; each is given once."""
        messages, self._messages = self._messages, []
        return messages

    def waiting(self) -> Iterator[Parcel]:
        """What has not left yet."""
        return iter(self._parcels)

    def _wake(self, now: float) -> None:
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
            self._pump(now)

    def _left_at(self, due: float, then: Action) -> None:
        self._leaving.append((due, then))
        self._agenda.at(due, self._left)

    def _left(self, now: float) -> None:
        while self._leaving and self._leaving[0][0] <= now:
            self._leaving.popleft()[1](now)

    def _pump(self, now: float) -> None:
        if self._wake_at is not None:
            return
        ahead = max(1, int(self.rate_per_s * QUEUED_S))
        while self._parcels:
            self._busy_until = max(self._busy_until, now)
            room = ahead - int((self._busy_until - now) * self.rate_per_s)
            if room <= 0:
                # Half empty before it is filled again: not a wake-up a frame.
                self._wake_at = max(self._busy_until - QUEUED_S / 2, now + 0.001)
                self._agenda.at(self._wake_at, self._wake)
                return
            parcel = self._parcels[0]
            spans, was_last = parcel.take(room)
            spans = parcel.live(spans)
            self._messages.extend(
                Message(parcel.kind, parcel.ifindex, span, parcel.target, parcel.mac) for span in spans
            )
            self._busy_until += spans.size / self.rate_per_s
            if was_last:
                self._parcels.popleft()
                if parcel.then is not None:
                    self._left_at(self._busy_until, parcel.then)
