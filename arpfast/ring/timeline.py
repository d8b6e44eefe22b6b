"""What happened to the ring and its addresses, with times: the last few thousand events, for `arpfast timeline`.

Kept in memory only; the log has the same for good.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arpfast.spans import Version

KEPT = 4096
SPANS_TOLD = 4


class Moment(msgspec.Struct, frozen=True):
    """One event."""

    unix_s: float
    event: str
    member: str
    spans: Spans
    why: str


class TimelineEntry(msgspec.Struct, frozen=True):
    """One event, ready for JSON."""

    unix_s: float
    event: str
    member: str
    addresses: str
    """A few of them, and how many more."""
    count: int
    why: str


def told(spans: Spans) -> str:
    """Some addresses, in a line."""
    shown = ", ".join(str(span) for span in spans.spans[:SPANS_TOLD])
    more = spans.size - sum(span.size for span in spans.spans[:SPANS_TOLD])
    return f"{shown} and {more} more" if more else shown


class Timeline:
    """The last events."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._moments: deque[Moment] = deque(maxlen=KEPT)

    def note(self, unix_s: float, event: str, *, member: str = "", spans: Spans = NOTHING, why: str = "") -> None:
        """Something happened."""
        self._moments.append(Moment(unix_s, event, member, spans, why))

    def of(self, address: tuple[Version, int] | None = None) -> Iterator[TimelineEntry]:
        """All events in order; with an address, those about it and those about members as such."""
        for moment in self._moments:
            if address is None or not moment.spans or moment.spans.find(*address):
                yield TimelineEntry(
                    moment.unix_s, moment.event, moment.member, told(moment.spans), moment.spans.size, moment.why
                )
