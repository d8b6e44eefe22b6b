"""From what the cluster is to what is told to it: one Service's change costs one decision.

    World, Change --> Allocator --> Telling: status patches, Events, how full the pools are
                          ^            |
                          '-- written, stale: a Service as the API server has it now

Of Services that come together, all adopt first what their status says, so that nobody gets what another has. Then
those decide whose pool has changed, then those that wait for what came free, then those that are new, the oldest first.

The watch may lag behind our own writes. Until it tells of a Service a version as late as the one that the API server
answered with, that answer is what is decided upon. If it tells of a version that is older than the one before, the
API server's store was put back, as from a backup: all that was decided since is forgotten, as by a restart.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from cluster.status import PoolCounts
from controller.contending import Contending
from controller.outcome import ONCE, is_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arpfast.spans import Spans
    from cluster.probes import Said
    from cluster.resources import Key, Service
    from cluster.world import Change, World
    from controller.allocator import Allocator
    from controller.outcome import Assignment, Note


STEP = 100
"""So many decisions take some milliseconds."""

T = TypeVar("T")


class Telling(Protocol):
    """Who tells the cluster; nothing here waits."""

    def write(self, service: Service, assignment: Assignment | None) -> None:
        """Let the Service, which is decided upon as it is here, say that this is what it has."""

    def withdraw(self, key: Key) -> None:
        """Nothing is to be written to it any more, if it has not been already."""

    def count(self, pool: str, counts: PoolCounts) -> None:
        """So full is a pool."""

    def say(self, service: Service, note: Note) -> None:
        """Tell the owner of a Service."""

    def contend(self, service: Service) -> None:
        """Another writes to this Service again and again; for now it is left to him."""

    def ask(self, candidates: Spans) -> None:
        """Have the speakers find out about these addresses."""


class Reconciling:
    """One controller's decisions, from the first to the last of its lead."""

    def __init__(
        self,
        allocator: Callable[[], Allocator],
        tell: Telling,
        *,
        clock: Callable[[], float] = time.monotonic,
        took: Callable[[float], None] = lambda _s: None,
    ) -> None:
        """Nothing is known yet. `took` hears how long each Service was without an address that now has one written."""
        self._begin, self.allocator = allocator, allocator()
        self._tell, self._clock, self._took = tell, clock, took
        self._world: World | None = None
        self._newer: dict[Key, Service] = {}
        """As the API server answered, until the watch has told as much."""
        self._without_since_s: dict[Key, float] = {}
        self._changed_pools: dict[str, None] = {}
        self._counted: dict[str, PoolCounts] = {}
        self._taking = False
        self._heard_of: dict[Key, None] = {}
        self.contending = Contending()
        self.loaded = False
        """All that there was at first has been decided upon."""
        self.decisions = self.refusals = 0

    def oldest_wait_s(self) -> float:
        """For how long that Service has been without an address that has been without for longest."""
        return self._clock() - min(self._without_since_s.values(), default=self._clock())

    def take(self, world: World, change: Change) -> Iterator[None]:
        """The cluster is this now, of which `change` is new; at first, that has to be everything. Goes through it in
        steps of a few milliseconds, between which others may have the processor; the next change only after the last.
        """
        before, self._world = self._world, world
        changed = change.services
        if before is not None and any(_went_back(before.services.get(key), world.services.get(key)) for key in changed):
            changed = frozenset((*before.services, *world.services))
            proving = self.allocator.proving
            self.allocator, before = self._begin(), None
            self.allocator.proving = proving
            self._newer.clear()
        affected: list[Key] = []
        if change.config or before is None:
            affected = self.allocator.set_pools(world.config.pools)
            self._changed_pools |= dict.fromkeys(world.config.pools)
        self._taking = True
        arrived = []
        for key in changed:
            service = self._latest(key)
            if service is None:
                self._forget(key)
            else:
                arrived.append(service)
        arrived.sort(key=_seniority)
        for some in _steps(arrived):
            for service in some:
                self.allocator.adopt(service, self._clock())
            yield
        for keys in (affected, [service.key for service in arrived]):
            for few in _steps(keys):
                for key in few:
                    self._converge(key)
                yield
            self._take_turns()
        self._taking = False
        meanwhile, self._heard_of = self._heard_of, {}
        self._decide(meanwhile)
        self.loaded = True

    def written(self, service: Service) -> None:
        """What was told to be written is, and this is the Service with it; the watch may have told of it already."""
        self.contending.wrote(service, self._clock())
        self._heard(service)

    def stale(self, key: Key, service: Service | None) -> None:
        """It has changed since it was decided upon, and is this now; None: it is gone, as the watch will tell."""
        if service is None:
            self._tell.withdraw(key)
        else:
            self._heard(service)

    def found(self, said: Iterable[Said]) -> None:
        """This is what all speakers have found out about what they were asked."""
        self.allocator.find(said)
        if not self._taking:
            self._decide(())

    @property
    def due_s(self) -> float | None:
        """When somebody has waited for long enough, or is to be put right, by the clock."""
        dues_s = (self.allocator.proving.due_s, self.contending.due_s)
        return min((due_s for due_s in dues_s if due_s is not None), default=None)

    def hurry(self) -> None:
        """Give those something who have waited for long enough, and put right what is due."""
        now_s = self._clock()
        overdue = self.allocator.proving.overdue(now_s)
        self._decide((*overdue, *self.contending.overdue(now_s)))
        for key in overdue:
            self.allocator.proving.forget(key)

    def _heard(self, service: Service) -> None:
        key = service.key
        if self._world is None or key not in self._world.services:
            return
        self._newer[key] = service
        if self._taking:  # not before all that arrived has been adopted
            self._heard_of[key] = None
        else:
            self._decide([key])

    def _decide(self, keys: Iterable[Key]) -> None:
        """Upon these, and then upon those who waited for what came free."""
        for key in keys:
            self._converge(key)
        self._take_turns()
        self._count()

    def _take_turns(self) -> None:
        for key in self.allocator.turns():
            self._converge(key)

    def _converge(self, key: Key) -> None:
        service = self._latest(key)
        if service is None:
            return
        before, now_s = self.allocator.assignment(key), self._clock()
        outcome = self.allocator.converge(service, now_s)
        self.decisions += 1
        self.refusals += bool(outcome.error)
        after = outcome.assignment
        if before != after:
            self._changed_pools |= {one.pool: None for one in (before, after) if one is not None}
        needed = not is_written(service, after)
        held = needed and self.contending.holds(service, now_s)
        for note in outcome.notes:
            if not (held and note.reason in ONCE):  # it has not happened
                self._tell.say(service, note)
        if service.spec.type == "LoadBalancer" and not service.status.load_balancer.ingress:
            self._without_since_s.setdefault(key, now_s)
        elif (since_s := self._without_since_s.pop(key, None)) is not None and service.status.load_balancer.ingress:
            self._took(now_s - since_s)
        if needed and not held:
            self._tell.write(service, after)
        else:
            self._tell.withdraw(key)
        if held:
            self._tell.contend(service)

    def _forget(self, key: Key) -> None:
        before = self.allocator.assignment(key)
        if before is not None:
            self._changed_pools[before.pool] = None
        self.allocator.forget(key, self._clock())
        self._newer.pop(key, None)
        self._without_since_s.pop(key, None)
        self.contending.forget(key)
        self._tell.withdraw(key)

    def _latest(self, key: Key) -> Service | None:
        """A Service as late as we know it; None if it is gone."""
        service = self._world.services.get(key) if self._world is not None else None
        newer = self._newer.get(key)
        if service is None or newer is None:
            return service
        if _version(newer) > _version(service):
            return newer
        del self._newer[key]
        return service

    def _count(self) -> None:
        """Tell how full those pools are that have changed, and ask about what comes next."""
        changed, self._changed_pools = self._changed_pools, {}
        pools = self.allocator.inventory.pools
        for name in self._counted.keys() - pools.keys():
            del self._counted[name]
        for name in changed:
            if name in pools:
                four, six = self.allocator.inventory.counts(name)
                counts = PoolCounts(four[0], six[0], four[1], six[1])
                if self._counted.get(name) != counts:
                    self._counted[name] = counts
                    self._tell.count(name, counts)
        if (candidates := self.allocator.candidates()) is not None:
            self._tell.ask(candidates)


def _seniority(service: Service) -> tuple[bool, str, int, Key]:
    """Who has an address is first, then who is oldest: by the second, and within one by whose change came last."""
    metadata = service.metadata
    return not service.status.load_balancer.ingress, metadata.creation_timestamp, _version(service), service.key


def _steps(things: list[T]) -> Iterator[list[T]]:
    return (things[at : at + STEP] for at in range(0, len(things), STEP))


def _went_back(before: Service | None, after: Service | None) -> bool:
    return before is not None and after is not None and _version(after) < _version(before)


def _version(service: Service) -> int:
    """A number that grows with each change, as the API promises since Kubernetes 1.35, and kept before."""
    text = service.metadata.resource_version
    return int(text) if text.isdecimal() else 0
