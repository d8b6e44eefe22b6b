"""This node's seat in the ring of speakers: what the cluster says goes in, what is answered here comes out.

    know(world, change) --> Decider --> Electorate --.
    meet(addresses) ---------------------------------+--> Ring --> answers, by interface --> announcer
    interfaces, facts, gossip -----------------------'

The ring is `arpfast.ring`'s, as are claims, hand-over and watches; only who may own what is decided here. The seat is
taken when the cluster and the other speakers are known: who knew of nobody would take everything. From then on the
API server may be gone: owners are succeeded by what is known.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from arpfast.announcer import Settings as Wish
from arpfast.conflicts import ConflictPolicy
from arpfast.gossip.endpoints import Target
from arpfast.gossip.node import Node
from arpfast.gossip.settings import Settings as GossipSettings
from arpfast.gossip.timing import LAN, RING
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.ring.ring import Ring
from arpfast.ring.standing import META
from arpfast.ring.telling import address_state, news, ring_state
from arpfast.ring.watching import Watching
from arpfast.spans import NOTHING, Span, Spans
from speaker.decide import Decider
from speaker.electorate import Electorate
from speaker.members import others
from speaker.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from arpfast.announcer import Announcer
    from arpfast.gossip.keys import Key
    from arpfast.inspection import Event as Told
    from arpfast.interfaces import Interface
    from arpfast.responder import Responder
    from arpfast.ring.orders import Event
    from arpfast.ring.telling import AddressState, RingState
    from arpfast.spans import Version
    from cluster.world import Change, World
    from speaker.settings import Settings

LEAVE_S = 5.0
"""How long who is told to stop takes at most to hand over."""
STANDBY_S = 0.2
"""How long it may take to join the groups of what others answer for: who is to answer now comes first."""


class Seat:
    """One speaker's."""

    def __init__(
        self,
        settings: Settings,
        keys: tuple[Key, ...],
        *,
        announcer: Announcer,
        responder: Responder,
        report: Callable[[Told], None],
        changed: Callable[[Spans, Spans], None],
    ) -> None:
        """`changed` is told what is owned here no longer, and what is from now on, or otherwise than before."""
        self.settings = settings
        self.decider = Decider(settings.rules)
        self.electorate = Electorate({})
        self.places = Places(settings.node)
        self.names: frozenset[str] = frozenset()
        """The names of the interfaces that are used."""
        self.used: tuple[Interface, ...] = ()
        self.owned = NOTHING
        self._announcer, self._report, self._changed = announcer, report, changed
        self._others: tuple[str, ...] = ()
        self._standby = NOTHING
        self._joining: asyncio.TimerHandle | None = None
        self._open = False
        self._known, self._met = asyncio.Event(), asyncio.Event()
        self.ring = Ring(
            settings.node,
            settings.ring(()),
            answer=self._answer,
            announce=announcer.announce,
            watching=Watching(responder, settings.profile, announcer.members, scope=self),
            report=self._tell,
        )
        timing = LAN if settings.with_metallb else RING
        self.node = Node(
            GossipSettings(
                name=settings.node, bind=settings.address, port=settings.port, keys=keys, timing=timing, meta=META
            ),
            self.ring,
        )

    async def run(self) -> None:
        """Take the seat as soon as can be, until cancelled. Raises OSError if this node's address is not its own."""
        await self._known.wait()
        await self._met.wait()
        try:
            await self.node.open()
            self._open = True
            self._join()
            await self.ring.run(self.node)
        finally:
            if self._joining is not None:
                self._joining.cancel()
            await self.node.close()

    # -- what comes in -----------------------------------------------------------------------------------------------

    def know(self, world: World, change: Change) -> None:
        """This is the cluster now, of which `change` is new."""
        changed = self.decider.apply(world, change)
        if changed or not self._known.is_set():
            decisions = self.decider.decisions
            self.electorate = self.electorate.replaced(decisions, changed)
            moved = self.places.learn(decisions, changed)
            self.ring.elect_by(self.electorate, Spans(changed), self.settings.ring(self._others))
            if self._joining is None and Spans(changed).of_version(6):
                self._joining = asyncio.get_running_loop().call_later(STANDBY_S, self._join_groups)
            again = self.owned & Spans(changed)
            if moved:
                self._look_for_carriers()
                if again:
                    self._answer(*self.ring.share)
            if again:  # as it is decided now
                self._changed(NOTHING, again)
        self._known.set()

    def meet(self, addresses: Collection[str]) -> None:
        """These are the speakers' addresses now."""
        found = others(addresses, self.settings.address)
        if found != self._others or not self._met.is_set():
            self._others = found
            self._join()
        self._met.set()

    def interfaces(self, used: Iterable[Interface]) -> None:
        """Replace the interfaces that are answered on."""
        self.used = tuple(used)
        names = frozenset(interface.name for interface in self.used)
        if names != self.names:
            self.names = names
            if elsewhere := self.owned & self.places.restricted:
                self._changed(NOTHING, elsewhere)
        self._look_for_carriers()
        self.ring.interfaces(self.used)

    def _look_for_carriers(self) -> None:
        """Leave to others what is to be answered where this node cannot be heard, though gossip goes another way.
        MetalLB's speakers would not know of it, and two would answer.
        """
        if not self.settings.with_metallb:
            stranded = self.places.stranded(self.used)
            if stranded != self.ring.ownership.me.unhealthy:
                self.ring.unhealthy(stranded)

    def _join(self) -> None:
        port = self.settings.port
        self.ring.others = {str(Target(address, port)): str(ip_address(address)) for address in self._others}
        if self._open:
            self.node.set_join(self.ring.others)
        self.ring.elect_by(self.electorate, NOTHING, self.settings.ring(self._others))

    # -- what is asked -----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it takes part."""
        return self.ring.ownership.settled

    def singles(self, spans: Spans) -> Iterable[Span]:
        """The single addresses of these that are decided about."""
        decisions = self.decider.decisions
        for version, first, last in spans:
            yield from filter(decisions.__contains__, (Span(version, one, one) for one in range(first, last + 1)))

    @property
    def met(self) -> bool:
        """Whether it is known where other speakers may be."""
        return self._met.is_set()

    async def leave(self) -> None:
        """Hand over what others can take, and leave; within LEAVE_S, and a second for the good-bye."""
        if self.ring.node is not None:
            await self.ring.leave(LEAVE_S)

    def status(self) -> RingState:
        """The ring as it is seen from here."""
        return ring_state(self.ring.ownership, self.settings.profile, self.ring.absent())

    def explain(self, version: Version, value: int) -> AddressState:
        """Who owns an address, and why."""
        return address_state(self.ring.ownership, version, value)

    # -- as `arpfast.ring.watching.Scope` ----------------------------------------------------------------------------

    def on(self, interface: str, spans: Spans) -> Spans:
        """What of these we would answer on one of our interfaces."""
        return self.places.on(interface, spans)

    def everywhere(self, spans: Spans) -> Spans:
        """What of these is answered by any member on whatever interface it is asked."""
        return spans - self.places.restricted

    # -- what comes out ----------------------------------------------------------------------------------------------

    def _answer(self, owned: Spans, fresh: Spans) -> None:
        announce = self.settings.announce
        wish = Wish(
            self.settings.choice,
            AnnounceSettings(
                probe=ProbeMode(announce.probe),
                repeat=announce.repeat,
                refresh_s=announce.refresh_s or 0.0,
                conflict=ConflictPolicy.DEFEND,
            ),
            standby=self.electorate.spans.of_version(6),
        )
        self._standby = wish.standby
        self._announcer.want(self.places.answers(owned, fresh), wish)
        self._announcer.act()
        before, self.owned = self.owned, owned
        if owned != before:
            self._changed(before - owned, owned - before)

    def _join_groups(self) -> None:
        """Join those of what may have to be answered at any moment, unless a wish has had it meanwhile."""
        self._joining = None
        if self._standby != self.electorate.spans.of_version(6):
            self._answer(*self.ring.share)

    def _tell(self, event: Event) -> None:
        self._report(news(event))
