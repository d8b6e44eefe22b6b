"""The daemon behind `arpfast run`: wires interfaces, announcer and responder together, and answers for itself.

    file, command line --> Config --want--> announcer --> responder (its own thread, no Python)
    rtnetlink --> interfaces --snapshots--> announcer
    control socket, /metrics, systemd <-- what all of these say about themselves

One event loop on the main thread. The order at the start matters: whatever takes root (the control socket's
directory, a low metrics port) is opened first, and whatever will be needed is imported, for the interpreter may lie
where only root can read; then privileges go, while there is only one thread; then the responder's thread starts.
Interfaces that come later open their packet sockets with the one capability that is kept.

A reload replaces the announcer's whole wish; what did not change in it is not touched. A file that is refused leaves
the wish in force, and `status` says since when it is stale and why.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 (what asyncio.to_thread would import when it is too late)
import contextlib
import os
import signal
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast import __version__, control, logs, privileges
from arpfast import config as settings
from arpfast.announcer import Announcer, Answer, Event, Phase
from arpfast.announcer import Settings as Wish
from arpfast.config import Config, ConfigError, Overrides
from arpfast.conflicts import ConflictPolicy
from arpfast.control import Refused, Request
from arpfast.inspection import FILTER_VERDICTS
from arpfast.interfaces import Choice, Watch
from arpfast.notify import Notifier
from arpfast.office import AnnounceSettings
from arpfast.privileges import Capability
from arpfast.probing import ProbeMode
from arpfast.responder import RateLimit, Responder
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    import socket

    from arpfast.bpf.programs import Filter
    from arpfast.metrics import Metrics

ALIVE_WITHIN_S = 2.0
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
FIXED = ("control", "metrics")
"""Fields that a reload cannot change."""


class Place(msgspec.Struct, frozen=True):
    """Where the daemon is and what the command line said: the same for its whole life."""

    path: str | None = None
    """The settings file, if there is one."""
    overrides: Overrides = Overrides()
    user: str | None = None
    """Whom to become when started as root; None: the first there is of `privileges.DEFAULT_USERS`."""


class Stale(msgspec.Struct, frozen=True):
    """The file was refused; the settings in force are older than it."""

    since_unix_s: float
    errors: list[str]


class CannotStart(Exception):  # noqa: N818
    """What the daemon needs and cannot have, in one line."""


def read(place: Place) -> Config:
    """The settings as the file and the command line make them now. Raises ConfigError."""
    return settings.combine(settings.load(place.path) if place.path else Config(), place.overrides)


def run(place: Place) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError or CannotStart."""
    # Until the loop can take them: a SIGHUP would kill us, a SIGTERM leave the socket behind
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    config = read(place)
    log = logs.logger(config.log.level, config.log.format)
    root = os.geteuid() == 0
    with contextlib.ExitStack() as opened:
        try:
            account = privileges.account(place.user) if root else None
            if Capability.NET_RAW not in privileges.effective():
                need = f"{Capability.NET_RAW} is missing ({privileges.NEEDED_FOR[Capability.NET_RAW]})"
                raise CannotStart(f"{need}; start as root, or see 'arpfast check'")
            listening = control.bind(config.control, account)
            opened.callback(_remove, listening)
            serving = None
            if config.metrics is not None:
                # Not needed by most, so not imported by all; here, since later we may not be allowed to read the files
                from arpfast import machine, metrics  # noqa: F401, PLC0415

                serving = opened.enter_context(machine.listen(config.metrics))
            filter_ = _filter(config, log)
            kept = {Capability.NET_RAW}
            if filter_ is not None:
                opened.callback(filter_.close)
                kept.add(Capability.BPF)  # a new table is a new map
            responder = opened.enter_context(
                Responder(rate_per_s=config.announce.rate, limit=_limit(config), filter=filter_)
            )
            if account is not None and account.uid != 0:
                privileges.drop(account, kept)
            else:
                privileges.confine(kept & privileges.effective())  # eBPF may be allowed without a capability
            responder.start()
        except (OSError, privileges.NoSuchUser) as error:
            raise CannotStart(_said(error)) from error
        daemon = Daemon(place, config, responder, log, filter_)
        asyncio.run(daemon.run(listening, serving))


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}"


def _remove(listening: socket.socket) -> None:
    """For an end before the control server has taken over; after that, there is nothing left to do."""
    if listening.fileno() >= 0:
        path = listening.getsockname()
        listening.close()
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def _limit(config: Config) -> RateLimit | None:
    limit = config.rate_limit
    return None if limit is None else RateLimit(limit.per_mac, limit.burst, limit.total)


def _filter(config: Config, log: logs.Logger) -> Filter | None:
    """The eBPF filter and guard, where kernel and capabilities allow them; a classic filter does without."""
    try:
        from arpfast.bpf.programs import Filter  # noqa: PLC0415 (needs libbpf, which may be missing)

        return Filter(limit=_limit(config))
    except (ImportError, OSError) as error:
        log.warning("no eBPF filter, a classic one does", why=_said(error).partition("\n")[0])
        return None


