"""What the API server is to be told: the latest wish for each object, a few requests at once, again until it is done.

A wish replaces the one before for the same key, also while that waits to be tried again; so a server that is slow or
gone is owed one request for each object, not one for each change. There is never more than one request about a key
under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from cluster.backoff import Backoff
from cluster.refusal import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from cluster.watch import Log

K = TypeVar("K", bound="Hashable")
W = TypeVar("W")

IN_FLIGHT = 32


class Errands(Generic[K, W]):
    """Wishes by key, carried out while `run` runs."""

    def __init__(
        self,
        do: Callable[[K, W], Awaitable[None]],
        *,
        log: Log,
        what: str,
        in_flight: int = IN_FLIGHT,
        every_s: float = 0.0,
    ) -> None:
        """`do` carries a wish out; whatever ApiError or OSError it raises, it is called again for the latest wish.
        `what` it is, for the log. At most `in_flight` at once, and each key at most once in `every_s`.
        """
        self._do, self._log, self._what = do, log, what
        self._in_flight, self._every_s = in_flight, every_s
        self._wishes: dict[K, W] = {}
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._held: dict[K, asyncio.TimerHandle | None] = {}
        """Keys that are ready or under way (None), or rest."""
        self._backoffs: dict[K, Backoff] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.done = self.failures = 0

    def __len__(self) -> int:
        """How many keys are not done with."""
        return len(self._wishes)

    def __contains__(self, key: object) -> bool:
        """Whether something is wished for a key that is not done yet."""
        return key in self._wishes

    def want(self, key: K, wish: W) -> None:
        """Have this done, instead of what was wished for this key before. Never waits."""
        self._wishes[key] = wish
        self._idle.clear()
        if key not in self._held:
            self._held[key] = None
            self._ready.put_nowait(key)

    def drop(self, key: K) -> None:
        """Forget what was wished for a key, unless it is under way."""
        self._wishes.pop(key, None)
        self._backoffs.pop(key, None)

    async def wait_idle(self) -> None:
        """Until all is done."""
        await self._idle.wait()

    async def run(self) -> None:
        """Carry out until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._in_flight):
                    tasks.create_task(self._work())
        finally:
            for timer in self._held.values():
                if timer is not None:
                    timer.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            rest_s = await self._carry_out(key) if key in self._wishes else 0.0
            if rest_s:
                self._held[key] = asyncio.get_running_loop().call_later(rest_s, self._rested, key)
            else:
                self._rested(key)

    async def _carry_out(self, key: K) -> float:
        """Do what is wished for a key now. How long it is to rest."""
        wish = self._wishes[key]
        try:
            await self._do(key, wish)
        except (ApiError, OSError) as error:
            self.failures += 1
            asked_s = error.retry_after_s if isinstance(error, ApiError) else 0.0
            rest_s = self._backoffs.setdefault(key, Backoff()).failed(asked_s)
            self._log.warning(f"{self._what} failed", of=str(key), error=str(error), again_s=round(rest_s, 1))
            return max(rest_s, self._every_s)
        self.done += 1
        self._backoffs.pop(key, None)
        if self._wishes.get(key) is wish:
            del self._wishes[key]
            if not self._wishes:
                self._idle.set()
        return self._every_s

    def _rested(self, key: K) -> None:
        if key in self._wishes:
            self._held[key] = None
            self._ready.put_nowait(key)
        else:
            self._held.pop(key, None)
            self._backoffs.pop(key, None)
            if not self._wishes:
                self._idle.set()
