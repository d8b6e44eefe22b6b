"""What the daemon tells and does for whoever asks at the control socket: one method a command.

Each looks at the parts of the daemon as they are at this moment and returns plain values, ready for JSON; a request
that makes no sense is Refused with the reason.
"""

from __future__ import annotations

import os
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast import __version__
from arpfast.control import Refused
from arpfast.inspection import FILTER_VERDICTS
from arpfast.spans import NOTHING, Span, Spans

if TYPE_CHECKING:
    from arpfast.announcer import Announcer
    from arpfast.bpf.programs import Filter
    from arpfast.control import Request
    from arpfast.daemon import Daemon
    from arpfast.inspection import AnnouncerStatistics
    from arpfast.responder import Responder
    from arpfast.ring.ring import Ring
    from arpfast.spans import Address


class Desk:
    """Serves the requests of clients."""

    def __init__(self, daemon: Daemon) -> None:
        """Speak for `daemon`."""
        self._daemon = daemon

    async def handle(self, request: Request) -> Any:
        """Do what is asked. Raises Refused."""
        match request.command:
            case "status":
                return self.status()
            case "explain":
                if request.namespace:
                    raise Refused("expected an address, since Services are known to the speakers of a cluster only")
                return self.explain(request.address)
            case "announce":
                return self.announce(request.address)
            case "reload":
                return await self._daemon.reload()
            case "drain" | "undrain":
                return self.drain(undo=request.command == "undrain")
            case "timeline":
                return self.timeline(request.address)

    def status(self) -> dict[str, Any]:
        """All that `arpfast status` shows."""
        daemon = self._daemon
        announced = daemon.announcer.statistics()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_unix_s": daemon.started_unix_s,
            "backend": daemon.settings.config.backend,
            "filter": filter_told(daemon.filter),
            "ready": daemon.ready(announced),
            "config": daemon.settings.status(),
            "addresses": {"own": daemon.settings.config.addresses.size, "proxied": daemon.settings.config.proxy.size},
            "conflicts": announced.conflicts,
            "taken": announced.taken,
            "reloads": daemon.settings.reloads,
            "links": links_told(daemon.responder, announced),
            "ring": None if daemon.seat is None else msgspec.to_builtins(daemon.seat.status()),
        }

    def explain(self, text: str) -> dict[str, Any]:
        """All about one address. Raises Refused if it is none."""
        address, daemon = parsed(text), self._daemon
        shared = NOTHING if daemon.seat is None else daemon.seat.config.addresses | daemon.seat.config.proxy
        told = {**address_told(daemon.announcer, daemon.responder, address, shared), "ring": None, "checks": []}
        if daemon.seat is not None:
            told["ring"] = msgspec.to_builtins(daemon.seat.explain(address.version, int(address)))
            told["checks"] = msgspec.to_builtins(daemon.seat.checks.explain(address.version, int(address)))
        return told

    def drain(self, *, undo: bool) -> dict[str, Any]:
        """Hand all addresses over to the other members, or be given some again. Raises Refused without a ring."""
        return {"draining": not undo, "held": self._ring().drain(undo=undo).size}

    def timeline(self, text: str) -> list[dict[str, Any]]:
        """The last events, or those of one address. Raises Refused without a ring."""
        return timeline_told(self._ring(), text)

    def _ring(self) -> Ring:
        if self._daemon.seat is None:
            raise Refused("expected a ring, but the settings have none: see 'ring' in docs/configuration.md")
        return self._daemon.seat.ring

    def announce(self, text: str) -> dict[str, Any]:
        """Announce what is ours of an address, range or prefix again, now. Raises Refused if nothing is."""
        try:
            span = Span.parse(text)
        except ValueError as error:
            raise Refused(str(error)) from None
        ours = Spans([span]) & self._daemon.settings.config.addresses
        if not ours:
            raise Refused(f"{text} is not among the own addresses: nothing to announce")
        self._daemon.announcer.announce(ours)
        return {"announced": ours.size}


def parsed(text: str) -> Address:
    """A single address. Raises Refused."""
    try:
        if "%" in text:
            raise ValueError  # a zone, which no address of ours has
        return ip_address(text)
    except ValueError:
        raise Refused(f"expected a single address, not {text!r}") from None


def links_told(responder: Responder, announced: AnnouncerStatistics) -> list[dict[str, Any]]:
    """What is answered on each interface, and what came of it."""
    counted = {link.ifindex: link for link in responder.statistics().links}
    links = []
    for totals in announced.links:
        link = counted.get(totals.ifindex)
        verdicts = {} if link is None else {v.name.lower(): count for v, count in link.verdicts.items() if count}
        sent = {} if link is None else {kind.name.lower(): count for kind, count in link.sent.items()}
        told = {"verdicts": verdicts, "sent": sent, "drops": 0 if link is None else link.drops}
        told |= {"backend": None, "why": ""} if link is None else {"backend": link.backend, "why": link.why}
        links.append({**msgspec.to_builtins(totals), **told, "in_kernel": 0 if link is None else link.in_kernel})
    return links


def filter_told(filter_: Filter | None) -> dict[str, Any]:
    """Which filter stands before the sockets. The eBPF one counts, on all interfaces together, what dies in it."""
    if filter_ is None:
        return {"kind": "classic"}
    counted = filter_.statistics()
    judged = {name: getattr(counted, name) for name in FILTER_VERDICTS}
    return {"kind": "ebpf", **judged, "unfiltered": len(counted.unfiltered), "unguarded": len(counted.unguarded)}


def address_told(
    announcer: Announcer, responder: Responder, address: Address, shared: Spans = NOTHING
) -> dict[str, Any]:
    """Where an address is answered, since when, or why not; and who asked for it last. `shared`: what its ring has."""
    key = (address.version, int(address))
    explanation = announcer.explain(*key, shared=bool(shared.find(*key)))
    asked = responder.asked(*key)
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


def timeline_told(ring: Ring, text: str) -> list[dict[str, Any]]:
    """The last events, or those of one address. Raises Refused if it is none."""
    address = parsed(text) if text else None
    of = ring.timeline.of(None if address is None else (address.version, int(address)))
    return [msgspec.to_builtins(moment) for moment in of]
