"""Somebody else who writes the statuses of our Services, and when to put right what he wrote. Pure: time is given.

Another controller that believes a Service to be its own, such as MetalLB's with other pools, puts right what we write,
as we do what it writes: both as fast as the API server can, for ever. So a status that was ours and is another's, while
the Service asks for the same as before, is put right at once only a few times in a row, and then ever later. It is
forgotten when what we wrote has stood for a minute, or the Service asks for something else.

What another writes that will do as well, such as another address of the same pool, is kept and is no contention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec

from cluster.resources import ADDRESS_POOL, ALLOCATED_FROM, ALLOW_SHARED_IP, LOAD_BALANCER_IPS

if TYPE_CHECKING:
    from cluster.resources import Key, Service

AT_ONCE = 3
LEAST_S, MOST_S = 1.0, 60.0
CALM_S = 60.0


class Written(NamedTuple):
    """What we wrote, when, and what the Service asked for then; the Service's own words by their checksum."""

    asked: int
    told: int
    at_s: float


class Contest(NamedTuple):
    """A Service that another writes to as well."""

    asked: int
    rounds: int
    """How often in a row he has written over what was ours."""
    until_s: float
    """Until then it is left to him."""
    is_due: bool = True
    """Nobody has come back to it since."""


class Contending:
    """Nobody else is known at first."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._written: dict[Key, Written] = {}
        """In the last minute, in this order."""
        self._contests: dict[Key, Contest] = {}
        self.overwritten = 0
        """How often a status that was ours was another's soon after."""

    def wrote(self, service: Service, now_s: float) -> None:
        """What we told the API server to write is written, and the Service is this with it."""
        key = service.key
        self._written.pop(key, None)
        self._written[key] = Written(_asked(service), _told(service), now_s)
        while now_s - next(iter(self._written.values())).at_s > CALM_S:
            self.forget(next(iter(self._written)))

    def holds(self, service: Service, now_s: float) -> bool:
        """Whether the Service, whose status is not what it is to be, is left as it is for now."""
        key, asked = service.key, _asked(service)
        contest, written = self._contests.get(key), self._written.get(key)
        if contest is not None and (contest.asked != asked or now_s - contest.until_s > 2 * CALM_S):
            del self._contests[key]
            contest = None
        if contest is not None and now_s < contest.until_s:
            return True
        if written is None or written.asked != asked or written.told == _told(service):
            return False
        del self._written[key]
        if now_s - written.at_s > CALM_S:
            self._contests.pop(key, None)
            return False
        self.overwritten += 1
        rounds = 1 if contest is None else contest.rounds + 1
        wait_s = min(MOST_S, LEAST_S * 2.0 ** min(rounds - AT_ONCE - 1, 32)) if rounds > AT_ONCE else 0.0
        self._contests[key] = Contest(asked, rounds, now_s + wait_s, is_due=wait_s > 0)
        return wait_s > 0

    def forget(self, key: Key) -> None:
        """It is of no interest any more."""
        self._written.pop(key, None)
        self._contests.pop(key, None)

    @property
    def due_s(self) -> float | None:
        """When one is to be put right, by the same clock."""
        return min((each.until_s for each in self._contests.values() if each.is_due), default=None)

    def overdue(self, now_s: float) -> list[Key]:
        """Those that are to be put right now."""
        due = [key for key, each in self._contests.items() if each.is_due and each.until_s <= now_s]
        for key in due:
            self._contests[key] = self._contests[key]._replace(is_due=False)
        return due


def _asked(service: Service) -> int:
    """What it asks for; labels are not of it, since others write them for other reasons."""
    annotations = [service.annotation(name) for name in (ADDRESS_POOL, LOAD_BALANCER_IPS, ALLOW_SHARED_IP)]
    return crc32(msgspec.json.encode((service.spec, annotations)))


def _told(service: Service) -> int:
    """What it says that it has."""
    return crc32(msgspec.json.encode((service.status, service.metadata.annotations.get(ALLOCATED_FROM))))
