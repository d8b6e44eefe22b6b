"""Following the cluster: a watch for each kind that is wanted, one world of all of them.

    watch.py, a task a kind --changes--> gathering.py --flush--> wake(world, change)

What changes is told in the same turn of the event loop in which its bytes came, a few times in a row (`Pace`): a
Service that is made comes as an EndpointSlice, a Service and its status within milliseconds, and none of these should
wait. Of a burst, one wake-up in 20 ms tells all. Nobody is woken before the lists of all kinds are complete, and the
pools were good once: a controller that knew of no pools would take every address away. An API server that is gone
leaves the world as it is.

Some kinds hold nobody up, whatever becomes of their lists; who needs them looks whether all is `settled`, once and for
all. Secrets are watched by name, those that peers refer to and no others, so that no right is needed to read the rest;
one that may not be read is as one that there is not, and holds up for a few attempts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from cluster import kinds
from cluster.gathering import Gathering
from cluster.watch import watch
from cluster.watching import Watching
from cluster.world import NOTHING, Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.client import Client
    from cluster.kinds import Kind
    from cluster.problems import Problem
    from cluster.watch import Log
    from cluster.watching import Changed, Counts
    from cluster.world import World

BURST_S = 0.02
AT_ONCE = 4

CONTROLLER = kinds.SERVICE, kinds.NAMESPACE, kinds.ADDRESS_POOL
"""What one has to know who gives addresses."""
SPEAKER = (
    kinds.SERVICE,
    kinds.ENDPOINT_SLICE,
    kinds.NODE,
    kinds.NAMESPACE,
    kinds.ADDRESS_POOL,
    kinds.L2_ADVERTISEMENT,
)
"""What one has to know who answers for them."""
BGP = kinds.BGP_ADVERTISEMENT, kinds.BGP_PEER, kinds.BFD_PROFILE, kinds.COMMUNITY
"""What one has to know besides who announces them by BGP."""

ATTEMPTS = 3
LOOK_AGAIN_S = 1.0


class Statistics(msgspec.Struct, frozen=True):
    """What happened so far."""

    updates: int
    """Changes that were received, of all kinds."""
    errors: int
    """Watches and lists that failed, and objects that were not understood."""
    wakes: int
    configured: int
    """How often configuration was read."""
    loaded: bool
    """A configuration is in force."""
    stale: bool
    """There is a later one that cannot be."""
    watches: dict[str, tuple[int, bool, Counts]]
    """By resource: how many objects are known, whether all are, and what happened."""


class Pace:
    """When to wake next. Pure: time is an argument, in seconds.

    Some wake-ups come at once; each of these is saved up for in `BURST_S`, so that in the long run there is one in as
    much. And whoever is woken rests for as long as that took: at least half of the time is for others.
    """

    def __init__(self) -> None:
        """Nobody has been woken for a while."""
        self._saved_s = float("-inf")
        """All of them are saved up from then on."""
        self._rested_s = float("-inf")

    def next_s(self) -> float:
        """The earliest time of the next."""
        return max(self._saved_s - (AT_ONCE - 1) * BURST_S, self._rested_s)

    def woke(self, began: float, ended: float) -> None:
        """There was one."""
        self._saved_s = max(self._saved_s, began) + BURST_S
        self._rested_s = ended + (ended - began)


class Following:
    """The cluster as it is known, kept up to date while `run` runs."""

    def __init__(
        self,
        client: Client,
        wanted: Iterable[Kind[Any]],
        *,
        namespace: str,
        wake: Callable[[World, Change], None],
        log: Log,
        lb_class: str = "",
        node: str = "",
        report: Callable[[tuple[Problem, ...]], None] | None = None,
        besides: Iterable[Kind[Any]] = (),
    ) -> None:
        """Follow the kinds that are `wanted`, and those `besides` that hold nobody up; those of MetalLB's in
        `namespace`, the others in all. `wake` is told what differs, first of all everything, and everything again once
        all is `settled`; `report` the problems of the configuration, or of what of it concerns `node`, whenever they
        change.
        """
        self._client, self._namespace, self._log = client, namespace, log
        self._wake, self._report = wake, report
        self.gathering = Gathering(lb_class, node)
        self.watchings: dict[Kind[Any], Watching[Any, Any]] = {
            kind: Watching(kind, self.gathering.keep(kind), namespace=namespace if kind.group == kinds.METALLB else "")
            for kind in (*wanted, *besides)
        }
        self._besides = frozenset(besides)
        self.ready = False
        """`wake` has been called: all that is wanted is known."""
        self.settled = False
        """So is what is followed besides, and what it refers to."""
        self._updates = self._wakes = 0
        self._reported: tuple[Problem, ...] | None = None
        self._pace = Pace()
        self._due: asyncio.TimerHandle | asyncio.Handle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._secrets: dict[str, tuple[Watching[Any, Any], asyncio.Task[None]]] = {}

    @property
    def world(self) -> World:
        """The cluster, as far as it is known."""
        return self.gathering.world

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the configuration."""
        return self.gathering.problems

    def statistics(self) -> Statistics:
        """A look at the counters."""
        counts = [each.counts for each in self.watchings.values()]
        return Statistics(
            updates=self._updates,
            errors=sum(each.failures + each.unreadable for each in counts),
            wakes=self._wakes,
            configured=self.gathering.configured,
            loaded=self.ready,
            stale=bool(self.problems),
            watches={
                kind.resource: (len(each.objects), each.complete, each.counts) for kind, each in self.watchings.items()
            },
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind, watching in self.watchings.items():
                    tasks.create_task(watch(self._client, watching, self._changed(kind), self._log))
        finally:
            for _, task in self._secrets.values():
                task.cancel()
            for timer in (self._due, self._again):
                if timer is not None:
                    timer.cancel()

    def _changed(self, kind: Kind[Any]) -> Callable[[list[Changed[Any]]], None]:
        def changed(changes: list[Changed[Any]]) -> None:
            self._updates += len(changes)
            self.gathering.changed(kind, changes)
            if kind is kinds.BGP_PEER:
                self._follow_secrets()
            self._schedule()

        return changed

    def _schedule(self) -> None:
        """Tell at once, unless much has been told only just."""
        if self._due is None:
            loop = asyncio.get_running_loop()
            due_s = self._pace.next_s()
            self._due = loop.call_at(due_s, self._flush) if due_s > loop.time() else loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = None
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._tell()
        self._pace.woke(began_s, loop.time())

    def _tell(self) -> None:
        """Tell what there is to be told."""
        if not all(watching.complete for kind, watching in self.watchings.items() if kind not in self._besides):
            return
        change = self.gathering.flush()
        awaited = self._awaited()
        settles = not self.settled and not awaited and all(self.watchings[kind].complete for kind in self._besides)
        self.settled = self.settled or settles
        problems = tuple(problem for problem in self.problems if self._sure(problem, awaited))
        if self._report is not None and problems != self._reported:
            self._reported = problems
            self._report(problems)
        if (awaited or not self.settled) and self._again is None:
            self._again = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look_again)
        if not self.gathering.loaded:
            return
        if not self.ready or settles:
            self.ready, change = True, self.gathering.everything()
        elif change == NOTHING:
            return
        self._wakes += 1
        self._wake(self.world, change)

    def _look_again(self) -> None:
        self._again = None
        self._schedule()

    def _awaited(self) -> frozenset[str]:
        """The Secrets of which it is not known yet whether there are any."""
        watchings = [watching for watching, _ in self._secrets.values()]
        return frozenset(each.name for each in watchings if not each.complete and each.counts.failures < ATTEMPTS)

    def _sure(self, problem: Problem, awaited: frozenset[str]) -> bool:
        """Whether it is one, and not only because not everything is known yet."""
        if not self.settled and any(problem.kind == kind.name for kind in self._besides):
            return False
        return not problem.transient or problem.kind != kinds.BGP_PEER.name or problem.value not in awaited

    def _follow_secrets(self) -> None:
        """Watch what the peers refer to now, and no longer what they don't."""
        wanted = self.gathering.secrets
        for name in self._secrets.keys() - wanted:
            self._secrets.pop(name)[1].cancel()
        for name in wanted - self._secrets.keys():
            watching = Watching(kinds.SECRET, self.gathering.keep(kinds.SECRET), namespace=self._namespace, name=name)
            following = watch(self._client, watching, self._changed(kinds.SECRET), self._log)
            self._secrets[name] = watching, asyncio.get_running_loop().create_task(following)
