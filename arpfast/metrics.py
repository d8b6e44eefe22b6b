"""Prometheus metrics and health, read at the moment of the scrape: nothing is counted here.

A small HTTP/1.1 server for GET and HEAD of three paths, each connection one request: enough for Prometheus, kubelets
and curl, and little for anybody hostile to hold on to. A scrape runs on the event loop; it reads counters, so it takes
a millisecond, and the thread that answers never notices.

`/healthz`: the event loop answers you and the responder's thread makes its rounds. `/readyz`: everything wanted is in
force, nothing is left to be probed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from arpfast import __version__
from arpfast.answer import Verdict
from arpfast.inspection import FILTER_VERDICTS, Phase
from arpfast.serving import Listener, Stream, TooLong

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from prometheus_client import Metric

    from arpfast.announcer import Announcer
    from arpfast.bpf.programs import Filter
    from arpfast.daemon import Daemon
    from arpfast.responder import Responder

REQUEST_MAX = 8192
CLIENTS_MAX = 32
IDLE_S = 5.0
_TEXT = "text/plain; charset=utf-8"


class Health(Protocol):
    """What is asked whether all is well."""

    async def alive(self) -> bool:
        """Whether the responder's thread makes its rounds."""

    def not_ready(self) -> str:
        """Why it is not ready; empty: it is."""


