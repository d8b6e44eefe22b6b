"""The news that wait to be told: each goes out a few times, the least told first, the newest first among those.

One thing is known of each topic (a member's name, or what the ring's user calls it): newer news replace older ones.
What is told is counted where it is taken, so a packet that takes some must be sent. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MISSES = 16
_SMALLEST = 20
"""No news worth telling are shorter: with less room, do not look."""


def transmissions(mult: int, members: int) -> int:
    """How often news are told in a ring of so many."""
    return mult * math.ceil(math.log10(members + 1))


class _News:
    __slots__ = ("done", "message", "stale", "told", "topic")

    def __init__(self, topic: str, message: bytes, done: Callable[[], None] | None) -> None:
        self.topic, self.message, self.done = topic, message, done
        self.told = 0
        self.stale = False


class Broadcasts:
    """A queue of news, at most `at_most` of them: beyond that, what was told most often is dropped."""

    def __init__(self, at_most: int) -> None:
        """Empty."""
        self._at_most = at_most
        self._by_topic: dict[str, _News] = {}
        self._tiers: list[deque[_News]] = []
        self._stale = 0
        self.dropped = 0
        """How many were dropped for want of room, since the start."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._by_topic)

    def put(self, topic: str, message: bytes, done: Callable[[], None] | None = None) -> None:
        """Tell this from now on, instead of what was said of the topic before.

        `done` is called when it has been told often enough, or was replaced.
        """
        self.forget(topic)
        news = self._by_topic[topic] = _News(topic, message, done)
        self._tier(0).append(news)
        if len(self._by_topic) > self._at_most:
            self.dropped += 1
            self.forget(next(news for tier in reversed(self._tiers) for news in tier if not news.stale).topic)

    def forget(self, topic: str) -> None:
        """Tell no more of this topic."""
        news = self._by_topic.pop(topic, None)
        if news is not None:
            news.stale = True
            self._stale += 1
            if self._stale > 2 * len(self._by_topic) + 64:
                self._tiers = [deque(each for each in tier if not each.stale) for tier in self._tiers]
                self._stale = 0
            if news.done is not None:
                news.done()

    def take(self, room: int, at_most: int, limit: int, extra: int) -> list[bytes]:
        """Messages of at most `room` bytes in all, each counted with `extra`, to be sent now.

        Each is told `limit` times in all.
        """
        taken: list[bytes] = []
        if not self._by_topic:
            return taken
        again: list[_News] = []
        for tier in self._tiers:
            misses = 0
            skipped: list[_News] = []
            while tier and len(taken) < at_most and room >= _SMALLEST and misses < _MISSES:
                news = tier.pop()
                if news.stale:
                    self._stale -= 1
                    continue
                if len(news.message) + extra > room:
                    misses += 1
                    skipped.append(news)
                    continue
                room -= len(news.message) + extra
                taken.append(news.message)
                again.append(news)
            tier.extend(reversed(skipped))
            if room < _SMALLEST or len(taken) >= at_most:
                break
        for news in again:
            news.told += 1
            if news.told < limit:
                self._tier(news.told).append(news)
            else:
                self.forget(news.topic)
        return taken

    def _tier(self, told: int) -> deque[_News]:
        while len(self._tiers) <= told:
            self._tiers.append(deque())
        return self._tiers[told]
