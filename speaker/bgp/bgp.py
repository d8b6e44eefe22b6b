"""Makes a wish come true by GoBGP's daemon behind a unix socket: the asyncio shell around what is pure beside it.

`want` only notes what is new and wakes the one task, which follows the daemon: it learns what the daemon has, asks for
the difference (`reconciling`), and sleeps until the next wish, an event of the daemon, or a heartbeat. Whoever starts
first, and whoever is started anew: a daemon that runs is taken over as it is, so a speaker that restarts resets no
session; a daemon that has lost all is given all. A daemon that refuses, hangs or is gone costs a deadline or a wait of
this task, and nobody else.

Before the first wish nothing is touched; without peers gRPC is not even loaded, unless an earlier speaker has left a
daemon with some: it has made a file beside the socket.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from cluster.backoff import Backoff
from speaker.bgp import messages, peers, sessions
from speaker.bgp.failure import DaemonError
from speaker.bgp.places import locate, router_id
from speaker.bgp.reconciling import Reconciliation
from speaker.bgp.routes import Plan, Planner
from speaker.bgp.wish import Session, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arpfast.interfaces import Snapshot
    from cluster.config import Peer
    from cluster.watch import Log
    from speaker.bgp.places import Place
    from speaker.bgp.reconciling import Connection
    from speaker.bgp.routes import Route, Rule

HEARTBEAT_S = 3.0
AGAIN_AT_MOST_S = 1.0
AT_ONCE = 500
"""So many prefixes are worked out before others get their turn."""
REST_AT_MOST_S = 0.2
BARRED_S = 60.0
"""A peer of the wrong AS is asked again after so long."""
REASONS_AT_MOST = 1000
NO_LISTENER = -1


class BgpStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start, and the present state."""

    connected: bool
    routes: int
    """Prefixes that the daemon has from us."""
    reconciles: int
    failures: int
    """How often the daemon refused, was silent, or was gone."""
    daemon_starts: int
    """How often a daemon was found that had to be given everything."""
    announced: int
    withdrawn: int
    """Paths that the daemon was given, and told to withdraw."""


