"""The speaker's side of the API server: what it follows, and what it tells.

    Services, EndpointSlices, Nodes, configuration --Following--> Speaker.know
    Pods with our labels, or else all Nodes ------------------> Speaker.seat.meet
    Seat --moved--> Report, Events, ConfigurationState

An API server that is gone stops nothing: each part tries again by itself, and what is known stays in force.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from arpfast.spans import NOTHING
from cluster import configuration_state, kinds
from cluster.backoff import Backoff
from cluster.client import ApiError, Client
from cluster.configuration_state import ConfigurationState
from cluster.events import Events
from cluster.following import SPEAKER, Following
from cluster.numbers import numbers
from cluster.watch import watch
from cluster.watching import Watching
from speaker.members import of_nodes, of_pods
from speaker.report import Report, own_pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from arpfast import logs
    from arpfast.spans import Spans
    from cluster.problems import Problem
    from cluster.resources import Key, Object, Pod
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
        self._report: Report | None = None
        self._parts: tuple[Client, Following, Events] | None = None
        self._announced: set[Key] = set()

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
            report=self._told,
        )
        self._parts = client, following, events
        self._problems: tuple[Problem, ...] | None = None
        self._state: ConfigurationState | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(following.run())
                tasks.create_task(events.run())
                if settings.labels:
                    pods: Watching[Pod, Pod] = Watching(
                        kinds.POD, lambda pod: pod, namespace=settings.namespace, labels=settings.labels
                    )
                    tasks.create_task(watch(client, pods, lambda _: self._meet(pods), log))
                tasks.create_task(self._tell(client, events))
        finally:
            await client.close()

    def moved(self, lost: Spans, gained: Spans) -> None:
        """These are answered by this node no longer, those from now on, or otherwise than before."""
        if self._speaker is None or self._speaker.world is None:
            return
        decider, seat = self._speaker.seat.decider, self._speaker.seat
        touched = {key for span in seat.singles(gained) for key in decider.willing(span)}
        touched |= {key for key in self._announced if lost and any(each in lost for each in decider.addresses(key))}
        self._look(touched)

    def numbers(self) -> Iterator[Metric]:
        """Metrics of the requests, of the watches, and of what is told."""
        if self._parts is not None:
            client, following, events = self._parts
            yield from numbers(client, following, events)
        if self._report is not None:
            errands = self._report.errands
            told = "ServiceL2Statuses that are still to be written"
            yield GaugeMetricFamily("arpfast_speaker_statuses_waiting", told, value=len(errands))
            for name, told, count in (
                ("written", "Times that a ServiceL2Status was seen to", errands.done),
                ("failures", "Times that one could not be", errands.failures),
            ):
                yield CounterMetricFamily(f"arpfast_speaker_statuses_{name}", told, value=count)

    def _wake(self, world: World, change: Change) -> None:
        speaker = self._speaker
        assert speaker is not None
        speaker.know(world, change)
        if not self._settings.labels and (change.nodes or not speaker.seat.met):
            speaker.seat.meet(of_nodes(world.nodes.values()))
        self._look(self._announced & change.services)

    def _meet(self, pods: Watching[Any, Pod]) -> None:
        assert self._speaker is not None
        if pods.complete:
            self._speaker.seat.meet(of_pods(pods.objects.values()))

    def _look(self, keys: set[Key]) -> None:
        """Say of these Services what is so now."""
        speaker, report = self._speaker, self._report
        if speaker is None or speaker.world is None or report is None:
            return
        seat, decider = speaker.seat, speaker.seat.decider
        for key in keys:
            ours = [span for span in decider.addresses(key) if decider.refusal(key) is None and span in seat.owned]
            if not ours:
                if key in self._announced:
                    self._announced.discard(key)
                    report.withdraw(key)
                continue
            service = speaker.world.services[key]
            wanted = [decider.decisions[span].interfaces(self._settings.node) for span in ours]
            names = frozenset().union(*(each for each in wanted if each is not None))
            everywhere = None in wanted
            if not everywhere and not names & seat.names:  # with no interface, the status would say "all"
                report.failed(service, names)
                self._announced.discard(key)
                report.withdraw(key)
                continue
            if key not in self._announced:
                report.assigned(service)
            self._announced.add(key)
            report.announce(key, () if everywhere else names & seat.names)

    def _told(self, problems: tuple[Problem, ...]) -> None:
        """The configuration has these problems now."""
        for problem in problems:
            self._log.warning("configuration refused, the last good one stays in force", problem=str(problem))
        self._problems = problems
        if self._state is not None:
            self._state.want(problems)

    async def _tell(self, client: Client, events: Events) -> None:
        """Tell the cluster, as soon as it is known in whose name."""
        settings, backoff = self._settings, Backoff()
        pod: Object | None = None
        while True:
            try:
                pod = await own_pod(client, settings.namespace, settings.pod)
                report = Report(
                    client, events, node=settings.node, namespace=settings.namespace, log=self._log, pod=pod
                )
                await report.forget_former()
                break
            except (ApiError, OSError) as error:
                wait_s = backoff.failed(error.retry_after_s if isinstance(error, ApiError) else 0.0)
                self._log.warning("nothing can be told yet", error=str(error), again_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)
        author = configuration_state.speaker(settings.node)
        self._state = ConfigurationState(client, author, namespace=settings.namespace, log=self._log, pod=pod)
        if self._problems is not None:
            self._state.want(self._problems)
        self._report = report
        assert self._speaker is not None
        self.moved(NOTHING, self._speaker.seat.owned)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(report.run())
            tasks.create_task(self._state.run())
