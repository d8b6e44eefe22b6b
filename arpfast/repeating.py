"""Announcing what we answer for: at once, again after 2 s, and slowly for ever. Pure.

RFC 5227 §2.3 has two announcements 2 s apart; RFC 4861 §7.2.6 at most three unsolicited advertisements, a second
apart or more. The refresh is for neighbours that no announcement reached: all addresses in turn, in even steps, each
of which wakes us once; a lone address costs one wake-up in the whole interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.crossing import MessageKind
from arpfast.probing import PROBED_AT_MOST

if TYPE_CHECKING:
    from arpfast.presence import Presence
    from arpfast.spans import Spans, Version

ANNOUNCE_INTERVAL_S = 2.0  # RFC 5227 §1.1
MAX_NEIGHBOR_ADVERTISEMENT = 3  # RFC 4861 §10
STEP_S = 1.0
"""Refreshes happen no more often than this; with many addresses each step takes more of them."""


class Repeating:
    """The announcements of one interface."""

    def __init__(self, presence: Presence) -> None:
        """Nothing to announce yet."""
        self._presence = presence
        self._rounds: dict[int, Spans] = {}
        """What is still to be repeated."""
        self._serial = 0
        self._refreshing = False
        self._cursor: tuple[Version, int] | None = None

    def announce(self, spans: Spans, now: float) -> None:
        """Announce `spans` now and the set number of times; replaces repetitions of the same addresses under way."""
        spans, _ = spans.parted(PROBED_AT_MOST)
        repeat = self._presence.office.settings.repeat
        if not spans or repeat <= 0:
            return
        for serial, others in list(self._rounds.items()):
            left = others - spans
            if left:
                self._rounds[serial] = left
            else:
                del self._rounds[serial]
        for version in (4, 6):
            of_version = spans.of_version(version)
            if of_version:
                self._serial += 1
                self._rounds[self._serial] = of_version
                times = repeat if version == 4 else min(repeat, MAX_NEIGHBOR_ADVERTISEMENT)
                self._round(self._serial, times, now)
        self.start_refreshing(now)

    def _round(self, serial: int, times: int, now: float) -> None:
        spans = self._rounds.get(serial)
        if spans is None or self._presence.gone:
            return

        def left(now: float) -> None:
            if times > 1:
                self._presence.office.agenda.at(
                    now + ANNOUNCE_INTERVAL_S, lambda now: self._round(serial, times - 1, now)
                )
            else:
                self._rounds.pop(serial, None)

        self._presence.send(MessageKind.ANNOUNCE, spans, now, live=self._live, then=left)

    def _live(self, spans: Spans) -> Spans:
        return spans & self._presence.answering

    def start_refreshing(self, now: float) -> None:
        """Refresh from now on, if the settings say so and there is anything to refresh."""
        refresh_s = self._presence.office.settings.refresh_s
        if refresh_s > 0 and not self._refreshing and self._presence.answering:
            self._refreshing = True
            self._presence.office.agenda.at(now + refresh_s, self._refresh)

    def _refresh(self, now: float) -> None:
        refresh_s = self._presence.office.settings.refresh_s
        answering = self._presence.answering
        if self._presence.gone or refresh_s <= 0 or not answering:
            self._refreshing = False
            return
        total = answering.size_of_spans_up_to(PROBED_AT_MOST)
        # Never more than a quarter of the pace, however many there are.
        refresh_s = max(refresh_s, 4 * total / self._presence.office.outbox.rate_per_s)
        a_step = max(1, -(-int(total * STEP_S) // int(max(refresh_s, 1))))
        due, self._cursor = answering.window(self._cursor, a_step, largest=PROBED_AT_MOST)
        for others in self._rounds.values():
            due -= others
        self._presence.send(MessageKind.ANNOUNCE, due, now, live=self._live)
        steps = max(1, -(-total // a_step))
        self._presence.office.agenda.at(now + refresh_s / steps, self._refresh)
