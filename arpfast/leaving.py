"""How who is told to stop leaves: in order, unless told a second time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def leave(orderly: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Hand over by `orderly`, until it is done or `stop` is set again."""
    stop.clear()
    leaving = asyncio.create_task(orderly)
    at_once = asyncio.create_task(stop.wait())
    await asyncio.wait((leaving, at_once), return_when=asyncio.FIRST_COMPLETED)
    for task in (leaving, at_once):
        task.cancel()
    await asyncio.gather(leaving, at_once, return_exceptions=True)