class Bgp:
    """Announces what is wanted to the peers that are wanted."""

    def __init__(
        self,
        socket: str,
        *,
        node: str,
        log: Log,
        changed: Callable[[], None] | None = None,
        listen_port: int = NO_LISTENER,
    ) -> None:
        """`socket`: the daemon's, a path; there need not be one yet. `node`: our name. `changed` is called on the event
        loop when `sessions` or `trouble` are others. Peers may only dial in if there is a `listen_port`.
        """
        self._socket, self._node, self._log, self._changed = socket, node, log, changed
        self._listen_port = listen_port
        self._mark = Path(f"{socket}.spoken")
        self._wish: Wish | None = None
        self._applied: tuple[Wish, bool, Mapping[str, Place]] | None = None
        self._snapshot: Snapshot = {}
        self._planner = Planner({})
        self._draining = False
        self._leaving: bool | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._left = asyncio.Event()
        self._known: dict[str, Session] = {}
        """As the daemon said last."""
        self._why: dict[str, str] = {}
        """Why the session at an address has ended."""
        self._barred: dict[str, tuple[float, str]] = {}
        self._trouble = ""
        self._shown: Mapping[str, Session] = MappingProxyType({})
        self._connected = False
        self._routes = 0
        self._counts = dict.fromkeys(("reconciles", "failures", "daemon_starts", "announced", "withdrawn"), 0)

    def want(self, wish: Wish) -> None:
        """Replace the whole wish. Returns at once and cannot fail: what is not possible yet is tried again."""
        self._wish = wish
        self._shown = MappingProxyType(
            {name: self._shown.get(name) or _unknown(each.peer) for name, each in wish.neighbours.items()}
        )
        self._stir()

    def interfaces(self, snapshot: Snapshot) -> None:
        """Replace the picture of this host's interfaces."""
        self._snapshot = snapshot
        self._wake.set()

    def drain(self, draining: bool = True) -> None:
        """Ask all peers to look for other ways, by GRACEFUL_SHUTDOWN (RFC 8326), or no longer. What they are told is to
        be withdrawn when they have had the time to.
        """
        self._draining = draining
        self._stir()

    async def leave(self, *, withdraw: bool = False, deadline_s: float = 5.0) -> None:
        """Before a planned stop; `run` ends with it. Peers that have graceful restart keep what they were told until we
        are back, or for its restart time; `withdraw`: they do not. The others are told that we go in either case.
        """
        self._leaving = withdraw
        self._stir()
        if self._connected:
            try:
                async with asyncio.timeout(deadline_s):
                    await self._left.wait()
            except TimeoutError:
                self._log.warning("the BGP daemon was not told in time that we leave", waited_s=deadline_s)

    async def wait_settled(self) -> None:
        """Until the daemon has what was last wanted, but for peers that it refused."""
        await self._settled.wait()

    def sessions(self) -> Mapping[str, Session]:
        """All peers that are wanted, by name, as they are at the moment."""
        return self._shown

    @property
    def trouble(self) -> str:
        """Why the daemon is of no use at the moment; empty: it is, or nothing is asked of it."""
        return self._trouble

    def statistics(self) -> BgpStatistics:
        """Counts since the start."""
        return BgpStatistics(connected=self._connected, routes=self._routes, **self._counts)

    async def run(self) -> None:
        """Do it, until cancelled, or until we have left. The daemon goes on with what it has."""
        while not self._needed():
            await self._wake.wait()
            self._wake.clear()
        rpc = await asyncio.to_thread(importlib.import_module, "speaker.bgp.rpc")
        backoff = Backoff(most_s=AGAIN_AT_MOST_S)
        while self._leaving is None or self._connected:
            connection = rpc.Connection(self._socket)
            try:
                await self._serve(connection, backoff)
            except DaemonError as error:
                self._lose(error)
            finally:
                self._connected = False
                await connection.close()
            if self._leaving is None:
                await asyncio.sleep(backoff.failed())
        self._left.set()

    def _needed(self) -> bool:
        if self._leaving is not None:
            return True
        return self._wish is not None and (bool(self._wish.neighbours) or self._mark.exists())

    def _stir(self) -> None:
        self._settled.clear()
        self._wake.set()

    async def _serve(self, connection: Connection, backoff: Backoff) -> None:
        """Keep one daemon in line, until it fails. Raises DaemonError."""
        await self._begin(connection)
        daemon = Reconciliation(connection)
        await daemon.read()
        self._applied, self._connected = None, True
        watching = asyncio.create_task(self._watch(connection))
        try:
            while self._leaving is None:
                self._wake.clear()
                began_s = time.monotonic()
                await self._reconcile(daemon)
                await self._look(connection, daemon)
                backoff.well()
                if watching.done():
                    watching.result()
                await asyncio.sleep(min(REST_AT_MOST_S, time.monotonic() - began_s))
                await self._sleep()
            await self._go(connection, daemon)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _begin(self, connection: Connection) -> None:
        """Start BGP in a daemon that has just come up."""
        assert self._wish is not None or self._leaving is not None
        wish = self._wish or Wish()
        try:
            there = await connection.ask("GetBgp", messages.Empty(), messages.GetBgpResponse)
        except DaemonError as error:
            if error.unknown:
                raise error.instead("expected GoBGP 4.6 or newer, not an older one") from None
            raise
        configured = {each.peer.router_id for each in wish.neighbours.values()} - {""}
        if there.global_ is not None and there.global_.asn:
            if configured and there.global_.router_id not in configured:
                self._log.info(
                    "the BGP daemon has to start anew for another router ID", **{"from": there.global_.router_id}
                )
                await connection.tell("StopBgp", messages.StopBgpRequest(allow_graceful_restart=True))
                raise DaemonError("StopBgp", "", "waiting for the daemon to be started anew", lost=True)
            return
        asn = min((each.peer.my_asn for each in wish.neighbours.values()), default=65535)
        identity = router_id(self._node, wish.neighbours, self._snapshot)
        self._mark.touch()
        started = messages.Global(asn, identity, self._listen_port)
        await connection.tell("StartBgp", messages.StartBgpRequest(started))
        self._counts["daemon_starts"] += 1
        self._log.info("BGP started", asn=asn, router_id=identity)

    async def _reconcile(self, daemon: Reconciliation) -> None:
        wish, draining = self._wish or Wish(), self._draining
        there = {name: locate(each.peer, self._snapshot) for name, each in wish.neighbours.items()}
        places = {name: place for name, place in there.items() if place is not None}
        if self._applied is not None and not daemon.refused:
            before, *rest = self._applied
            if before is wish and rest == [draining, places]:
                self._settle(wish)
                return
        targets = {name: place.target for name, place in places.items()}
        if targets != self._planner.targets or draining != self._planner.draining:
            self._planner = Planner(targets, draining=draining)
        for number, told in enumerate(wish.routes.values()):
            self._planner.route(told)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        wanted = {name: peers.write(wish.neighbours[name], place.address) for name, place in places.items()}
        announced, withdrawn = daemon.announced, daemon.withdrawn
        await daemon.apply(self._planner.plan(wish.routes), wanted)
        self._counts["reconciles"] += 1
        self._counts["announced"] += daemon.announced - announced
        self._counts["withdrawn"] += daemon.withdrawn - withdrawn
        self._routes = len(daemon.routes)
        self._applied = wish, draining, places
        self._settle(wish)

    def _settle(self, wish: Wish) -> None:
        if self._wish is wish and not self._wake.is_set():
            self._settled.set()

    async def _watch(self, connection: Connection) -> None:
        """Wake whenever the daemon says that a session is another."""
        request = messages.WatchEventRequest(messages.Empty())
        async for event in connection.each("WatchEvent", request, messages.WatchEventResponse, deadline_s=None):
            state = event.peer.peer.state if event.peer is not None and event.peer.peer is not None else None
            if state is not None and (why := sessions.reason(state)) and len(self._why) < REASONS_AT_MOST:
                self._why[state.neighbor_address] = why
            self._wake.set()
        raise DaemonError("WatchEvent", "", "the daemon has ended it", lost=True)

    async def _look(self, connection: Connection, daemon: Reconciliation) -> None:
        """Learn how the sessions are."""
        wish, now_s = self._wish or Wish(), time.time()
        there = {peers.known(peer).name: peer for peer in await daemon.list_peers()}
        counted = count_told(daemon.routes.values(), daemon.rules)
        known: dict[str, Session] = {}
        for name, neighbour in wish.neighbours.items():
            before = self._known.get(name) or _unknown(neighbour.peer)
            peer = there.get(name)
            if peer is None:
                known[name] = sessions.without(before, daemon.refused.get(name) or _nobody(neighbour.peer), now_s)
                continue
            address = peers.known(peer).address
            why = self._why.pop(address, "")
            why = await self._bar(connection, neighbour.peer, peer, address) or why
            after = sessions.follow(before, peer, why, now_s)
            told = counted[name] if after.state == "established" else 0
            why = after.why or ("" if after.state == "established" else _waiting(neighbour.peer, address))
            known[name] = msgspec.structs.replace(after, address=address, announced=told, why=why)
        self._known = known
        self._why.clear()
        self._show(known, "")

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

    async def _go(self, connection: Connection, daemon: Reconciliation) -> None:
        """Leave the daemon as it is to be while we are away."""
        if self._leaving:
            await daemon.apply(Plan({}, {}), {})
        else:
            await connection.tell("StopBgp", messages.StopBgpRequest(allow_graceful_restart=True))

    def _lose(self, error: DaemonError) -> None:
        self._counts["failures"] += 1
        if self._trouble != str(error):
            self._log.warning("the BGP daemon is of no use", error=str(error), socket=self._socket)
        wanted = (self._wish or Wish()).neighbours
        shown = [self._known.get(name) or _unknown(each.peer) for name, each in wanted.items()]
        self._show({each.peer: each for each in sessions.lose(shown, str(error))}, str(error))

    def _show(self, known: Mapping[str, Session], trouble: str) -> None:
        if known == self._shown and trouble == self._trouble:
            return
        for name, session in known.items():
            before = self._shown.get(name)
            if before is not None and before.state != session.state and "established" in (before.state, session.state):
                up = session.state == "established"
                tell = self._log.info if up else self._log.warning
                facts = {"peer": name, "address": session.address}
                tell(f"BGP session {'up' if up else 'down'}", **facts, **({"why": session.why} if session.why else {}))
        self._shown, self._trouble = MappingProxyType(dict(known)), trouble
        if self._changed is not None:
            self._changed()


def _unknown(peer: Peer) -> Session:
    return Session(peer=peer.name, address=peer.address)


def _waiting(peer: Peer, address: str) -> str:
    """What can be said when the daemon says nothing: what to compare with the router."""
    asn = f"AS {number}" if (number := peers.expected_asn(peer)) else "another AS"
    password = ", by password" if peer.password is not None else ""
    return f"no agreement yet with {asn} at {address}, port {peer.port}{password}"


def _nobody(peer: Peer) -> str:
    return f"expected a router on {peer.interface}, found none yet" if peer.interface else ""


def count_told(routes: Iterable[Route], rules: Mapping[int, Rule]) -> Counter[str]:
    """How many of these routes each peer is told."""
    counted: Counter[str] = Counter()
    for route, times in Counter(routes).items():
        for name in {name for tag in route.tags if tag in rules for name in rules[tag].peers}:
            counted[name] += times
    return counted
