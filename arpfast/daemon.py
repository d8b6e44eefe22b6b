"""The daemon behind `arpfast run`: wires interfaces, announcer and responder together, and answers for itself.

    file, command line --> InForce --want--> announcer --> responder (its own thread, no Python)
    rtnetlink --> interfaces --snapshots--> announcer
    control socket (`Desk`), /metrics, systemd <-- what all of these say about themselves

One event loop on the main thread; `starting` has opened what takes root, and given that up, before it runs. A reload
replaces the announcer's whole wish; what did not change in it is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

from arpfast import control, logs
from arpfast.announcer import Announcer, Event, Phase
from arpfast.control import Refused
from arpfast.desk import Desk
from arpfast.following import Watch
from arpfast.inforce import limit, wish
from arpfast.interfaces import Choice
from arpfast.leaving import leave
from arpfast.local import Local, mark
from arpfast.notify import Notifier
from arpfast.rounds import makes_rounds

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from arpfast.bpf.backends import Answerer
    from arpfast.bpf.programs import Filter
    from arpfast.config import Config
    from arpfast.crossing import Fact
    from arpfast.inforce import InForce
    from arpfast.inspection import AnnouncerStatistics
    from arpfast.interfaces import Interface
    from arpfast.metrics import Metrics
    from arpfast.responder import Responder
    from arpfast.ring.seat import Seat

SETTLED_WITHIN_S = 5.0
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class Daemon:
    """What runs, and what it says of itself."""

    def __init__(
        self,
        settings: InForce,
        responder: Responder,
        log: logs.Logger,
        filter_: Filter | None = None,
        answerer: Answerer | None = None,
        seat: Callable[[Daemon], Seat] | None = None,
    ) -> None:
        """Everything is open by now; nothing is wanted yet. `seat` makes the seat in the ring, if there is a ring."""
        self.settings = settings
        self.responder = responder
        self.filter = filter_
        self._answerer = answerer
        self.announcer = Announcer(
            responder,
            rate_per_s=settings.config.announce.rate,
            report=self.report,
            facts=self._facts,
            changed=self._answering,
        )
        self.started_unix_s = time.time()
        self._log = log
        self._watch = Watch()
        self._seen = False  # whether the first snapshot has reached the announcer
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._notifier = Notifier()
        self._tasks: set[asyncio.Task[None]] = set()
        self._local = Local(mark(settings.config.control), self.report) if settings.config.local else None
        self._interfaces: tuple[Interface, ...] = ()
        self._used: tuple[str, ...] | None = None
        """The interfaces that are answered on, once they are known."""
        self.seat = None if seat is None else seat(self)

    async def run(self, listening: socket.socket, serving: socket.socket | None) -> None:
        """Until told to stop. An error that nobody foresaw ends it: a supervisor restarts, a half-dead daemon lies."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        loop.set_exception_handler(logs.unforeseen(self._log))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if self.seat is None:
            self.announcer.want(*wish(self.settings.config))
        else:
            await self.seat.open()
        server = control.Server(listening, Desk(self).handle)
        metrics = self._metrics(serving)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.announcer.run()), group.create_task(self._follow_interfaces())]
                if self._local is not None:
                    tasks.append(group.create_task(self._local.run()))
                if self._notifier.watchdog_s is not None:
                    tasks.append(group.create_task(self._feed_watchdog(self._notifier.watchdog_s)))
                if self.seat is not None:
                    tasks.append(group.create_task(self.seat.run()))
                await self._stop.wait()
                self._notifier.stopping()
                if self.seat is not None:
                    await leave(self.seat.leave(), self._stop)
                if self._answerer is not None:
                    self._answerer.end()
                for task in tasks:
                    task.cancel()
        finally:
            self._watch.close()
            await server.close()
            if metrics is not None:
                await metrics.close()
            self.responder.close()
            if self._local is not None:
                self._local.close()
            self._notifier.close()
        self._log.info("stopped")

    def _want(self, config: Config) -> None:
        if self.seat is None:
            self.announcer.want(*wish(config))
        else:
            self.seat.want(config)

    def put_on_lo(self) -> None:
        """Have on `lo` what the settings say: all own addresses, or those that the ring has given to us."""
        if self._local is None or self._used is None:
            return
        config = self.settings.config
        if config.local == "owner" and self.seat is not None:
            self._local.want(config.addresses & self.seat.owned, self._used)
        else:
            self._local.want(config.addresses, self._used, shared=self.seat is not None)

    def _facts(self, facts: list[Fact]) -> None:
        if self.seat is not None:
            self.seat.facts(facts)

    def _answering(self) -> None:
        if self.seat is not None:
            self.seat.unanswered(self.announcer.unanswered)

    async def alive(self) -> bool:
        """Whether the responder's thread makes its rounds."""
        return await makes_rounds(self.responder)

    def ready(self, announced: AnnouncerStatistics | None = None) -> bool:
        """Whether everything wanted is in force: interfaces known, the ring heard, nothing left to be probed.

        `announced`, for who has them already, are the announcer's statistics.
        """
        return not self.not_ready(announced)

    def not_ready(self, announced: AnnouncerStatistics | None = None) -> str:
        """Why not; empty: it is."""
        if self.seat is not None and not self.seat.ring.ownership.settled:
            return "the ring has not been heard"
        if not self._seen:
            return "no interface is known yet"
        phases = (announced or self.announcer.statistics()).state_totals
        return "addresses are still being probed" if phases[Phase.PROBING] or phases[Phase.WAITING] else ""

    def _metrics(self, serving: socket.socket | None) -> Metrics | None:
        if serving is None:
            return None
        from arpfast.metrics import Metrics, Numbers  # noqa: PLC0415 (imported by `starting`, if at all)

        return Metrics(serving, self, Numbers(self))

    def report(self, event: Event) -> None:
        getattr(self._log, event.level)(event.event, **event.fields)

    async def _follow_interfaces(self) -> None:
        async for snapshot in self._watch:
            self.announcer.interfaces(snapshot)
            self._interfaces = tuple(snapshot.values())
            choice = Choice(self.settings.config.interfaces)
            used = [interface for interface in self._interfaces if choice.refusal(interface) is None]
            if self.seat is not None:
                self.seat.interfaces(used)
            if (names := tuple(interface.name for interface in used)) != self._used:
                self._used = names
                self.put_on_lo()
            if not self._seen:
                await asyncio.sleep(0)  # the announcer's turn: it sets up what is there
                self._seen = True
                self._notifier.ready(self._summary())
                config = self.settings.config
                self._log.info(
                    "started",
                    addresses=config.addresses.size,
                    proxied=config.proxy.size,
                    interfaces=",".join(self.announcer.interfaces_in_use()) or "none yet",
                    control=config.control,
                )
                if not config.addresses and not config.proxy:
                    self._log.warning("nothing to answer for", file=self.settings.place.path)
                self._warn_of_interfaces()

    def _warn_of_interfaces(self) -> None:
        """Tell of what was named and is not there: it may come yet, and may be a mistake."""
        if unmatched := Choice(self.settings.config.interfaces).unmatched(self._interfaces):
            there = ", ".join(interface.name for interface in self._interfaces if not interface.loopback)
            self._log.warning("no such interface so far", interfaces=", ".join(unmatched), there=there or "none")

    async def _feed_watchdog(self, within_s: float) -> None:
        while True:
            if await self.alive():
                self._notifier.watchdog()
            else:
                self._log.error("the responder's thread does not make its rounds")
            await asyncio.sleep(within_s / 3)

    def _summary(self) -> str:
        links = self.announcer.interfaces_in_use()
        count = self.settings.config.addresses.size
        text = f"answering for {count} address{'' if count == 1 else 'es'} on {', '.join(links) or 'no interface yet'}"
        return f"{text}; the settings file is refused, see 'arpfast status'" if self.settings.stale else text

    # Reloading

    def _reload_on_signal(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_and_log())
        self._tasks.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("unforeseen error", what="reload", exc_info=error)

    async def _reload_and_log(self) -> None:
        with contextlib.suppress(Refused):
            await self.reload()

    async def reload(self) -> dict[str, Any]:
        """Read the file again and apply the difference. Raises Refused with all problems; then nothing has changed."""
        async with self._reloading:
            self._notifier.reloading()
            try:
                differences = self._apply(await self.settings.read_again())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SETTLED_WITHIN_S):
                        await self.announcer.settled()
                return differences
            except Refused as refused:
                for line in refused.lines:
                    self._log.error("settings refused, the old ones stay in force", problem=line)
                raise
            finally:
                self._notifier.ready(self._summary())

    def _apply(self, new: Config) -> dict[str, Any]:
        old = self.settings.config
        if new.log != old.log:
            self._log = logs.logger(new.log.level, new.log.format)
        if (new.announce.rate, new.rate_limit) != (old.announce.rate, old.rate_limit):
            self.announcer.set_rate(new.announce.rate)
            self.responder.set_rates(rate_per_s=new.announce.rate, limit=limit(new))
        differences = self.settings.replace(new)
        self._want(self.settings.config)
        self.put_on_lo()
        self._log.info("settings reloaded", **differences)
        if new.interfaces != old.interfaces:
            self._warn_of_interfaces()
        return differences
