"""The speaker of one node: wires the cluster, the ring and the link together, and answers for itself.

    Kubernetes --world, members--> Seat --want--> announcer --> responder (its own thread, no Python)
                 `--world--------> Routing --want--> GoBGP's daemon (another process)
    rtnetlink --interfaces-------> Seat, announcer
    control socket, /metrics, /healthz, /readyz <-- what all of these say about themselves

One event loop on the main thread. What speaks with the API server (`Cluster`) may fail and wait; nothing that is
answered depends on it once the cluster is known.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Protocol

from arpfast import control, logs
from arpfast.announcer import Announcer, Event
from arpfast.following import Watch
from arpfast.inspection import Phase
from arpfast.leaving import leave
from arpfast.rounds import makes_rounds
from speaker.bgp.bgp import Bgp
from speaker.bgp.routing import Routing
from speaker.desk import Desk
from speaker.seat import Seat

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterator

    from prometheus_client import Metric

    from arpfast.bpf.programs import Filter
    from arpfast.crossing import Fact
    from arpfast.gossip.keys import Key as SecretKey
    from arpfast.metrics import Metrics
    from arpfast.responder import Responder
    from arpfast.spans import Spans
    from cluster.resources import Key
    from cluster.world import Change, World
    from speaker.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Cluster(Protocol):
    """Where the speaker learns what to answer for, and whom it tells what it does."""

    async def run(self, speaker: Speaker) -> None:
        """Tell `speaker` what is `known`, and whom it is to `meet`, until cancelled."""

    def moved(self, lost: Spans, gained: Spans) -> None:
        """These are answered by this node no longer, those from now on, or otherwise than before."""

    def announced(self, services: Collection[Key]) -> None:
        """These are announced by BGP otherwise than before, and sessions may have changed."""

    def numbers(self) -> Iterator[Metric]:
        """Its metrics."""


class Speaker:
    """What runs, and what it says of itself."""

    def __init__(
        self,
        settings: Settings,
        keys: tuple[SecretKey, ...],
        cluster: Cluster,
        responder: Responder,
        log: logs.Logger,
        filter_: Filter | None = None,
    ) -> None:
        """Everything is open by now."""
        self.settings, self.cluster, self.responder, self.filter = settings, cluster, responder, filter_
        self._log = log
        self.announcer = Announcer(
            responder,
            rate_per_s=settings.announce.rate,
            report=self.report,
            facts=self._facts,
            changed=self._answering,
        )
        self.seat = Seat(
            settings, keys, announcer=self.announcer, responder=responder, report=self.report, changed=cluster.moved
        )
        self.routing = Routing(
            settings.node,
            settings.rules,
            Bgp(settings.gobgp, node=settings.node, log=log, changed=lambda: cluster.announced(()))
            if settings.gobgp
            else None,
            namespace=settings.namespace,
            log=log,
            lost=self._lost,
            changed=cluster.announced,
        )
        self.started_unix_s = time.time()
        self.world: World | None = None
        """The cluster as it is known."""
        self.known_unix_s: float | None = None
        self._watch = Watch()
        self._seen = False
        self._stop = asyncio.Event()

    async def run(self, listening: socket.socket, serving: list[socket.socket]) -> None:
        """Until told to stop. An error that nobody foresaw ends it: a supervisor restarts."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        loop.set_exception_handler(logs.unforeseen(self._log))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        server = control.Server(listening, Desk(self).handle)
        served = [self._served(each) for each in serving]
        try:
            async with asyncio.TaskGroup() as group:
                parts = (
                    self.announcer.run(),
                    self._follow_interfaces(),
                    self.seat.run(),
                    self.routing.run(),
                    self.cluster.run(self),
                )
                tasks = [group.create_task(part) for part in parts]
                await self._stop.wait()
                await leave(self._leave(), self._stop)
                for task in tasks:
                    task.cancel()
        finally:
            self._watch.close()
            await server.close()
            for each in served:
                await each.close()
            self.responder.close()
        self._log.info("stopped")

    def know(self, world: World, change: Change) -> None:
        """This is the cluster now, of which `change` is new."""
        self.world = world
        self.known_unix_s = time.time()
        self.seat.know(world, change)

    def route(self, world: World, change: Change) -> None:
        """The same for what is announced by BGP, as soon as all is known that this depends on."""
        self.routing.know(world, change)

    async def alive(self) -> bool:
        """Whether the responder's thread makes its rounds."""
        return await makes_rounds(self.responder)

    def ready(self) -> bool:
        """Whether everything that the cluster wants of this node is in force."""
        return not self.not_ready()

    def not_ready(self) -> str:
        """Why not."""
        if not self._seen:
            return "no interface is known yet"
        if failing := self.announcer.failing:
            return f"no socket on {', '.join(sorted(failing))}"
        if self.world is None:
            return "the cluster is not known yet, or its configuration was never good"
        if not self.seat.ready:
            return "the other speakers have not been heard yet"
        if self.routing.engine is not None and not self.routing.known:
            return "what is to be announced by BGP is not known yet"
        if why := self.routing.trouble:
            return why
        if peers := self.routing.arriving:
            return f"no session yet with {peers}"
        phases = self.announcer.statistics().state_totals
        return "addresses are still being probed" if phases[Phase.PROBING] or phases[Phase.WAITING] else ""

    def report(self, event: Event) -> None:
        """Log what people should know."""
        getattr(self._log, event.level)(event.event, **event.fields)

    def _served(self, serving: socket.socket) -> Metrics:
        from arpfast.metrics import Metrics  # noqa: PLC0415 (imported by `starting`, if at all)
        from speaker.numbers import Numbers  # noqa: PLC0415

        return Metrics(serving, self, Numbers(self))

    def _facts(self, facts: list[Fact]) -> None:
        self.seat.ring.facts(facts)

    def _answering(self) -> None:
        self.seat.ring.unanswered(self.announcer.unanswered)

    def _lost(self) -> frozenset[str]:
        """The nodes whose speakers are drained, or are not there."""
        if self.seat.ring.node is None:
            return frozenset()
        return frozenset(each.name for each in self.seat.status().members if each.drained or not each.here)

    async def _leave(self) -> None:
        await asyncio.gather(self.seat.leave(), self.routing.leave())

    async def _follow_interfaces(self) -> None:
        async for snapshot in self._watch:
            self.announcer.interfaces(snapshot)
            self.routing.interfaces(snapshot)
            choice = self.settings.choice
            self.seat.interfaces([each for each in snapshot.values() if choice.refusal(each) is None])
            if not self._seen:
                await asyncio.sleep(0)  # the announcer's turn: it sets up what is there
                self._seen = True
                names = ",".join(sorted(self.seat.names)) or "none yet"
                self._log.info("started", node=self.settings.node, interfaces=names, control=self.settings.control)
