"""The responder's thread, seen from Python: whether it makes its rounds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arpfast.responder import Responder

WITHIN_S = 2.0


async def makes_rounds(responder: Responder) -> bool:
    """Whether the thread looks up within WITHIN_S when it is rung for; one that hangs does not."""
    before = responder.beat()
    give_up_s = time.monotonic() + WITHIN_S
    while responder.beat() == before:
        if time.monotonic() > give_up_s:
            return False
        await asyncio.sleep(0.001)
    return True
