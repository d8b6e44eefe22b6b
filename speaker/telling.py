"""What this node tells the cluster: a status for each Service, Events, and what it makes of the configuration.

Statuses and the state of the configuration are kept as they should be (`report.py`, `cluster.configuration_state`); an
Event is said when something begins to be so. A session with a router is told of on its BGPPeer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cluster import configuration_state, kinds
from cluster.configuration_state import ConfigurationState
from speaker.report import BGP, L2, Report, on_interfaces, to_peers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from arpfast import logs
    from arpfast.spans import Spans
    from cluster.client import Client
    from cluster.events import Events
    from cluster.following import Following
    from cluster.problems import Problem
    from cluster.resources import Key, Object, Service
    from speaker.speaking import Speaker


class Telling:
    """All of it, while `run` runs."""

    def __init__(
        self, speaker: Speaker, client: Client, events: Events, following: Following, *, pod: Object | None,
        log: logs.Logger,
    ) -> None:  # fmt: skip
        """Nothing has been told yet. `pod`: our own, if we are in one."""
        settings = speaker.settings
        self._speaker, self._events, self._following, self._log = speaker, events, following, log
        self._node = settings.node
        self.l2, self.bgp = (
            Report(client, form, node=settings.node, namespace=settings.namespace, log=log, pod=pod)
            for form in (L2, BGP)
        )
        author = configuration_state.speaker(settings.node)
        self._state = ConfigurationState(client, author, namespace=settings.namespace, log=log, pod=pod)
        self._answered: set[Key] = set()
        self._announced: dict[Key, frozenset[str]] = {}
        """To which peers."""
        self._former: frozenset[Key] = frozenset()
        """Which an earlier speaker has announced; until it is known what we do."""
        self._sessions: dict[str, bool] = {}
        """Whether those that have ever been established were so when last heard of."""

    async def succeed(self) -> None:
        """Learn what an earlier speaker of this node has left. What it answered for another node may answer for by now;
        what it announced the daemon still does. Raises ApiError or OSError.
        """
        await self.l2.forget_former()
        self._former = await self.bgp.former()

    async def run(self) -> None:
        """Tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for part in (self.l2, self.bgp, self._state):
                tasks.create_task(part.run())

    def configured(self, problems: tuple[Problem, ...]) -> None:
        """These are the problems of the configuration."""
        self._state.want(problems)

    def changed(self, services: Collection[Key]) -> None:
        """These are others now, or are served otherwise."""
        self._look(self._answered & set(services))

    # -- by ARP and Neighbor Discovery ---------------------------------------------------------------------------------

    def moved(self, lost: Spans, gained: Spans) -> None:
        """These are answered by this node no longer, those from now on, or otherwise than before."""
        decider, seat = self._speaker.seat.decider, self._speaker.seat
        touched = {key for span in seat.singles(gained) for key in decider.willing(span)}
        touched |= {key for key in self._answered if lost and any(each in lost for each in decider.addresses(key))}
        self._look(touched)

    def _look(self, keys: Iterable[Key]) -> None:
        """Say of these Services what is so now."""
        speaker = self._speaker
        seat, decider = speaker.seat, speaker.seat.decider
        assert speaker.world is not None
        for key in keys:
            ours = [span for span in decider.addresses(key) if decider.refusal(key) is None and span in seat.owned]
            if not ours:
                if key in self._answered:
                    self._answered.discard(key)
                    self.l2.withdraw(key)
                continue
            service = speaker.world.services[key]
            wanted = [decider.decisions[span].interfaces(self._node) for span in ours]
            names = frozenset().union(*(each for each in wanted if each is not None))
            everywhere = None in wanted
            if not everywhere and not names & seat.names:  # with no interface, the status would say "all"
                self._failed(service, names)
                self._answered.discard(key)
                self.l2.withdraw(key)
                continue
            if key not in self._answered:
                self._assigned(service, "layer2")
            self._answered.add(key)
            self.l2.announce(key, on_interfaces(() if everywhere else names & seat.names))

    # -- by BGP --------------------------------------------------------------------------------------------------------

    def announced(self, services: Collection[Key]) -> None:
        """These are announced by BGP from now on, or otherwise than before, or no longer."""
        world, routing = self._speaker.world, self._speaker.routing
        if self._former and routing.known:
            for key in self._former:
                if not routing.told(key):
                    self.bgp.withdraw(key)
            self._former = frozenset()
        for key in services:
            peers = routing.told(key)
            before = self._announced.get(key)
            if peers == (before or frozenset()):
                continue
            if not peers:
                del self._announced[key]
                self.bgp.withdraw(key)
                continue
            self._announced[key] = peers
            if before is None and world is not None and (service := world.services.get(key)) is not None:
                self._assigned(service, "bgp")
            self.bgp.announce(key, to_peers(peers))

    def sessions(self) -> None:
        """Say which sessions have begun or ended."""
        now = self._speaker.routing.sessions()
        for name in self._sessions.keys() - now.keys():
            del self._sessions[name]
        for name, session in now.items():
            up, told = session.state == "established", self._sessions.get(name)
            if up is bool(told):
                continue
            self._sessions[name] = up
            if told is None and session.since_unix_s < self._speaker.started_unix_s:
                continue  # a speaker before this one has told of it
            peer = self._following.gathering.custom(kinds.BGP_PEER, name)
            if peer is None:
                continue
            if up:
                note = f'node "{self._node}" has a session with {session.address}'
                self._events.say(peer, "Normal", "sessionUp", note, kind=kinds.BGP_PEER)
            else:
                why = f": {session.why}" if session.why else ""
                note = f'node "{self._node}" has no session with {session.address} any more{why}'
                self._events.say(peer, "Warning", "sessionDown", note, kind=kinds.BGP_PEER)

    def _assigned(self, service: Service, protocol: str) -> None:
        note = f'announcing from node "{self._node}" with protocol "{protocol}"'
        self._events.say(service, "Normal", "nodeAssigned", note)

    def _failed(self, service: Service, wanted: Iterable[str]) -> None:
        note = f'node "{self._node}" should announce on {", ".join(sorted(wanted))}, and has no such interface'
        self._events.say(service, "Warning", "announceFailed", note)
