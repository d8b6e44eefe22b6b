"""Follows the sessions of one daemon after the other: listens to its events, and lists its peers.

An event only wakes whoever looks, and says why a session has ended; all else is looked up. What was known of a session
outlives the connection: a daemon that was silent for a while and then goes on has lost none.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from speaker.bgp import messages, peers, sessions
from speaker.bgp.failure import DaemonError
from speaker.bgp.traffic import Tally
from speaker.bgp.wish import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cluster.config import BFDProfile, Peer
    from speaker.bgp.reconciling import Connection, Reconciliation
    from speaker.bgp.routes import Route, Rule
    from speaker.bgp.wish import Neighbour

BARRED_S = 60.0
"""A peer of the wrong AS is asked again after so long."""
REASONS_AT_MOST = 1000
BFD_AFTER_S, BFD_ANYWAY_AFTER_S = 2.0, 10.0
"""Of which a second is what the daemon cuts off from the moment that a session came up."""
BFD_SOON_MS = 1000


class Following:
    """What is known of each session."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called on the event loop when it is time to look."""
        self._wake = wake
        self.known: Mapping[str, Session] = {}
        """By the name of the peer, as the daemon said last."""
        self._why: dict[str, str] = {}
        """Why the session at an address has ended."""
        self._barred: dict[str, tuple[float, str]] = {}
        self.tally = Tally()
        """Of what has gone to and fro."""
        self._down_since: dict[str, float] = {}
        self.old = False
        """The daemon is older than 4.6: it knows no BFD."""

    async def listen(self, connection: Connection) -> None:
        """Wake whenever the daemon says that a session is another, until it says nothing more: DaemonError."""
        request = messages.WatchEventRequest(messages.Empty())
        async for event in connection.each("WatchEvent", request, messages.WatchEventResponse, deadline_s=None):
            state = event.peer.peer.state if event.peer is not None and event.peer.peer is not None else None
            if state is not None and (why := sessions.reason(state)) and len(self._why) < REASONS_AT_MOST:
                self._why[state.neighbor_address] = why
            self._wake()
        raise DaemonError("WatchEvent", "", "the daemon has ended it", lost=True)

    async def look(
        self, connection: Connection, daemon: Reconciliation, neighbours: Mapping[str, Neighbour]
    ) -> Mapping[str, Session]:
        """The sessions with these, as they are now. Raises DaemonError."""
        now_s = time.time()
        there = {peers.known(peer).name: peer for peer in await daemon.list_peers()}
        counted = count_told(daemon.routes.values(), daemon.rules)
        known: dict[str, Session] = {}
        self.old = False
        for name, neighbour in neighbours.items():
            before = self.known.get(name) or unknown(neighbour.peer)
            peer = there.get(name)
            if peer is None:
                known[name] = sessions.without(before, daemon.refused.get(name) or _nobody(neighbour.peer), now_s)
                continue
            address = peers.known(peer).address
            why = self._why.pop(address, "")
            why = await self._bar(connection, neighbour.peer, peer, address) or why
            after = sessions.follow(before, peer, why, now_s)
            up = after.state == "established"
            why = after.why or ("" if up else _waiting(neighbour.peer, address))
            known[name] = msgspec.structs.replace(
                after,
                address=address,
                announced=counted[name] if up else 0,
                why=why,
                bfd="down" if neighbour.bfd is not None and after.bfd == "none" else after.bfd,
            )
            self.tally.count(name, peer)
            self.old |= peer.state is not None and peer.state.bfd_state is None
        self.known = known
        self._why.clear()
        self._down_since = {
            name: self._down_since.get(name, time.monotonic())
            for name, each in known.items()
            if each.state != "established"
        }
        self.tally.keep(known)
        return known

    def wants_bfd(self, name: str, profile: BFDProfile) -> bool:
        """Whether it is time for BFD with a peer. A session that has just come up is left alone for a moment: FRR
        begins its BFD anew then, and says that it goes down before, which GoBGP takes for a failure. Not so where a
        peer may still have to find out that an earlier daemon of ours is gone; and one that insists on BFD before
        anything else gets it after a while.
        """
        session = self.known.get(name)
        if session is None:
            return peers.detection_ms(profile) > BFD_SOON_MS
        if session.state == "established":
            return time.time() - session.since_unix_s >= BFD_AFTER_S
        waited_s = time.monotonic() - self._down_since.get(name, time.monotonic())
        return peers.detection_ms(profile) > BFD_SOON_MS or waited_s >= BFD_ANYWAY_AFTER_S

    async def _bar(self, connection: Connection, peer: Peer, said: messages.Peer, address: str) -> str:
        """Refuse, for a while, a peer of our own AS where one of another is expected; why, if it is barred."""
        state = said.state or messages.PeerState()
        now = time.monotonic()
        if state.admin_state == messages.ADMIN_DOWN:
            until, why = self._barred.get(peer.name, (0.0, ""))
            if now < until:
                return why
            await connection.tell("EnablePeer", messages.PeerRequest(address))
        elif (
            peer.dynamic_asn == "external"
            and sessions.state(said) == "established"
            and state.peer_asn == peers.local_asn(peer)
        ):
            why = f"expected a peer of another AS, not of {state.peer_asn}"
            self._barred[peer.name] = now + BARRED_S, why
            await connection.tell("DisablePeer", messages.DisablePeerRequest(address, "expected a peer of another AS"))
            return why
        return ""


def unknown(peer: Peer) -> Session:
    """Nothing is known yet."""
    return Session(peer=peer.name, address=peer.address)


def count_told(routes: Iterable[Route], rules: Mapping[int, Rule]) -> Counter[str]:
    """How many of these routes each peer is told."""
    counted: Counter[str] = Counter()
    for route, times in Counter(routes).items():
        for name in {name for tag in route.tags if tag in rules for name in rules[tag].peers}:
            counted[name] += times
    return counted


def _waiting(peer: Peer, address: str) -> str:
    """What can be said when the daemon says nothing: what to compare with the router."""
    asn = f"AS {number}" if (number := peers.expected_asn(peer)) else "another AS"
    password = ", by password" if peer.password is not None else ""
    return f"no agreement yet with {asn} at {address}, port {peer.port}{password}"


def _nobody(peer: Peer) -> str:
    return f"expected a router on {peer.interface}, found none yet" if peer.interface else ""
