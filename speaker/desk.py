"""What the speaker tells and does for whoever asks at its control socket: `arpfast.desk`, for the node of a cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast import __version__
from arpfast.control import Refused
from arpfast.desk import address_told, filter_told, links_told, parsed, timeline_told
from arpfast.spans import Span, Spans, address_of
from cluster.resources import Key
from speaker.bgp.telling import address_told as routes_told
from speaker.bgp.telling import service_told, status_told

if TYPE_CHECKING:
    from arpfast.control import Request
    from speaker.speaking import Speaker


class Desk:
    """Serves the requests of clients."""

    def __init__(self, speaker: Speaker) -> None:
        """Speak for `speaker`."""
        self._speaker = speaker

    async def handle(self, request: Request) -> Any:
        """Do what is asked. Raises Refused."""
        seat = self._speaker.seat
        match request.command:
            case "status":
                return self.status()
            case "explain" if request.namespace:
                return self.service(Key(request.namespace, request.address))
            case "explain":
                return self.address(request.address)
            case "announce":
                return self.announce(request.address)
            case "drain" | "undrain":
                undo = request.command == "undrain"
                self._speaker.routing.drain(undo=undo)
                return {"draining": not undo, "held": seat.ring.drain(undo=undo).size}
            case "timeline":
                return timeline_told(seat.ring, request.address)
            case "reload":
                raise Refused("nothing to read again: what the cluster says is followed as it changes")

    def status(self) -> dict[str, Any]:
        """All that `arpfast status` shows."""
        speaker = self._speaker
        announced = speaker.announcer.statistics()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_unix_s": speaker.started_unix_s,
            "backend": speaker.settings.backend,
            "filter": filter_told(speaker.filter),
            "ready": speaker.ready(),
            "not_ready": speaker.not_ready(),
            "config": {
                "path": "custom resources",
                "loaded_unix_s": speaker.known_unix_s,
                "stale": None,
                "needs_restart": [],
            },
            "addresses": {"own": speaker.seat.electorate.spans.size, "proxied": 0},
            "conflicts": announced.conflicts,
            "taken": announced.taken,
            "reloads": {},
            "links": links_told(speaker.responder, announced),
            "ring": msgspec.to_builtins(speaker.seat.status()),
            "bgp": status_told(speaker.routing, speaker.world),
        }

    def address(self, text: str) -> dict[str, Any]:
        """All about one address. Raises Refused if it is none."""
        address, speaker = parsed(text), self._speaker
        decision = speaker.seat.decider.decisions.get(Span.of(address))
        return {
            **address_told(speaker.announcer, speaker.responder, address, speaker.seat.electorate.spans),
            "ring": msgspec.to_builtins(speaker.seat.explain(address.version, int(address))),
            "checks": [],
            "services": [] if decision is None else list(map(str, decision.services)),
            "routes": routes_told(speaker.routing, speaker.world, Span.of(address)),
        }

    def service(self, key: Key) -> dict[str, Any]:
        """All about a Service: its addresses, and what keeps which node from answering for it. Raises Refused."""
        speaker, seat = self._speaker, self._speaker.seat
        world = speaker.world
        if world is None:
            raise Refused("the cluster is not known yet")
        if key not in world.services:
            raise Refused(f"no Service {key} of our class is known")
        addresses = [str(address_of(span.version, span.first)) for span in seat.decider.addresses(key)]
        refusal = seat.decider.refusal(key)
        members = {member.name: member for member in seat.status().members}
        nodes = []
        for name in sorted({*world.nodes, *members}):
            member = members.get(name)
            absent = "no speaker there" if member is None else "" if member.here else member.why
            drained = ["drained"] if member is not None and member.drained else []
            reasons = [*seat.decider.why(key, name), *([absent] if absent else []), *drained]
            nodes.append({"node": name, "why": reasons})
        return {
            "service": str(key),
            "reason": refusal,
            "addresses": [self.address(address) for address in addresses],
            "nodes": nodes,
            "bgp": service_told(speaker.routing, world, key),
        }

    def announce(self, text: str) -> dict[str, Any]:
        """Announce what is answered here of an address, range or prefix again, now. Raises Refused if nothing is."""
        try:
            span = Span.parse(text)
        except ValueError as error:
            raise Refused(str(error)) from None
        ours = Spans([span]) & self._speaker.seat.owned
        if not ours:
            raise Refused(f"{text} is not answered by this node: nothing to announce")
        self._speaker.announcer.announce(ours)
        return {"announced": ours.size}
