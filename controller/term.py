"""One term of leading: what is decided in it, and what the API server is told.

Nothing of a term outlives it. Who leads again begins with what the API server says then, so whatever another leader
did meanwhile is known; and what this one still wanted to write is not written, since each request asks first whether we
lead still, and may not take longer than that.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from arpfast.spans import NOTHING, address_of
from cluster import kinds
from cluster.client import NAME, REQUEST_S, Client
from cluster.errands import Errands
from cluster.lease import clock_s
from cluster.resources import Key
from cluster.status import Assigned, PoolCounts, PoolStatuses, Statuses, read_overwriter
from controller.allocator import Allocator
from controller.asking import Asking
from controller.outcome import Note
from controller.reconciling import Reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from arpfast.logs import Logger
    from arpfast.spans import Address, Spans
    from cluster.events import Events
    from cluster.kinds import Kind
    from cluster.lease import Tenure
    from cluster.probes import Said
    from cluster.resources import Service
    from cluster.world import Change, World
    from controller.outcome import Assignment
    from controller.settings import Settings


TELL_EVERY_S = 10.0


class Fenced(Client):
    """The API server, for as long as we lead."""

    def __init__(self, client: Client, tenure: Tenure) -> None:
        """Ask `client`; it stays its maker's to close."""
        super().__init__(None)
        self._client, self._tenure = client, tenure

    async def request(
        self, verb: str, kind: Kind[Any], *where: str, timeout_s: float = REQUEST_S, **said: Any
    ) -> bytes:
        """As `Client` does. ConnectionError, if we don't lead."""
        left_s = self._tenure.until_s - clock_s()
        if left_s <= 0:
            raise ConnectionError(f"{verb} {kind.resource}: not leading any more")
        return await self._client.request(verb, kind, *where, timeout_s=min(timeout_s, left_s), **said)

    @asynccontextmanager
    async def stream(self, kind: Kind[Any], namespace: str = "", **said: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """As `Client` does: whoever watches changes nothing."""
        async with self._client.stream(kind, namespace, **said) as chunks:
            yield chunks


class Term:
    """From `take`, which is told everything at first, while `run` runs."""

    def __init__(
        self,
        client: Client,
        tenure: Tenure,
        settings: Settings,
        events: Events,
        log: Logger,
        took: Callable[[float], None],
    ) -> None:
        """Nothing is known yet."""
        fenced = Fenced(client, tenure)
        self._events, self._log, self._namespace = events, log, settings.namespace
        self._news: tuple[World, Change] | None = None
        self._told = asyncio.Event()
        allocator = partial(
            Allocator, cool_down_s=settings.cool_down_s, balanced=settings.balance_pools, ahead=settings.probe_ahead
        )
        self.reconciling = Reconciling(allocator, self, took=took)
        self.statuses = Statuses(fenced, written=self._written, stale=self._stale, log=log)
        self._fenced = fenced
        self._contests: Errands[Key, Service] = Errands(
            self._find_out, log=log, what="reading who writes a service's status", in_flight=1, every_s=TELL_EVERY_S
        )
        found = self._found if settings.probe_ahead else None
        self.asking = Asking(fenced, found, namespace=settings.namespace, log=log)
        if not settings.probe_ahead:
            self.asking.want(NOTHING)
        self.pool_statuses = PoolStatuses(fenced, namespace=settings.namespace, log=log)

    def take(self, world: World, change: Change) -> None:
        """The cluster is this now. Never waits."""
        self._news = world, (self._news[1] | change if self._news else change)
        self._told.set()

    async def run(self) -> None:
        """Decide, and tell the API server what is decided, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.statuses.run())
            tasks.create_task(self.pool_statuses.run())
            tasks.create_task(self.asking.run())
            tasks.create_task(self._contests.run())
            tasks.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = self.reconciling.due_s
            hurry = None if due_s is None else loop.call_later(max(0.0, due_s - time.monotonic()), self._told.set)
            await self._told.wait()
            self._told.clear()
            if hurry is not None:
                hurry.cancel()
            news, self._news = self._news, None
            if news is not None:
                for _ in self.reconciling.take(*news):
                    await asyncio.sleep(0)  # the Lease's turn, and the health check's
            if due_s is not None and time.monotonic() >= due_s:
                self.reconciling.hurry()

    def _written(self, service: Service) -> None:
        self.reconciling.written(service)
        self._wake_in_time()

    def _stale(self, key: Key, service: Service | None) -> None:
        self.reconciling.stale(key, service)
        self._wake_in_time()

    def _wake_in_time(self) -> None:
        """Something may be due sooner than it was."""
        if self.reconciling.due_s is not None:
            self._told.set()

    async def _find_out(self, key: Key, service: Service) -> None:
        """Who the other is that writes to a Service; tell of him."""
        who = await read_overwriter(self._fenced, key) or "somebody"
        who = f"another controller of {NAME}" if who == NAME else who
        said = f"{who} writes over its addresses or their pool again and again, and ours are put back ever later"
        class_ = service.spec.load_balancer_class
        whose = f"of loadBalancerClass {class_}" if class_ else "without a loadBalancerClass"
        self.say(service, Note("Warning", "StatusOverwritten", f"{said}: expected one controller for Services {whose}"))

    def _found(self, said: list[Said]) -> None:
        """The speakers have found this out."""
        before = self.reconciling.allocator.proving.used
        self.reconciling.found(said)
        used = self.reconciling.allocator.proving.used
        for key in sorted(used.keys() - before.keys()):
            self._say_used(address_of(*key), used[key])
        for key in sorted(before.keys() - used.keys()):
            self._log.info("address no longer in use by another host", address=str(address_of(*key)))
        self._told.set()

    def _say_used(self, address: Address, mac: str) -> None:
        """By an Event of the pool, and in the log."""
        self._log.warning("address in use by another host: not given", address=str(address), mac=mac)
        pool = self.reconciling.allocator.inventory.pool_of([address])
        if pool is not None:
            key = Key(self._namespace, pool)
            note = f"{address} is not given, as another host has it: {mac}"
            self._events.say(self.pool_statuses.about(key), "Warning", "AddressInUse", note, kind=kinds.ADDRESS_POOL)

    # -- what is told (`reconciling.Telling`) ------------------------------------------------------------------------

    def write(self, service: Service, assignment: Assignment | None) -> None:
        """By a patch of its status, until it is done."""
        if assignment is None:
            self.statuses.want(Assigned(service, (), ""))
        else:
            self.statuses.want(Assigned(service, tuple(map(str, assignment.addresses)), assignment.pool))

    def withdraw(self, key: Key) -> None:
        """Unless it is under way."""
        self.statuses.errands.drop(key)

    def count(self, pool: str, counts: PoolCounts) -> None:
        """By a patch of its status, one a second at most."""
        self.pool_statuses.want(Key(self._namespace, pool), counts)

    def contend(self, service: Service) -> None:
        """By an Event that names him."""
        self._contests.want(service.key, service)

    def ask(self, candidates: Spans) -> None:
        """By an annotation of our ConfigurationState."""
        self.asking.want(candidates)

    def say(self, service: Service, note: Note) -> None:
        """By an Event, and in the log."""
        self._events.say(service, note.type, note.reason, note.message)
        log = self._log.info if note.type == "Normal" else self._log.warning
        log(note.message, service=str(service.key), reason=note.reason)
