"""Asking the speakers whether addresses are nobody's, and hearing what they say: annotations, written and watched.

What is asked is one annotation of the ConfigurationState `controller`, rewritten when half of it is known or used up.
What each speaker has found out is one of its own ConfigurationState, which goes with its Pod: who is not there any more
says nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cluster import kinds
from cluster.client import MERGE_PATCH, ApiError
from cluster.configuration_state import CONTROLLER
from cluster.errands import Errands
from cluster.probes import PROBED, candidates_patch, probed
from cluster.watch import watch
from cluster.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from arpfast.spans import Spans
    from cluster.client import Client
    from cluster.probes import Said
    from cluster.resources import Object
    from cluster.watch import Log
    from cluster.watching import Changed

SPEAKERS = "metallb.io/component-type=speaker"
EVERY_S = 0.2


class Asking:
    """While `run` runs."""

    def __init__(self, client: Client, found: Callable[[list[Said]], None] | None, *, namespace: str, log: Log) -> None:
        """`found` is called with what all speakers say, whenever one says something else; None: nobody is heard."""
        self._client, self._found, self._namespace, self._log = client, found, namespace, log
        self.errands: Errands[str, Spans] = Errands(
            self._write, log=log, what="asking about addresses", in_flight=1, every_s=EVERY_S
        )
        self._speakers = Watching(kinds.CONFIGURATION_STATE, _said, namespace=namespace, labels=SPEAKERS)

    def want(self, candidates: Spans) -> None:
        """Ask about these, in the place of what was asked before."""
        self.errands.want(CONTROLLER.name, candidates)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.errands.run())
            if self._found is not None:
                tasks.create_task(watch(self._client, self._speakers, self._seen, self._log))

    def _seen(self, _changes: list[Changed[Said]]) -> None:
        if self._found is not None:
            self._found(list(self._speakers.objects.values()))

    async def _write(self, name: str, candidates: Spans) -> None:
        body = candidates_patch(candidates)
        try:
            await self._client.request(
                "patch", kinds.CONFIGURATION_STATE, self._namespace, name, body=body, content_type=MERGE_PATCH
            )
        except ApiError as error:
            if candidates or not error.absent:  # else nothing is asked, as it should be
                raise


def _said(found: Object) -> Said | None:
    """What is remembered of a speaker's: nothing, if it has never probed."""
    return probed(found) if PROBED in found.metadata.annotations else None
