"""Events on Services and other objects: what a person who runs `kubectl describe` should read.

They are of the core's `v1`, since that of `events.k8s.io` takes no `lastTimestamp`, by which `kubectl describe` puts
them in order, and no `source`, by which it says who tells.

What was said of an object last is not said again for ten minutes; an object about which much is said has 25 Events, and
one more every five minutes, as with other controllers. They are told on the side: nothing waits for them, not even the
API server, which has the status that an Event is about to write and to pass on first; of a long queue the oldest are
dropped, and what the API server refuses is not tried again but counted. When that begins, the log says so.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Hashable  # noqa: TC003 (a NamedTuple reads it)
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from cluster import kinds
from cluster.refusal import ApiError

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.kinds import Kind
    from cluster.resources import Object
    from cluster.watch import Log

AGAIN_S = 600.0
BURST, REFILL_S = 25, 300.0
REMEMBERED, QUEUED = 16_384, 20_000
IN_FLIGHT = 4
LATER_S = 0.1
"""How long an Event waits: more than a Service does from its creation to the first answer for its address."""
NOTE_AT_MOST = 1024
"""As the API server has it."""

Type = Literal["Normal", "Warning"]


class Admission:
    """Which Events are worth telling. Pure: time is an argument, in seconds."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def admit(self, uid: str, what: Hashable, now: float) -> bool:
        """Whether to say `what` of the object `uid` now; if so, it counts as said."""
        known = self._known.get(uid) or _Known(None, now, float(BURST))
        if known.last == what and now - known.said_s < AGAIN_S:
            return False
        left = min(float(BURST), known.left + (now - known.said_s) / REFILL_S)
        if left < 1:
            return False
        self._known[uid] = _Known(what, now, left - 1)
        self._known.move_to_end(uid)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True


class _Known(NamedTuple):
    """What was said of an object last, when, and how many Events it had left then."""

    last: Hashable
    said_s: float
    left: float


class Event(NamedTuple):
    """One of them."""

    kind: Kind[Object]
    regarding: Object
    type: Type
    reason: str
    note: str
    at: datetime


def event_body(event: Event, name: str, controller: str, instance: str) -> bytes:
    """An Event as the API takes it; `name` is its own."""
    of = event.regarding.metadata
    note = event.note if len(event.note.encode()) <= NOTE_AT_MOST else _cut(event.note)
    second = event.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode(
        {
            "apiVersion": kinds.EVENT.api_version,
            "kind": kinds.EVENT.name,
            "metadata": {"name": name, "namespace": of.namespace or "default"},
            "eventTime": event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": second,
            "lastTimestamp": second,
            "count": 1,
            "source": {"component": controller},
            "reportingComponent": controller,
            "reportingInstance": instance,
            "action": event.reason,
            "reason": event.reason,
            "message": note,
            "type": event.type,
            "involvedObject": {
                "apiVersion": event.kind.api_version,
                "kind": event.kind.name,
                "namespace": of.namespace,
                "name": of.name,
                "uid": of.uid,
                "resourceVersion": of.resource_version,
            },
        }
    )


def _cut(note: str) -> str:
    return note.encode()[: NOTE_AT_MOST - 3].decode(errors="ignore") + "…"


class Events:
    """Tells them, while `run` runs."""

    def __init__(self, client: Client, *, controller: str, instance: str, log: Log) -> None:
        """`controller`: who says it, such as `metallb-speaker`; `instance`: the name of its Pod or node."""
        self._client, self._controller, self._instance, self._log = client, controller, instance, log
        self._admission = Admission()
        self._queue: deque[tuple[float, Event]] = deque(maxlen=QUEUED)
        """With when each is due."""
        self._news = asyncio.Semaphore(0)
        self._refused = False
        """The last one was."""
        self.told = self.withheld = self.lost = 0
        """Said; not worth saying again; dropped from a full queue, or refused."""

    def say(
        self, regarding: Object, type_: Type, reason: str, note: str, *, kind: Kind[Object] = kinds.SERVICE
    ) -> None:
        """Tell of an object, a Service if no other `kind` is said. Never waits."""
        now = time.monotonic()
        if not self._admission.admit(regarding.metadata.uid, (type_, reason, note), now):
            self.withheld += 1
            return
        if len(self._queue) == QUEUED:
            self.lost += 1
        else:
            self._news.release()
        self._queue.append((now + LATER_S, Event(kind, regarding, type_, reason, note, datetime.now(UTC))))

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._news.acquire()
            due_s, event = self._queue.popleft()
            await asyncio.sleep(due_s - time.monotonic())
            of = event.regarding.metadata
            name = f"{of.name[:230]}.{secrets.token_hex(8)}"
            body = event_body(event, name, self._controller, self._instance)
            try:
                await self._client.request("create", kinds.EVENT, of.namespace or "default", body=body)
            except (ApiError, OSError) as error:
                self.lost += 1
                log = self._log.debug if self._refused else self._log.warning
                self._refused = True
                log("event not told", of=str(event.regarding.key), reason=event.reason, error=str(error))
            else:
                self.told += 1
                self._refused = False