def wish(config: Config) -> tuple[list[Answer], Wish]:
    """What the announcer is to want."""
    answers = [Answer(span) for span in config.addresses] + [Answer(span, proxy=True) for span in config.proxy]
    announce = AnnounceSettings(
        probe=ProbeMode(config.announce.probe),
        repeat=config.announce.repeat,
        refresh_s=config.announce.refresh_s or 0.0,
        conflict=ConflictPolicy(config.conflict),
    )
    return answers, Wish(Choice(config.interfaces), announce)


def fixed(old: Config, new: Config) -> list[str]:
    """The fields that differ but stay as they are until a restart."""
    changed = [name for name in FIXED if getattr(old, name) != getattr(new, name)]
    return changed + (["announce.rate"] if old.announce.rate != new.announce.rate else [])


class Daemon:
    """What runs, and what it says of itself."""

    def __init__(
        self, place: Place, config: Config, responder: Responder, log: logs.Logger, filter_: Filter | None = None
    ) -> None:
        """Everything is open by now; nothing is wanted yet."""
        self.config = config
        self.responder = responder
        self._rate_per_s = config.announce.rate  # what the announcer plans by, for good
        self.filter = filter_
        self.announcer = Announcer(responder, rate_per_s=config.announce.rate, report=self._report)
        self.reloads = {"applied": 0, "refused": 0}
        self.stale: Stale | None = None
        self.started_unix_s = self.loaded_unix_s = time.time()
        self._place = place
        self._log = log
        self._needs_restart: list[str] = []
        self._watch = Watch()
        self._seen = False  # whether the first snapshot has reached the announcer
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._notifier = Notifier()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, listening: socket.socket, serving: socket.socket | None) -> None:
        """Until told to stop. An error that nobody foresaw ends it: a supervisor restarts, a half-dead daemon lies."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        loop.set_exception_handler(self._unforeseen)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.announcer.want(*wish(self.config))
        server = control.Server(listening, self._handle)
        metrics = self._metrics(serving)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.announcer.run()), group.create_task(self._follow_interfaces())]
                if self._notifier.watchdog_s is not None:
                    tasks.append(group.create_task(self._feed_watchdog(self._notifier.watchdog_s)))
                await self._stop.wait()
                self._notifier.stopping()
                for task in tasks:
                    task.cancel()
        finally:
            self._watch.close()
            await server.close()
            if metrics is not None:
                await metrics.close()
            self.responder.close()
            self._notifier.close()
        self._log.info("stopped")

    def _unforeseen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody waits for, such as in what a client asked: told, and survived."""
        self._log.error("unforeseen error", what=context["message"], exc_info=context.get("exception"))

    async def alive(self) -> bool:
        """Whether the responder's thread makes its rounds."""
        before = self.responder.beat()
        give_up_s = time.monotonic() + ALIVE_WITHIN_S
        while self.responder.beat() == before:
            if time.monotonic() > give_up_s:
                return False
            await asyncio.sleep(0.001)
        return True

    def ready(self) -> bool:
        """Whether everything wanted is in force: interfaces known, nothing left to be probed."""
        phases = self.announcer.statistics().state_totals
        return self._seen and not phases[Phase.PROBING] and not phases[Phase.WAITING]

    def _metrics(self, serving: socket.socket | None) -> Metrics | None:
        if serving is None:
            return None
        from arpfast.metrics import Metrics  # noqa: PLC0415 (imported by `run`, if at all)

        return Metrics(serving, self)

    def _report(self, event: Event) -> None:
        getattr(self._log, event.level)(event.event, **event.fields)

    async def _follow_interfaces(self) -> None:
        async for snapshot in self._watch:
            self.announcer.interfaces(snapshot)
            if not self._seen:
                await asyncio.sleep(0)  # the announcer's turn: it sets up what is there
                self._seen = True
                self._notifier.ready(self._summary())
                self._log.info(
                    "started",
                    addresses=self.config.addresses.size,
                    proxied=self.config.proxy.size,
                    interfaces=",".join(link.interface for link in self.announcer.statistics().links) or "none yet",
                    control=self.config.control,
                )
                if not self.config.addresses and not self.config.proxy:
                    self._log.warning("nothing to answer for", file=self._place.path)

    async def _feed_watchdog(self, within_s: float) -> None:
        while True:
            if await self.alive():
                self._notifier.watchdog()
            else:
                self._log.error("the responder's thread does not make its rounds")
            await asyncio.sleep(within_s / 3)

    def _summary(self) -> str:
        links = [link.interface for link in self.announcer.statistics().links]
        count = self.config.addresses.size
        text = f"answering for {count} address{'' if count == 1 else 'es'} on {', '.join(links) or 'no interface yet'}"
        return f"{text}; the settings file is refused, see 'arpfast status'" if self.stale else text

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
            if self._place.path is None:
                raise Refused("expected a settings file to read again, but the daemon was started without one")
            self._notifier.reloading()
            try:
                new = await asyncio.to_thread(read, self._place)
            except ConfigError as error:
                self.reloads["refused"] += 1
                self.stale = Stale(time.time(), error.lines())
                for line in error.lines():
                    self._log.error("settings refused, the old ones stay in force", problem=line)
                raise Refused(*error.lines()) from None
            finally:
                if self.stale:
                    self._notifier.ready(self._summary())
            return self._apply(new)

    def _apply(self, new: Config) -> dict[str, Any]:
        old, self.config = self.config, new
        if new.log != old.log:
            self._log = logs.logger(new.log.level, new.log.format)
        self.responder.set_rates(rate_per_s=self._rate_per_s, limit=_limit(new))
        self.announcer.want(*wish(new))
        self.reloads["applied"] += 1
        self.stale = None
        self.loaded_unix_s = time.time()
        self._needs_restart = sorted({*self._needs_restart, *fixed(old, new)})
        differences = {
            "added": (new.addresses - old.addresses).size + (new.proxy - old.proxy).size,
            "removed": (old.addresses - new.addresses).size + (old.proxy - new.proxy).size,
            "changed": [name for name in Config.__struct_fields__ if getattr(old, name) != getattr(new, name)],
            "needs_restart": self._needs_restart,
        }
        self._log.info("settings reloaded", **differences)
        self._notifier.ready(self._summary())
        return differences

    # What the control socket offers

    async def _handle(self, request: Request) -> Any:
        match request.command:
            case "status":
                return self.status()
            case "explain":
                return self.explain(request.address)
            case "announce":
                return self.announce(request.address)
            case "reload":
                return await self.reload()

    def status(self) -> dict[str, Any]:
        """All that `arpfast status` shows."""
        counted = {link.ifindex: link for link in self.responder.statistics().links}
        announced = self.announcer.statistics()
        links = []
        for totals in announced.links:
            link = counted.get(totals.ifindex)
            verdicts = {} if link is None else {v.name.lower(): count for v, count in link.verdicts.items() if count}
            sent = {} if link is None else {kind.name.lower(): count for kind, count in link.sent.items()}
            drops = 0 if link is None else link.drops
            links.append({**msgspec.to_builtins(totals), "verdicts": verdicts, "sent": sent, "drops": drops})
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_unix_s": self.started_unix_s,
            "backend": "raw",
            "filter": self._filter_counts(),
            "ready": self.ready(),
            "config": {
                "path": self._place.path,
                "loaded_unix_s": self.loaded_unix_s,
                "stale": None if self.stale is None else msgspec.to_builtins(self.stale),
                "needs_restart": self._needs_restart,
            },
            "addresses": {"own": self.config.addresses.size, "proxied": self.config.proxy.size},
            "conflicts": announced.conflicts,
            "taken": announced.taken,
            "reloads": self.reloads,
            "links": links,
        }

    def _filter_counts(self) -> dict[str, Any]:
        """Which filter stands before the sockets. The eBPF one counts, on all interfaces together, what dies in it."""
        if self.filter is None:
            return {"kind": "classic"}
        counted = self.filter.statistics()
        judged = {name: getattr(counted, name) for name in FILTER_VERDICTS}
        return {"kind": "ebpf", **judged, "unfiltered": len(counted.unfiltered), "unguarded": len(counted.unguarded)}

    def explain(self, text: str) -> dict[str, Any]:
        """All about one address. Raises Refused if it is none."""
        try:
            address = ip_address(text)
        except ValueError:
            raise Refused(f"expected a single address, not {text!r}") from None
        explanation = self.announcer.explain(address.version, int(address))
        asked = self.responder.asked(address.version, int(address))
        names = {link.ifindex: link.interface for link in explanation.links}
        by = (
            None
            if asked is None
            else {
                "mac": asked.mac.hex(":"),
                "interface": names.get(asked.ifindex, f"#{asked.ifindex}"),
                "unix_s": time.time() - (time.monotonic_ns() - asked.monotonic_ns) / 1e9,
            }
        )
        return {**msgspec.to_builtins(explanation), "last_asked": by}

    def announce(self, text: str) -> dict[str, Any]:
        """Announce what is ours of an address, range or prefix again, now. Raises Refused if nothing is."""
        try:
            span = Span.parse(text)
        except ValueError as error:
            raise Refused(str(error)) from None
        ours = Spans([span]) & self.config.addresses
        if not ours:
            raise Refused(f"{text} is not among the own addresses: nothing to announce")
        self.announcer.announce(ours)
        return {"announced": ours.size}
