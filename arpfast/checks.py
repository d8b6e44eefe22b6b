"""The checks of all address groups, made again and again: which addresses this host had better not hold just now.

Level, not edge: `want` replaces the list of checks. One that asks the same as before keeps its state, whatever else
has changed in it; only those that are new begin with nothing known. The first attempts come within a quarter of a
second, spread, the others at their interval give or take a tenth, so that many never fire together; at most
SLOTS run at a time, and an attempt that came late because of that is counted. An attempt is bounded by its own
timeout, so a slot is, too.

An address fails as long as any of its checks does. What is unknown does not fail: it is `undecided`, and whoever has a
choice waits for that. What to do when all hosts fail is not decided here.

Runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from arpfast.attempts import attempt
from arpfast.health import Health, State
from arpfast.inspection import Event
from arpfast.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.health import Check
    from arpfast.spans import Version

    Key = tuple[object, ...]

SLOTS = 16
SPREAD_S = 0.25
JITTER = 0.1


class CheckExplanation(msgspec.Struct, frozen=True):
    """One check, as `explain` tells it."""

    check: str
    state: State
    since_unix_s: float
    attempts: int
    failures: int
    against: int
    """Answers in a row that contradict the state."""
    took_ms: float | None = None
    """How long the last attempt took; None before the first."""
    last_failure: str = ""
    """Why the last attempt that failed did; empty if none has."""
    last_failure_unix_s: float | None = None


class ChecksStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and how many checks are in which state."""

    unknown: int = 0
    passing: int = 0
    failing: int = 0
    attempts: int = 0
    failures: int = 0
    """Attempts that failed."""
    changes: int = 0
    """Times a check that was known changed to the contrary."""
    late: int = 0
    """Attempts that had to wait for a slot for longer than their interval."""


class _Watched:
    """One check under way."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.health = Health(time.time())
        self.attempts = self.failures = 0
        self.took_ms: float | None = None
        self.last_failure = ""
        self.last_failure_unix_s: float | None = None
        self.task: asyncio.Task[None] | None = None

    def explain(self) -> CheckExplanation:
        return CheckExplanation(
            str(self.check),
            self.health.state,
            self.health.since_s,
            self.attempts,
            self.failures,
            self.health.against,
            self.took_ms,
            self.last_failure,
            self.last_failure_unix_s,
        )


class Checks:
    """Makes the checks that are wanted for as long as `run` runs."""

    def __init__(
        self, checks: Iterable[Check], changed: Callable[[], None], report: Callable[[Event], None] = lambda _: None
    ) -> None:
        """Have `changed` called whenever `failing` or `undecided` have become other than they were."""
        self._changed = changed
        self._report = report
        self._watched: dict[Key, _Watched] = {}
        self._group: asyncio.TaskGroup | None = None
        self._slots = asyncio.Semaphore(SLOTS)
        self._random = SystemRandom()
        self._counts: Counter[str] = Counter()
        self._replace(checks)
        self._told = (self.failing(), self.undecided())

    def want(self, checks: Iterable[Check]) -> None:
        """Replace the list of checks. Neither blocks nor fails."""
        self._replace(checks)
        self._start()
        self._tell()

    def _replace(self, checks: Iterable[Check]) -> None:
        before, self._watched = self._watched, {}
        for key, check in _keyed(checks).items():
            watched = before.pop(key, None)
            if watched is None:
                self._watched[key] = _Watched(check)
                continue
            self._watched[key] = watched
            old, watched.check = watched.check, check
            if (old.interval_s, old.timeout_s) != (check.interval_s, check.timeout_s) and watched.task is not None:
                watched.task.cancel()
                watched.task = None
        for watched in before.values():
            if watched.task is not None:
                watched.task.cancel()

    async def run(self) -> None:
        """Make the checks until cancelled; then programs that are under way are killed."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._start()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                for watched in self._watched.values():
                    if watched.task is not None:
                        watched.task.cancel()
                        watched.task = None

    def failing(self) -> Spans:
        """The addresses of which a check fails."""
        return self._in(State.FAILING)

    def undecided(self) -> Spans:
        """The addresses of which a check has not been answered yet, and none fails."""
        return self._in(State.UNKNOWN) - self.failing()

    def statistics(self) -> ChecksStatistics:
        """Counts since the start, those of checks that are wanted no more included."""
        states = Counter(watched.health.state.value for watched in self._watched.values())
        return ChecksStatistics(**states, **self._counts)

    def explain(self, version: Version, value: int) -> tuple[CheckExplanation, ...]:
        """The checks that the address depends on."""
        return tuple(
            watched.explain() for watched in self._watched.values() if watched.check.addresses.find(version, value)
        )

    def _in(self, state: State) -> Spans:
        found = (watched.check.addresses for watched in self._watched.values() if watched.health.state is state)
        return Spans(span for spans in found for span in spans)

    def _tell(self) -> None:
        now = (self.failing(), self.undecided())
        if now != self._told:
            self._told = now
            self._changed()

    def _start(self) -> None:
        if self._group is None:
            return
        for watched in self._watched.values():
            if watched.task is None:
                watched.task = self._group.create_task(self._follow(watched))

    async def _follow(self, watched: _Watched) -> None:
        clock = asyncio.get_running_loop().time
        interval_s = watched.check.interval_s
        due_s = clock() + self._random.uniform(0, min(interval_s, SPREAD_S))
        while True:
            await asyncio.sleep(due_s - clock())
            async with self._slots:
                begun_s = clock()
                self._counts["late"] += begun_s - due_s > interval_s
                failure = await attempt(watched.check)
            ended_s = clock()
            watched.took_ms = round((ended_s - begun_s) * 1000, 2)
            self._take(watched, failure)
            due_s = max(due_s + interval_s * self._random.uniform(1 - JITTER, 1 + JITTER), ended_s)

    def _take(self, watched: _Watched, failure: str) -> None:
        now = time.time()
        self._counts["attempts"] += 1
        watched.attempts += 1
        if failure:
            self._counts["failures"] += 1
            watched.failures += 1
            watched.last_failure, watched.last_failure_unix_s = failure, now
        known = watched.health.state is not State.UNKNOWN
        if not watched.health.take(not failure, watched.check, now):
            return
        self._counts["changes"] += known
        if failure:
            self._report(Event("warning", "check fails", {"check": str(watched.check), "why": failure}))
        elif known:
            self._report(Event("info", "check passes again", {"check": str(watched.check)}))
        self._tell()


def _keyed(checks: Iterable[Check]) -> dict[Key, Check]:
    """Checks by what they ask; the second one that asks the same has a key of its own."""
    seen: Counter[Key] = Counter()
    keyed: dict[Key, Check] = {}
    for check in checks:
        asks: Key = (check.http, check.tcp, check.command, check.host, check.verify)
        keyed[*asks, seen[asks]] = check
        seen[asks] += 1
    return keyed
