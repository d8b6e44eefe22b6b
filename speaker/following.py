"""The speaker's side of the API server: what it follows, and what it tells.

    Services, EndpointSlices, Nodes, configuration --Following--> Speaker.know, and Speaker.route when that is settled
    Pods with our labels, or else all Nodes ------------------> Speaker.seat.meet
    Seat, Routing --moved, announced--> Telling
    addresses that may be given next ------> Scout --> annotation

An API server that is gone stops nothing: each part tries again by itself, and what is known stays in force.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from arpfast.spans import NOTHING
from cluster import kinds
from cluster.backoff import Backoff
from cluster.client import ApiError, Client
from cluster.events import Events
from cluster.following import BGP, SPEAKER, Following
from cluster.numbers import numbers
from cluster.watch import watch
from cluster.watching import Watching
from speaker.members import of_nodes, of_pods
from speaker.report import own_pod
from speaker.scout import Scout
from speaker.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from prometheus_client import Metric

    from arpfast import logs
    from arpfast.spans import Spans
    from cluster.problems import Problem
    from cluster.resources import Key, Pod
    from cluster.world import Change, World
    from speaker.settings import Settings
    from speaker.speaking import Speaker


class NoWay(Exception):  # noqa: N818
    """It is not known how to reach the API server, or by which right."""


class Kubernetes:
    """As `speaker.speaking.Cluster`."""

    def __init__(self, settings: Settings, log: logs.Logger) -> None:
        """Nothing is asked yet."""
        self._settings, self._log = settings, log
        self._speaker: Speaker | None = None
        self._telling: Telling | None = None
        self._scout: Scout | None = None
        self._parts: tuple[Client, Following, Events] | None = None
        self._problems: tuple[Problem, ...] | None = None
        """Of the configuration; None: it has not been read yet."""
        self._refused: tuple[Problem, ...] = ()
        """Of what it asks of BGP, as it was told last."""

    async def run(self, speaker: Speaker) -> None:
        """Follow, and tell, until cancelled. Raises NoWay."""
        settings, log = self._settings, self._log
        self._speaker = speaker
        try:
            client = await Client.connect(settings.kubeconfig)
        except (OSError, ValueError) as error:
            raise NoWay(str(error)) from error
        events = Events(client, controller="metallb-speaker", instance=settings.pod or settings.node, log=log)
        following = Following(
            client,
            SPEAKER,
            namespace=settings.namespace,
            wake=self._wake,
            log=log,
            lb_class=settings.lb_class,
            node=settings.node,
            report=self._told,
            besides=BGP,
        )
        scout = self._scout = Scout(client, settings, speaker.seat, log)
        self._parts = client, following, events
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(following.run())
                tasks.create_task(events.run())
                tasks.create_task(scout.run())
                if settings.labels:
                    pods: Watching[Pod, Pod] = Watching(
                        kinds.POD, lambda pod: pod, namespace=settings.namespace, labels=settings.labels
                    )
                    tasks.create_task(watch(client, pods, lambda _: self._meet(pods), log))
                tasks.create_task(self._tell(client, events, following))
        finally:
            await client.close()

    def moved(self, lost: Spans, gained: Spans) -> None:
        """These are answered by this node no longer, those from now on, or otherwise than before."""
        if self._telling is not None and self._speaker is not None and self._speaker.world is not None:
            self._telling.moved(lost, gained)

    def announced(self, services: Collection[Key]) -> None:
        """These are announced by BGP otherwise than before. Sessions may have changed, and what cannot be done here."""
        if self._telling is not None:
            self._telling.announced(services)
            self._telling.sessions()
        if self._speaker is not None and self._speaker.routing.problems != self._refused:
            self._configured()

    def numbers(self) -> Iterator[Metric]:
        """Metrics of the requests, of the watches, and of what is told."""
        if self._parts is not None:
            client, following, events = self._parts
            yield from numbers(client, following, events)
        if self._scout is not None:
            told = "Addresses that were probed before they were given"
            yield CounterMetricFamily("arpfast_speaker_scouted", told, value=self._scout.probed)
            told = "Of those that are not given yet, how many another host has"
            yield GaugeMetricFamily("arpfast_speaker_scouted_used", told, value=self._scout.used)
        if self._telling is None:
            return
        waiting = GaugeMetricFamily(
            "arpfast_speaker_statuses_waiting", "Statuses of Services that are still to be written", labels=["protocol"]
        )
        written, failures = (
            CounterMetricFamily(f"arpfast_speaker_statuses_{name}", told, labels=["protocol"])
            for name, told in (
                ("written", "Times that a status of a Service was seen to"),
                ("failures", "Times that one could not be"),
            )
        )
        for protocol, report in (("layer2", self._telling.l2), ("bgp", self._telling.bgp)):
            waiting.add_metric([protocol], len(report.errands))
            written.add_metric([protocol], report.errands.done)
            failures.add_metric([protocol], report.errands.failures)
        yield from (waiting, written, failures)

    def _wake(self, world: World, change: Change) -> None:
        speaker = self._speaker
        assert speaker is not None
        assert self._parts is not None
        speaker.know(world, change)
        if not self._settings.labels and (change.nodes or not speaker.seat.met):
            speaker.seat.meet(of_nodes(world.nodes.values()))
        if change.config and self._scout is not None:
            self._scout.configure(world.config)
        if self._telling is not None:
            self._telling.changed(change.services)
        if self._parts[1].settled:
            speaker.route(world, change)
            if change.config:
                self._configured()

    def _meet(self, pods: Watching[Any, Pod]) -> None:
        assert self._speaker is not None
        if pods.complete:
            self._speaker.seat.meet(of_pods(pods.objects.values()))

    def _told(self, problems: tuple[Problem, ...]) -> None:
        """The configuration has these problems now."""
        for problem in problems:
            self._log.warning("configuration refused, the last good one stays in force", problem=str(problem))
        self._problems = problems
        self._configured()

    def _configured(self) -> None:
        """Say what is wrong with the configuration, and what of it cannot be done here."""
        if self._telling is not None and self._speaker is not None and self._problems is not None:
            self._refused = self._speaker.routing.problems
            self._telling.configured((*self._problems, *self._refused))

    async def _tell(self, client: Client, events: Events, following: Following) -> None:
        """Tell the cluster, as soon as it is known in whose name."""
        settings, backoff = self._settings, Backoff()
        assert self._speaker is not None
        while True:
            try:
                pod = await own_pod(client, settings.namespace, settings.pod)
                telling = Telling(self._speaker, client, events, following, pod=pod, log=self._log)
                await telling.succeed()
                break
            except (ApiError, OSError) as error:
                wait_s = backoff.failed(error.retry_after_s if isinstance(error, ApiError) else 0.0)
                self._log.warning("nothing can be told yet", error=str(error), again_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)
        self._telling = telling
        self._configured()
        self.moved(NOTHING, self._speaker.seat.owned)
        self.announced(self._speaker.routing.routes.shares.keys())
        await telling.run()