class Numbers(Collector):
    """All metrics of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        """Read from `daemon` whenever asked."""
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        """One family after the other, all from one look at the counters."""
        daemon = self._daemon
        yield built()
        yield from engine(daemon.responder, daemon.announcer, daemon.filter)
        reloads = CounterMetricFamily("arpfast_reloads", "Reloads of the settings", labels=["outcome"])
        for outcome, count in daemon.settings.reloads.items():
            reloads.add_metric([outcome], count)
        yield reloads
        if daemon.seat is not None:
            from arpfast.ring.numbers import numbers  # noqa: PLC0415 (most have no ring)

            yield from numbers(daemon.seat)
        told = "Whether the file was refused at the last reload"
        yield GaugeMetricFamily("arpfast_settings_stale", told, value=int(daemon.settings.stale is not None))
        yield GaugeMetricFamily("arpfast_start_time_seconds", "Start, Unix time", value=daemon.started_unix_s)


def engine(responder: Responder, announcer: Announcer, filter_: Filter | None) -> Iterator[Metric]:
    """What answers, one family after the other."""
    counted, announced = responder.statistics(), announcer.statistics()
    frames = CounterMetricFamily(
        "arpfast_frames", "Frames by what became of them; those that are not for us die in the kernel",
        labels=["interface", "verdict"],
    )  # fmt: skip
    drops = CounterMetricFamily("arpfast_kernel_drops", "Frames lost for want of room", labels=["interface"])
    sent = CounterMetricFamily("arpfast_sent_frames", "Frames sent unasked", labels=["interface", "kind"])
    refused = CounterMetricFamily("arpfast_send_errors", "Frames that could not be sent", labels=["interface"])
    failed = CounterMetricFamily("arpfast_socket_errors", "Errors told by packet sockets", labels=["interface"])
    answers = CounterMetricFamily(
        "arpfast_answers", "Replies by who gave them: the daemon (raw) or the kernel", labels=["interface", "backend"]
    )
    queued = GaugeMetricFamily("arpfast_queued_messages", "Messages that wait to be sent", labels=["interface"])
    for link in counted.links:
        for verdict, count in link.verdicts.items():
            frames.add_metric([link.name, verdict.name.lower()], count)
        for kind, count in link.sent.items():
            sent.add_metric([link.name, kind.name.lower()], count)
        answers.add_metric([link.name, "raw"], link.verdicts[Verdict.REPLY] - link.in_kernel)
        if link.backend != "raw" or link.in_kernel:
            answers.add_metric([link.name, link.backend], link.in_kernel)
        drops.add_metric([link.name], link.drops)
        refused.add_metric([link.name], link.send_errors)
        failed.add_metric([link.name], link.socket_errors)
        queued.add_metric([link.name], link.queued)
    yield from (frames, answers, drops, sent, refused, failed, queued)
    if filter_ is not None:
        judged = filter_.statistics()
        filtered = CounterMetricFamily(
            "arpfast_filter_frames", "Frames by what the kernel's filter and guard did", labels=["verdict"]
        )
        for name in FILTER_VERDICTS:
            filtered.add_metric([name], getattr(judged, name))
        yield filtered
        told = "Interfaces whose table the kernel refused: all of their frames come up"
        yield GaugeMetricFamily("arpfast_unfiltered_interfaces", told, value=len(judged.unfiltered))
        told = "Interfaces without a guard though there is a rate limit"
        yield GaugeMetricFamily("arpfast_unguarded_interfaces", told, value=len(judged.unguarded))
    phases = GaugeMetricFamily("arpfast_addresses", "Addresses by phase", labels=["interface", "phase"])
    for totals in announced.links:
        for phase in Phase:
            if phase is not Phase.ABSENT:
                phases.add_metric([totals.interface, phase.value], getattr(totals, phase.value))
    yield phases
    for name, told, count in (
        ("facts_lost", "Facts that a flood kept from being noticed", counted.facts_lost),
        ("messages_dropped", "Messages for interfaces that went away", counted.messages_dropped),
        ("freezes", "Times the thread stood still for too long, and fell silent", counted.freezes),
        ("watch_questions", "Questions to watched owners whether they answer", counted.watched.questions),
        ("watch_answers", "Answers of watched owners", counted.watched.answers),
        ("watch_silences", "Times a watched owner fell silent", counted.watched.silences),
        ("watch_suspensions", "Times a flood kept a watch from telling anything", counted.watched.suspensions),
        ("inherited", "Times that a watched owner was taken over from at once", counted.watched.inherited),
        ("conflicts", "Times another host used an address of ours", announced.conflicts),
        ("defences", "Announcements sent to defend an address", announced.defended),
        ("yielded", "Times an address was given up to another host", announced.yielded),
        ("taken", "Times an address was found taken before use", announced.taken),
        ("confirmations", "Times a router answered from a new address", announced.confirmed),
        ("unconfirmed", "Times no router answered from a new address", announced.unconfirmed),
        ("tables", "Tables built", announced.tables),
        ("wakes", "Times the announcer woke", announced.wakes),
        ("group_joins", "Solicited-node groups joined", announced.group_joins),
        ("group_failures", "Solicited-node groups that could not be joined", announced.group_failures),
    ):
        yield CounterMetricFamily(f"arpfast_{name}", told, value=count)


def built() -> Metric:
    """Which version this is."""
    family = GaugeMetricFamily("arpfast_build_info", "Version", labels=["version"])
    family.add_metric([__version__], 1)
    return family


class Metrics:
    """Serves numbers and health on a bound, listening socket."""

    def __init__(self, listening: socket.socket, health: Health, numbers: Collector) -> None:
        """Serve from now on."""
        self._health = health
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(numbers)
        busy = _response("503 Service Unavailable", "too many clients\n")
        self._listener = Listener(listening, self._serve, CLIENTS_MAX, busy)

    async def close(self) -> None:
        """Hang up."""
        await self._listener.close()

    async def _serve(self, client: Stream) -> None:
        try:
            request = await client.read_until(b"\r\n\r\n", REQUEST_MAX, IDLE_S)
        except TooLong:
            await client.write(_response("431 Request Header Fields Too Large", "too long\n"))
            return
        if request is None:
            return
        method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
        target, _, protocol = rest.partition(b" ")
        if not protocol.startswith(b"HTTP/1."):
            await client.write(_response("400 Bad Request", "expected HTTP/1.1\n"))
        elif method not in (b"GET", b"HEAD"):
            await client.write(_response("405 Method Not Allowed", "expected GET or HEAD\n", allow="GET, HEAD"))
        else:
            response = await self._answer(target.partition(b"?")[0])
            if method == b"HEAD":
                response = response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            await client.write(response)

    async def _answer(self, path: bytes) -> bytes:
        match path:
            case b"/metrics":
                return _response("200 OK", generate_latest(self._registry), kind=CONTENT_TYPE_PLAIN_0_0_4)
            case b"/healthz":
                return _verdict(await self._health.alive(), "the responder's thread does not make its rounds")
            case b"/readyz":
                why_not = self._health.not_ready()
                return _verdict(not why_not, why_not)
            case b"/":
                return _response("200 OK", "/metrics\n/healthz\n/readyz\n")
        return _response("404 Not Found", "expected /metrics, /healthz or /readyz\n")


def _verdict(good: bool, why_not: str) -> bytes:
    return _response("200 OK", "ok\n") if good else _response("503 Service Unavailable", why_not + "\n")


def _response(status: str, body: str | bytes, *, kind: str = _TEXT, allow: str = "") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    allowed = f"Allow: {allow}\r\n" if allow else ""
    about = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{allowed}Connection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{about}\r\n".encode() + body
