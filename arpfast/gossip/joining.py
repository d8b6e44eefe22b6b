"""Configured members that are not there are joined, for ever: a ring that fell apart, or starts, comes together.

Each target has a task that looks whether one of its addresses is a living member (or ourselves), and exchanges views
with it if not: soon at first, then with a growing pause. What was joined by another address than it advertises is not
to be seen among the members; it is asked again now and then only.
"""

from __future__ import annotations

import asyncio
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

from arpfast.gossip.endpoints import Target, family_of, is_local, parse_target, resolve
from arpfast.gossip.messages import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from arpfast.gossip.dialling import Dialler
    from arpfast.gossip.members import Endpoint
    from arpfast.gossip.protocol import Protocol
    from arpfast.gossip.timing import Timing

AT_ONCE = 8
ELSEWHERE_S = 60.0


class Missing(msgspec.Struct, frozen=True):
    """A configured member that is not there, and why it could not be joined."""

    target: str
    why: str
    refused: bool = False
    """Somebody is there, and we do not understand each other: another secret, another ring, another protocol."""


class Joiner:
    """Keeps the configured targets in the ring."""

    def __init__(
        self,
        protocol: Protocol,
        dialler: Dialler,
        timing: Timing,
        bound: Endpoint,
        random: Random,
        refused: Callable[[str, str], None],
    ) -> None:
        """We are bound to `bound`, whose port is that of targets which say none. `refused` is told whom we cannot
        understand, when that is news.
        """
        self._protocol, self._dialler, self._timing, self._refused = protocol, dialler, timing, refused
        self._bound, self._random = bound, random
        self._family = family_of(bound[0])
        self._bound_to_any = ip_address(bound[0]).is_unspecified
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._missing: dict[Target, Missing] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def want(self, join: Iterable[str]) -> None:
        """Replace the targets. Raises ValueError, and changes nothing then."""
        targets = {parse_target(text, self._bound[1]) for text in join}
        for target in self._tasks.keys() - targets:
            self._tasks.pop(target).cancel()
            self._missing.pop(target, None)
        for target in targets - self._tasks.keys():
            task = self._tasks[target] = asyncio.create_task(self._keep(target))
            task.add_done_callback(_report)

    def missing(self) -> tuple[Missing, ...]:
        """Which targets are not there, as far as is known."""
        return tuple(missing for _, missing in sorted(self._missing.items()))

    async def close(self) -> None:
        """Join no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, target: Target) -> None:
        pause_s = self._timing.rejoin_s
        endpoints: list[Endpoint] = []
        while True:
            if self._is_there(endpoints):
                self._missing.pop(target, None)
                pause_s = self._timing.rejoin_s
                await asyncio.sleep(self._timing.rejoin_max_s)
                continue
            try:
                async with self._at_once:
                    endpoints = await resolve(target, self._family)
                    if not self._is_there(endpoints):
                        await self._join(endpoints)
            except (OSError, TimeoutError, WireError) as error:
                self._protocol.counts.joins_failed += 1
                missing = Missing(str(target), _told(error), isinstance(error, WireError))
                before, self._missing[target] = self._missing.get(target), missing
                if missing.refused and missing != before:
                    self._refused(missing.target, missing.why)
                most_s = self._timing.rejoin_max_s
            else:
                self._missing.pop(target, None)
                if self._is_there(endpoints):
                    continue
                most_s = max(ELSEWHERE_S, self._timing.rejoin_max_s)
            await asyncio.sleep(pause_s * (0.75 + self._random.random() / 2))
            pause_s = min(2 * pause_s, most_s)

    async def _join(self, endpoints: list[Endpoint]) -> None:
        failed: OSError | TimeoutError | WireError | None = None
        for endpoint in endpoints:
            try:
                await self._dialler.exchange(endpoint, join=True)
            except (OSError, TimeoutError, WireError) as error:
                failed = error
            else:
                return
        raise failed or OSError("expected an address behind the name, there is none")

    def _is_there(self, endpoints: list[Endpoint]) -> bool:
        return any(self._protocol.is_living(endpoint) or self._is_me(endpoint) for endpoint in endpoints)

    def _is_me(self, endpoint: Endpoint) -> bool:
        if self._bound_to_any:
            return endpoint[1] == self._bound[1] and is_local(endpoint[0])
        return endpoint == self._bound


def _told(error: OSError | TimeoutError | WireError) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # the event loop has words of its own for it
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        message = {"message": "joining a member", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(message)
