"""The operator's own commands, told of every change: the event as one line of JSON on standard input.

One after the other, in the order of the events, and for each event in the order of the list, so that the last command
to run has seen the last state. Nothing ever waits for them: `put` only queues; when a command hangs, its time limit
ends it, and what exceeds the queue meanwhile is dropped, oldest first, and counted. A command that fails is told of and
not repeated: the next event says what is true by then.

They run as the user that the daemon has become, without its capabilities, and under what confines it (the systemd unit
has a read-only file system, for one): a command that needs more asks a service that has more. See `commands` for what
they find.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast import commands
from arpfast.inspection import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arpfast.config import Hook

QUEUED_AT_MOST = 1000


class HooksStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and what is under way."""

    queued: int = 0
    """Events that wait."""
    running: str = ""
    """The program that runs just now."""
    run: int = 0
    """Commands that have ended, in whatever way."""
    failed: int = 0
    """Of these: that could not be started, or ended with another status than 0, or took too long."""
    timed_out: int = 0
    """Of these: that took too long."""
    dropped: int = 0
    """Events that were dropped since too many waited."""


class Hooks:
    """Runs the commands that are wanted for as long as `run` runs."""

    def __init__(self, hooks: Iterable[Hook], report: Callable[[Event], None] = lambda _: None) -> None:
        """Nothing to tell yet."""
        self._hooks = tuple(hooks)
        self._report = report
        self._events: deque[bytes] = deque()
        self._running = ""
        self._counts: Counter[str] = Counter()
        self._overflowing = False
        self._put = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def want(self, hooks: Iterable[Hook]) -> None:
        """Replace the list of commands, for the next event on. Neither blocks nor fails."""
        self._hooks = tuple(hooks)

    def put(self, event: Mapping[str, Any]) -> None:
        """Have the commands told of an event, which must be fit for JSON. Neither blocks nor fails."""
        if not self._hooks:
            return
        if len(self._events) >= QUEUED_AT_MOST:
            self._events.popleft()
            self._counts["dropped"] += 1
            if not self._overflowing:
                self._overflowing = True
                fields: dict[str, str | int | float] = {"waiting": len(self._events), "running": self._running}
                self._report(Event("warning", "on_change commands are too slow, events are dropped", fields))
        self._events.append(msgspec.json.encode(event) + b"\n")
        self._idle.clear()
        self._put.set()

    async def run(self) -> None:
        """Run commands until cancelled; then the one that is under way is killed."""
        while True:
            await self._put.wait()
            while self._events:
                event = self._events.popleft()
                for hook in self._hooks:
                    await self._tell(hook, event)
            self._put.clear()
            self._overflowing = False
            self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything put so far has been told, but no longer than this; whether it has."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> HooksStatistics:
        """Counts since the start."""
        return HooksStatistics(queued=len(self._events), running=self._running, **self._counts)

    async def _tell(self, hook: Hook, event: bytes) -> None:
        self._running = hook.command[0]
        try:
            ended = await commands.run(hook.command, hook.timeout_s, event)
            well, how = ended.well, str(ended)
            self._counts["timed_out"] += ended.limit_s is not None
        except OSError as error:
            well, how = False, f"cannot be run: {(error.strerror or str(error)).lower()}"
        finally:
            self._running = ""
        self._counts["run"] += 1
        self._counts["failed"] += not well
        # Only the program: its arguments may be confidential
        told: dict[str, str | int | float] = {"command": hook.command[0], "how": how}
        if well:
            self._report(Event("debug", "on_change command done", told))
        else:
            self._report(Event("warning", "on_change command failed", told))
