"""This node's part in BGP: what the cluster says goes in, a wish for GoBGP's daemon comes out.

    know(world, change) --> Routes --.
    drained, cordoned ---------------+--> Wish --> Engine --gRPC--> gobgpd --> routers
                                               <-- sessions --

Who is drained, or is cordoned where that counts, asks first to be avoided (GRACEFUL_SHUTDOWN, RFC 8326), then gives up
what other nodes announce as well. What nobody else announces stays, however unloved: traffic that comes here is better
than none; and a node that is drained by hand, or has no speaker, counts as nobody. Who is told to stop does the same,
but where all peers have graceful restart: they keep what they were told until the next speaker is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from cluster.backoff import Backoff
from cluster.problems import Problem
from cluster.resources import Key
from cluster.world import Change
from speaker.bgp.deciding import Routes, neighbours
from speaker.bgp.places import local_address
from speaker.bgp.refusals import PEER, refusals
from speaker.bgp.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from arpfast.interfaces import Snapshot
    from arpfast.spans import Address
    from cluster.config import Config
    from cluster.watch import Log
    from cluster.world import World
    from speaker.bgp.traffic import Traffic
    from speaker.bgp.wish import Attributes, Prefix, Session
    from speaker.nodes import Rules

GRACE_S = 5.0
"""How long routers have to find other ways, before those that lead here end."""
LOOK_S = 1.0
ARRIVAL_S = 60.0
"""How long a start waits at most for sessions: the next node is exchanged when this one is ready."""


class Engine(Protocol):
    """What makes a wish come true: `speaker.bgp.bgp.Bgp`."""

    def want(self, wish: Wish) -> None:
        """Have this in force, instead of what was wished before."""

    def interfaces(self, snapshot: Snapshot) -> None:
        """These are the interfaces now."""

    def drain(self, draining: bool = True) -> None:
        """Ask to be avoided, or no longer."""

    async def leave(self, *, withdraw: bool = False) -> None:
        """End the sessions in order."""

    async def run(self) -> None:
        """Do it until cancelled."""

    def sessions(self) -> Mapping[str, Session]:
        """All of them, by the name of the peer."""

    def traffic(self) -> Mapping[str, Traffic]:
        """What has gone to and come from each, by the name of the peer."""

    @property
    def trouble(self) -> str:
        """Why what is wished is not in force; empty: it is."""


class Routing:
    """One speaker's."""

    def __init__(
        self,
        node: str,
        rules: Rules,
        engine: Engine | None,
        *,
        namespace: str,
        log: Log,
        lost: Callable[[], frozenset[str]],
        changed: Callable[[Collection[Key]], None],
        chosen: Callable[[str], Address | None] = local_address,
    ) -> None:
        """`engine` is None where there is no daemon; `namespace` has the BGPPeers. `lost` says which nodes cannot be
        counted on, though the cluster knows no reason; `changed` hears of Services that are announced otherwise, and
        when `problems` are others. `chosen` says by which of our addresses the kernel sends to another.
        """
        self.node, self.engine = node, engine
        self.routes = Routes(node, rules)
        self.wish = Wish()
        self.problems: tuple[Problem, ...] = ()
        """What of the configuration cannot be done here."""
        self.drained = False
        """By hand."""
        self._namespace, self._log, self._lost, self._changed = namespace, log, lost, changed
        self._chosen = chosen
        self._neighbours = self.wish.neighbours
        self._world: World | None = None
        self.known = False
        """It is known what is to be announced."""
        self._left = False
        """Others are to come before this node."""
        self._timer: asyncio.TimerHandle | None = None
        """Until they have had time to, and then until it is looked again whether they do."""
        self._parted: frozenset[str] | None = None
        """What others announce is given up; and who was lost then."""
        self._expected: set[str] = set()
        """The peers with which there has been no session since the start."""
        self._until_s = 0.0
        self._broken = ""
        """What nobody foresaw."""

    async def run(self) -> None:
        """Speak until cancelled. Whatever goes wrong with that is no reason to answer no ARP: it is begun anew."""
        backoff = Backoff()
        while self.engine is not None:
            try:
                await self.engine.run()
            except Exception as error:  # noqa: BLE001 (whatever it is)
                wait_s = backoff.failed()
                self._broken = f"speaking BGP failed: {type(error).__name__}: {error}"
                self._log.warning("speaking BGP failed", exc_info=error, again_s=round(wait_s, 1))
            else:
                return
            await asyncio.sleep(wait_s)
            self._broken = ""

    # -- what comes in -----------------------------------------------------------------------------------------------

    def know(self, world: World, change: Change) -> None:
        """This is the cluster now, of which `change` is new."""
        if change.config or not self.known:
            self._meet(world.config)
        if not self.known:
            self._expected, self._until_s = {*self._neighbours}, asyncio.get_running_loop().time() + ARRIVAL_S
        changed = self.routes.apply(world, change, self._neighbours)
        self._turn(changed, first=not self.known)
        self.known, self._world = True, world

    def interfaces(self, snapshot: Snapshot) -> None:
        """These are the interfaces of this node now: whether a peer can be spoken with may hang on them."""
        if self.engine is not None:
            self.engine.interfaces(snapshot)
        if self._world is None or not any(peer.source_address for peer in self._world.config.peers):
            return
        before = self.problems
        self._meet(self._world.config)
        if self.problems != before:
            self._turn(self.routes.apply(self._world, Change(), self._neighbours))

    def drain(self, *, undo: bool = False) -> None:
        """Let others come first, or no longer."""
        self.drained = not undo
        if self.known:
            self._turn(frozenset())

    async def leave(self) -> None:
        """Let others take over, then end the sessions in order."""
        if self.engine is None:
            return
        stays = not self._left
        sessions = self.engine.sessions()
        there = [
            each.peer
            for name, each in self._neighbours.items()
            if name in sessions and sessions[name].state == "established"
        ]
        if stays and self.wish.routes and not all(peer.graceful_restart for peer in there):
            self.engine.drain()
            await asyncio.sleep(GRACE_S)
        if self._timer is not None:
            self._timer.cancel()
        await self.engine.leave(withdraw=not stays)

    def _meet(self, config: Config) -> None:
        """Speak with the peers of this node that can be spoken with."""
        ours = [peer for peer in config.peers if self.node in peer.nodes]
        if self.engine is not None:
            names = {peer.name for peer in ours}
            self.problems = tuple(
                each for each in refusals(config, self._namespace, self._chosen) if each.key.name in names
            )
        else:
            expected = "a speaker that knows of GoBGP's daemon (--gobgp)"
            self.problems = tuple(
                Problem(PEER, Key(self._namespace, peer.name), "spec", peer.address or peer.interface, expected)
                for peer in ours
            )
        self._neighbours = neighbours(config, self.node, {problem.key.name for problem in self.problems})

    # -- what comes out ----------------------------------------------------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether others are to come before this node."""
        return self.drained or self.routes.avoided

    def _turn(self, changed: Collection[Key], *, first: bool = False) -> None:
        """Wish for what is right now. These Services are announced otherwise than before, or all may be."""
        turned = self.leaving is not self._left
        if turned:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._left, self._parted = self.leaving, None
            if self._left:
                if first:  # routers have had the time before
                    self._parted = self._lost()
                self._timer = asyncio.get_running_loop().call_later(LOOK_S if first else GRACE_S, self._part)
            if self.engine is not None:
                self.engine.drain(self._left)
        self._want(first=first)
        self._changed({*self.routes.shares, *changed} if turned else changed)

    def _part(self) -> None:
        """Give up what others announce as well, and look every now and then whether they still do."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._part)
        lost = self._lost()
        if lost != self._parted:
            self._parted = lost
            self._want()
            self._changed({*self.routes.shares})

    def _want(self, *, first: bool = False) -> None:
        wish = Wish(neighbours=self._neighbours, routes=self._wanted())
        if first or wish != self.wish:
            self.wish = wish
            if self.engine is not None:
                self.engine.want(wish)

    def _wanted(self) -> Mapping[Prefix, Mapping[str, Attributes]]:
        routes = self.routes
        return MappingProxyType(dict(routes.routes) if self._parted is None else routes.needed(self._parted))

    # -- what is asked -----------------------------------------------------------------------------------------------

    def told(self, key: Key) -> frozenset[str]:
        """The peers to which a Service is announced."""
        share = self.routes.shares.get(key)
        routes = () if share is None else share.routes
        return frozenset(peer for prefix in routes for peer in self.wish.routes.get(prefix, ()))

    def asked(self) -> Mapping[str, int]:
        """How many prefixes each peer is to be told."""
        return Counter(peer for told in self.wish.routes.values() for peer in told)

    def sessions(self) -> Mapping[str, Session]:
        """Those with the peers of this node."""
        return {} if self.engine is None else self.engine.sessions()

    def traffic(self) -> Mapping[str, Traffic]:
        """What has gone to and come from them since the start, where anything has."""
        return {} if self.engine is None else self.engine.traffic()

    @property
    def arriving(self) -> str:
        """Which peers of the start have not been met yet, for a while; empty: none."""
        if self._expected:
            sessions = self.sessions()
            met = {name for name in self._expected if name in sessions and sessions[name].state == "established"}
            self._expected = (self._expected & self._neighbours.keys()) - met
            if asyncio.get_running_loop().time() > self._until_s:
                self._expected.clear()
        return ", ".join(sorted(self._expected))

    @property
    def trouble(self) -> str:
        """Why what is announced is not in force; empty: it is, or nothing is."""
        return self._broken or self.engine.trouble if self.engine is not None and self._neighbours else ""
