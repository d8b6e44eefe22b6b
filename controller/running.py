"""The controller's process: wires the cluster, the Lease and a term of leading together, and answers for itself.

    Following --world, change--> Term (while the Lease is ours) --> the API server
    /metrics, /healthz, /readyz <-- what all of these say about themselves

Each replica follows the cluster, and claims the Lease once it knows all of it: who takes over has nothing to load.
`/healthz` is answered by the event loop that everything runs on. `/readyz` is red until the cluster is known and its
pools have been good once, and, while we lead, until all that there was has been decided upon. A webhook that cannot be
served, for want of a port or of a right, is tried again and holds up nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.metrics import Metrics
from cluster import kinds
from cluster.client import ApiError, Client
from cluster.configuration_state import CONTROLLER as AUTHOR
from cluster.configuration_state import ConfigurationState
from cluster.events import Events
from cluster.following import CONTROLLER, Following
from cluster.lease import Lease
from cluster.resources import Key, Object
from controller.numbers import Durations, Numbers
from controller.secret import RingKey
from controller.term import Term
from controller.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from arpfast.logs import Logger
    from cluster.problems import Problem
    from cluster.world import Change, World
    from controller.settings import Settings

SIGNALS = signal.SIGTERM, signal.SIGINT
NAME = "metallb-controller"
LEASE = "controller"
FINISH_S = 2.0
"""What is decided when we are told to stop has so long to be written."""
OWN_POD_S = 5.0


class Controller:
    """What runs, and what it says of itself."""

    def __init__(self, settings: Settings, client: Client, log: Logger, pod: Object | None) -> None:
        """`pod`: our own, if we are in one."""
        self.settings, self.client, self._log = settings, client, log
        self.events = Events(client, controller=NAME, instance=settings.identity, log=log)
        self.following = Following(
            client, CONTROLLER, namespace=settings.namespace, wake=self._wake, log=log, lb_class=settings.lb_class,
            report=self._report,
        )  # fmt: skip
        self.lease = Lease(
            client, Key(settings.namespace, LEASE), settings.identity, changed=self._lead, log=log
        )  # fmt: skip
        self.state = ConfigurationState(client, AUTHOR, namespace=settings.namespace, log=log, pod=pod)
        self.webhook = Webhook(client, settings, log) if settings.webhook_port else None
        self.durations = Durations()
        self.term: Term | None = None
        """While we lead."""
        self._term_task: asyncio.Task[None] | None = None
        self._known, self._stop = asyncio.Event(), asyncio.Event()
        self._failed = False

    async def run(self, serving: list[socket.socket]) -> int:
        """Until told to stop; the exit status. An error that nobody foresaw ends it: a supervisor restarts."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        loop.set_exception_handler(self._unforeseen)
        served = [Metrics(each, self, Numbers(self)) for each in serving]
        settings = self.settings
        parts = [self.following.run(), self.events.run(), self.state.run(), self._claim()]
        if settings.secret:
            key = RingKey(
                self.client, namespace=settings.namespace, name=settings.secret, deployment=settings.deployment,
                log=self._log,
            )  # fmt: skip
            parts.append(key.run())
        if self.webhook is not None:
            parts.append(self.webhook.run(partial(_listen, settings.webhook_port)))
        self._log.info("started", namespace=settings.namespace, replica=settings.identity)
        tasks = [loop.create_task(self._part(part)) for part in parts]
        try:
            await self._stop.wait()
            await self._finish()
        finally:
            for task in (*tasks, *([self._term_task] if self._term_task else [])):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in served:
                await each.close()
        self._log.info("stopped")
        return int(self._failed)

    @property
    def leads(self) -> bool:
        """Whether we lead."""
        return self.lease.leads

    async def alive(self) -> bool:
        """Whoever hears this knows that the event loop goes round."""
        return not self._failed

    def not_ready(self) -> str:
        """Why it is not ready: the cluster is to be known, and, while we lead, all of it decided upon."""
        if not self.following.ready:
            return "the cluster is not known yet"
        if self.term is not None and not self.term.reconciling.loaded:
            return "not all Services have been decided upon yet"
        return ""

    async def _claim(self) -> None:
        await self._known.wait()
        await self.lease.run()

    def _wake(self, world: World, change: Change) -> None:
        self._known.set()
        if self.term is not None:
            self.term.take(world, change)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            self._log.warning("configuration refused", problem=str(problem))
        if self.term is not None:
            self.state.want(problems)

    def _lead(self, leads: bool) -> None:
        if self._term_task is not None:
            self._term_task.cancel()
        self.term = self._term_task = None
        if not leads:
            self.state.leave()
        else:
            self.term = Term(
                self.client, self.lease.tenure, self.settings, self.events, self._log, self.durations.took
            )  # fmt: skip
            self.term.take(self.following.world, self.following.gathering.everything())
            self.state.want(self.following.problems)
            self._term_task = asyncio.get_running_loop().create_task(self._part(self.term.run()))

    async def _finish(self) -> None:
        """Write what is decided, if that is soon done."""
        if self.term is not None and not self._failed:
            try:
                async with asyncio.timeout(FINISH_S):
                    await self.term.statuses.errands.wait_idle()
            except TimeoutError:
                self._log.warning("statuses left to be written", services=len(self.term.statuses.errands))

    async def _part(self, part: Coroutine[Any, Any, None]) -> None:
        """Run one of the parts, none of which ends by itself."""
        try:
            await part
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody foresaw it)
            self._fail("a part of the controller ended", error)

    def _unforeseen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:  # a callback of ours
            self._fail(context["message"], context.get("exception"))
        else:
            self._log.error("unforeseen error", what=context["message"], exc_info=context.get("exception"))

    def _fail(self, what: str, error: BaseException | None) -> None:
        """Nothing that is known can be trusted now: begin anew."""
        self._log.error("unforeseen error", what=what, exc_info=error)
        self._failed = True
        self._stop.set()


async def run(settings: Settings, log: Logger) -> int:
    """Run until SIGTERM or SIGINT; the exit status. Raises OSError or ValueError, if it cannot start."""
    client = await Client.connect(settings.kubeconfig)
    serving: list[socket.socket] = []
    try:
        serving += map(_listen, dict.fromkeys(filter(None, (settings.port, settings.health_port))))
        return await Controller(settings, client, log, await _own_pod(client, settings, log)).run(serving)
    finally:
        for each in serving:
            each.close()
        await client.close()


def _listen(port: int) -> socket.socket:
    """On all addresses, of both families where there are two."""
    try:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listening = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise OSError(error.errno, f"port {port}: {os.strerror(error.errno or 0)}") from None
    listening.setblocking(False)
    return listening


async def _own_pod(client: Client, settings: Settings, log: Logger) -> Object | None:
    """Our own Pod, if we can find it: what it owns goes with it."""
    if not settings.pod:
        return None
    try:
        found = await client.request("get", kinds.POD, settings.namespace, settings.pod, timeout_s=OWN_POD_S)
    except (ApiError, OSError) as error:
        log.warning("own Pod not to be read; what we write is owned by nobody", error=str(error))
        return None
    return msgspec.json.decode(found, type=Object)
