"""Makes a wish come true by GoBGP's daemon behind a unix socket: the asyncio shell around what is pure beside it.

`want` only notes what is new and wakes the one task, which follows the daemon: it learns what the daemon has, asks for
the difference (`reconciling`), and sleeps until the next wish, an event of the daemon, or a heartbeat. Whoever starts
first, and whoever is started anew: a daemon that runs is taken over as it is, so a speaker that restarts resets no
session; a daemon that has lost all is given all. A daemon that refuses, hangs or is gone costs a deadline or a wait of
this task, and nobody else.

Before the first wish, and before the interfaces are known, nothing is touched; without peers gRPC is not even loaded,
unless an earlier speaker has left a daemon with some: it has made a file beside the socket.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cluster.backoff import Backoff
from speaker.bgp import messages, peers, sessions
from speaker.bgp.failure import DaemonError
from speaker.bgp.following import Following, unknown
from speaker.bgp.places import locate, router_id
from speaker.bgp.reconciling import Reconciliation
from speaker.bgp.routes import Plan, Planner
from speaker.bgp.unnumbered import Finder
from speaker.bgp.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arpfast.interfaces import Snapshot
    from cluster.config import BFDProfile
    from cluster.watch import Log
    from speaker.bgp.places import Place
    from speaker.bgp.reconciling import Connection
    from speaker.bgp.traffic import Traffic
    from speaker.bgp.wish import Session

HEARTBEAT_S = 3.0
LOOK_AGAIN_S = 1.0
"""While a router is looked for, or BFD is to begin."""
AGAIN_AT_MOST_S = 1.0
AT_ONCE = 500
"""So many prefixes are worked out before others get their turn."""
REST_AT_MOST_S = 0.2
NO_LISTENER = -1
TOO_OLD = "expected GoBGP 4.6 or newer, not an older one"


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


class _Asked(NamedTuple):
    """What the daemon was asked for last."""

    wish: Wish
    draining: bool
    places: Mapping[str, Place]
    with_bfd: set[str]

    def same(self, other: _Asked) -> bool:
        return self.wish is other.wish and self[1:] == other[1:]

    @property
    def pending(self) -> bool:
        """Whether time alone may bring more."""
        neighbours = self.wish.neighbours
        return len(self.places) < len(neighbours) or len(self.with_bfd) < sum(
            each.bfd is not None for each in neighbours.values()
        )


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
        self._asked: _Asked | None = None
        self._snapshot: Snapshot | None = None
        self._finder = Finder()
        self._planner = Planner({})
        self._draining = False
        self._leaving: bool | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._left = asyncio.Event()
        self._following = Following(self._wake.set)
        self._trouble = ""
        self._shown: Mapping[str, Session] = MappingProxyType({})
        self._connected = False
        self._router_id = ""
        self._routes = 0
        self._counts = dict.fromkeys(("reconciles", "failures", "daemon_starts", "announced", "withdrawn"), 0)

    def want(self, wish: Wish) -> None:
        """Replace the whole wish. Returns at once and cannot fail: what is not possible yet is tried again."""
        self._wish = wish
        self._shown = MappingProxyType(
            {name: self._shown.get(name) or unknown(each.peer) for name, each in wish.neighbours.items()}
        )
        self._stir()

    def interfaces(self, snapshot: Snapshot) -> None:
        """Replace the picture of this host's interfaces. Nothing is begun without one: what routers are told to send
        to depends on it.
        """
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

    def traffic(self) -> Mapping[str, Traffic]:
        """What has gone to and come from each of them since our start."""
        return self._following.tally.counted

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
            except (DaemonError, ValueError) as error:  # ValueError: a wish that cannot be written
                self._lose(str(error))
            finally:
                self._connected = False
                await connection.close()
            if self._leaving is None:
                await asyncio.sleep(backoff.failed())
        self._left.set()

    def _needed(self) -> bool:
        if self._leaving is not None:
            return True
        if self._wish is None or self._snapshot is None:
            return False
        return bool(self._wish.neighbours) or self._mark.exists()

    def _stir(self) -> None:
        self._settled.clear()
        self._wake.set()

    async def _serve(self, connection: Connection, backoff: Backoff) -> None:
        """Keep one daemon in line, until it fails. Raises DaemonError."""
        if not await self._begin(connection):
            backoff.well()
            await self._sleep()
            return
        daemon = Reconciliation(connection)
        await daemon.read()
        self._asked, self._connected = None, True
        await self._following.look(connection, daemon, (self._wish or Wish()).neighbours)
        watching = asyncio.create_task(self._following.listen(connection))
        try:
            while self._leaving is None:
                self._wake.clear()
                began_s = time.monotonic()
                await self._check_identity(connection)
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

    async def _look(self, connection: Connection, daemon: Reconciliation) -> None:
        known = await self._following.look(connection, daemon, (self._wish or Wish()).neighbours)
        self._show(known, TOO_OLD if self._following.old else "")

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN_S if self._asked is None or self._asked.pending else HEARTBEAT_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _begin(self, connection: Connection) -> bool:
        """Start BGP in a daemon that has just come up; whether there is any use for it."""
        try:
            there = await connection.ask("GetBgp", messages.Empty(), messages.GetBgpResponse)
        except DaemonError as error:
            if error.unknown:
                raise error.instead(TOO_OLD) from None
            raise
        if there.global_ is not None and there.global_.asn:
            self._router_id = there.global_.router_id
            return True
        neighbours = (self._wish or Wish()).neighbours
        if not neighbours:
            self._trouble = ""
            return False
        try:
            self._mark.touch()
        except OSError as error:
            self._log.warning("cannot leave a mark beside the BGP daemon's socket", error=str(error))
        asn = min(each.peer.my_asn for each in neighbours.values())
        self._router_id = router_id(self._node, neighbours, self._snapshot or {})
        started = messages.Global(asn, self._router_id, self._listen_port)
        await connection.tell("StartBgp", messages.StartBgpRequest(started))
        self._counts["daemon_starts"] += 1
        self._log.info("BGP started", asn=asn, router_id=self._router_id)
        return True

    async def _check_identity(self, connection: Connection) -> None:
        """A daemon has one router ID for its whole life; DaemonError, if it is over with that."""
        wanted = {each.peer.router_id for each in (self._wish or Wish()).neighbours.values()} - {""}
        if wanted and self._router_id not in wanted:
            self._log.info("the BGP daemon has to start anew for another router ID", wanted=", ".join(sorted(wanted)))
            await connection.tell("StopBgp", messages.StopBgpRequest(allow_graceful_restart=True))
            raise DaemonError("StopBgp", "", "expected the daemon to be started anew, for another router ID", lost=True)

    async def _reconcile(self, daemon: Reconciliation) -> None:
        wish, snapshot, now_s = self._wish or Wish(), self._snapshot or {}, time.monotonic()
        there = {name: locate(each.peer, snapshot, self._finder, now_s) for name, each in wish.neighbours.items()}
        places = {name: place for name, place in there.items() if place is not None}
        with_bfd = {name for name in places if self._wants_bfd(name, wish.neighbours[name].bfd, daemon)}
        asked = _Asked(wish, self._draining, places, with_bfd)
        if self._asked is None or daemon.refused or not self._asked.same(asked):
            await self._apply(daemon, asked)
            self._asked = asked
        if self._wish is wish and not self._wake.is_set():
            self._settled.set()

    def _wants_bfd(self, name: str, profile: BFDProfile | None, daemon: Reconciliation) -> bool:
        """What has begun goes on: a peer that hears nothing more takes us for dead."""
        if profile is None:
            return False
        known = daemon.peers.get(name)
        return (known is not None and known.soft[1]) or self._following.wants_bfd(name, profile)

    async def _apply(self, daemon: Reconciliation, asked: _Asked) -> None:
        targets = {name: place.target for name, place in asked.places.items()}
        if targets != self._planner.targets or asked.draining != self._planner.draining:
            self._planner = Planner(targets, draining=asked.draining)
        for number, told in enumerate(asked.wish.routes.values()):
            self._planner.route(told)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        wanted = {
            name: peers.write(asked.wish.neighbours[name], place.address, bfd=name in asked.with_bfd)
            for name, place in asked.places.items()
        }
        announced, withdrawn = daemon.announced, daemon.withdrawn
        await daemon.apply(self._planner.plan(asked.wish.routes), wanted)
        self._counts["reconciles"] += 1
        self._counts["announced"] += daemon.announced - announced
        self._counts["withdrawn"] += daemon.withdrawn - withdrawn
        self._routes = len(daemon.routes)

    async def _go(self, connection: Connection, daemon: Reconciliation) -> None:
        """Leave the daemon as it is to be while we are away."""
        if self._leaving:
            await daemon.apply(Plan({}, {}), {})
        else:
            await connection.tell("StopBgp", messages.StopBgpRequest(allow_graceful_restart=True))

    def _lose(self, why: str) -> None:
        self._counts["failures"] += 1
        if self._trouble != why:
            self._log.warning("the BGP daemon is of no use", error=why, socket=self._socket)
        wanted = (self._wish or Wish()).neighbours
        known = [self._following.known.get(name) or unknown(each.peer) for name, each in wanted.items()]
        self._show({each.peer: each for each in sessions.lose(known, why)}, why if wanted else "")

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
