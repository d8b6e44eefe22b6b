"""Following one kind for as long as we live: `watching.py` with its socket and its clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cluster.refusal import ApiError
from cluster.watching import SILENCE_S, Changed, Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.client import Client

LIST_S = 60.0
"""How long a page of a list may take: a server that has just started takes its time."""

V = TypeVar("V")


class Log(Protocol):
    """What is asked of a logger: an event in a few fixed words, and its facts by name."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...


async def watch(client: Client, watching: Watching[Any, V], tell: Callable[[list[Changed[V]]], None], log: Log) -> None:
    """Follow until cancelled. `tell` hears of what changed, and once of what may be nothing when the first list is
    complete. Every failure is logged, with the verb and the resource, and tried again.
    """
    while True:
        try:
            wait_s = await _once(client, watching, tell, log)
        except (ApiError, OSError, ValueError) as error:
            wait_s = watching.failed(error, time.monotonic())
            if wait_s:
                log.warning("watch failed", resource=watching.kind.resource, error=str(error), again_s=round(wait_s, 1))
        await asyncio.sleep(wait_s)


async def _once(
    client: Client, watching: Watching[Any, V], tell: Callable[[list[Changed[V]]], None], log: Log
) -> float:
    """Ask for one page, or watch until that ends. How long to wait."""

    def told(changes: list[Changed[V]], *, was_complete: bool) -> None:
        for complaint in watching.complaints:
            log.warning("object not understood", object=complaint)
        watching.complaints.clear()
        if changes or was_complete is not watching.complete:
            tell(changes)

    request = watching.next_request()
    complete = watching.complete
    if request.verb == "list":
        body = await client.request("list", watching.kind, watching.namespace, query=request.query, timeout_s=LIST_S)
        told(watching.page(body), was_complete=complete)
        return 0.0
    async with client.stream(watching.kind, watching.namespace, query=request.query, silence_s=SILENCE_S) as chunks:
        watching.opened(time.monotonic())
        async for chunk in chunks:
            complete = watching.complete
            told(watching.feed(chunk), was_complete=complete)
    return watching.closed(time.monotonic())
