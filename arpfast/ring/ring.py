"""The ring with its sockets and its clock: the shell around `Ownership`, which has all the rules.

    gossip/node.py --members, standings-->                --answers--> announcer --> responder
    responder's thread --facts---------->   Ownership     --watches, heirs, members--> responder
    interfaces.py, checks, drain ------->                 --standing, condemn, exchange--> gossip/node.py

Every input wakes one turn, on the event loop. A turn is carried out in this order: what to answer (in the same turn,
before anybody is told), the watches, then the standing. So nobody hears of a claim that is not answered yet, and who
hands over stops only once it has heard.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from arpfast.crossing import FactKind
from arpfast.interfaces import networks
from arpfast.ring.configured import Absent, absent, strangers
from arpfast.ring.orders import Event, Orders, terms
from arpfast.ring.ownership import Ownership
from arpfast.ring.parts import Parts
from arpfast.ring.reaching import links
from arpfast.ring.roster import Gossip, Wire
from arpfast.ring.standing import META, Standing, decode_all, decode_news, encode, encode_all
from arpfast.ring.timeline import Timeline
from arpfast.ring.watching import Shown
from arpfast.spans import NOTHING, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.crossing import Fact
    from arpfast.gossip.members import Member, State
    from arpfast.gossip.node import Node
    from arpfast.interfaces import Interface
    from arpfast.ring.electorate import Electorate
    from arpfast.ring.settings import RingSettings
    from arpfast.ring.watching import Watching

SETTLE_S, SETTLE_AGAIN_S = 3.0, 1.0
"""How long at most a member that starts, or stood aside, waits for the others' word."""
ASK_AGAIN_S, LOOK_S = 0.25, 0.01
BROADCAST_AT_MOST = 1200
"""A longer standing does not fit a packet of the gossip: it is sent to each member over a stream."""
CONFLICT_EVERY_S = 60.0
RIVALS_S = 0.1
"""How long announcements of others for what is ours are collected. Their claim is mostly on its way."""
DIRECT_AT_MOST = 32
"""In a ring of so many, a standing is also sent to every member directly; gossip alone takes a few intervals."""
STANDING = b"\x01"
"""How a user message of ours begins; others are passed over."""


class Ring:
    """One member of a ring, as its `Listener` and as the daemon's part."""

    def __init__(
        self,
        name: str,
        settings: RingSettings,
        *,
        answer: Callable[[Spans, Spans], None],
        announce: Callable[[Spans], None],
        watching: Watching,
        report: Callable[[Event], None],
    ) -> None:
        """`answer` is told what to answer for, and what of that to probe first, and has it done before it returns;
        `announce` is told what of that to announce again, `report` what a person may want to know.
        """
        self.settings = settings
        self.timeline = Timeline()
        self.parts = Parts()
        self.ownership = Ownership(Standing(name, int(time.time() * 1000), weight=settings.weight), terms(settings))
        self.node: Node | None = None
        self.draining = False
        self._answer, self._announce, self._watching, self._report = answer, announce, watching, report
        self._macs: dict[bytes, str] = {}
        self._turning = False
        self._rivals: dict[str, list[Span]] = {}
        """What members announced, though we answer for it."""
        self._settling_rivals: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._settling: asyncio.Task[None] | None = None
        self._handed_over = asyncio.Event()
        self._looked = asyncio.Event()
        """The interfaces are known."""
        self._merges = 0
        self._conflict_s = float("-inf")
        self.others: dict[str, str] = {}
        """The addresses of the other configured members, by how the gossip writes them."""
        self.share = NOTHING, NOTHING
        """What we own, and what of that was nobody's before."""
        self.counts = {"turns": 0, "refused": 0, "published": 0, "frozen": 0, "inherited": 0}

    # -- the daemon's side -------------------------------------------------------------------------------------------

    async def run(self, node: Node) -> None:
        """Take part by way of `node`, which is open, until cancelled."""
        self.node = node
        for member in node.members():
            self.changed(member, None)
        self._settle_again()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.node = None
            if self._settling is not None:
                self._settling.cancel()
            for timer in (self._deadline, self._settling_rivals):
                if timer is not None:
                    timer.cancel()

    def want(self, own: Spans, proxied: Spans, settings: RingSettings) -> None:
        """Replace what the ring answers for and how."""
        self._follow(settings)
        self.ownership.want(own, proxied)
        self.wake()

    def elect_by(self, electorate: Electorate, news: Spans, settings: RingSettings) -> None:
        """Replace what the ring answers for, who may, and how; `news` are the addresses that this is about."""
        self._follow(settings)
        self.ownership.elect_by(electorate, news)
        self.wake()

    def _follow(self, settings: RingSettings) -> None:
        self.settings = settings
        self.ownership.terms = terms(settings)
        self.ownership.be(weight=settings.weight)
        self._watching.profile(settings.profile)

    def interfaces(self, used: Iterable[Interface]) -> None:
        """Replace the picture of the interfaces in use."""
        interfaces = list(used)
        carrying = [interface for interface in interfaces if interface.carrier]
        if self.ownership.me.carrier and not carrying and self.ownership.settled:
            self.ownership.stand_aside("no interface has a carrier")
        elif carrying and not self.ownership.me.carrier:
            self._settle_again()
        self.ownership.be(
            carrier=bool(carrying),
            macs=tuple(sorted(interface.mac for interface in interfaces)),
            networks=networks(carrying or interfaces),
            links=links(carrying),
        )
        self._watching.interfaces(interfaces)
        self._looked.set()
        self.wake()

    def unanswered(self, spans: Spans) -> None:
        """Replace what we cannot answer yet, or because another host has it."""
        if spans != self.ownership.unanswered:
            self.ownership.unanswered = spans
            self.wake()

    def unhealthy(self, spans: Spans) -> None:
        """Replace what the health checks say cannot be served here."""
        self.ownership.be(unhealthy=spans)
        self.wake()

    def drain(self, *, undo: bool = False) -> Spans:
        """Hand everything over, or stop doing so; what is still held."""
        self.draining = not undo
        self.ownership.be(drained=self.draining)
        self._note("draining" if self.draining else "drain undone", spans=self.ownership.owned)
        self.wake()
        return self.ownership.owned

    async def leave(self, within_s: float) -> None:
        """Hand over what others can take, then leave the ring; not later than `within_s` from now."""
        until_s = time.monotonic() + within_s
        self.drain()
        await asyncio.sleep(0)
        while (held := self.ownership.to_hand_over()) and time.monotonic() < until_s:
            self._handed_over.clear()
            try:
                await asyncio.wait_for(self._handed_over.wait(), until_s - time.monotonic())
            except TimeoutError:
                self._note("left with addresses in hand", spans=held, why="nobody took them in time")
        if self.node is not None:
            await self.node.leave(max(0.1, min(1.0, until_s - time.monotonic())))

    def facts(self, facts: list[Fact]) -> None:
        """What the responder's thread has told."""
        now, news = time.monotonic(), False
        for fact in facts:
            match fact.kind:
                case FactKind.FROZEN:
                    self.counts["frozen"] += 1
                    self.ownership.stand_aside(f"it stood still for {fact.span_ns / 1e9:.3f} s")
                    self._settle_again()
                    news = True
                case FactKind.RIVAL:
                    if (name := self._macs.get(fact.mac)) is not None:
                        self._rivals.setdefault(name, []).append(Span(fact.version, fact.address, fact.address))
                case _:
                    if (told := self._watching.fact(fact)) is not None:
                        self.counts["inherited"] += bool(told.inherited)
                        if told.heard:
                            self.ownership.roster.heard(told.name, told.network)
                        if told.inherited:
                            self.ownership.inherited(told.name, told.inherited, told.network)
                        else:
                            shown, silent = self._watching.shown(told.name)
                            self.ownership.wire(told.name, shown, now, silent)
                        news = True
        if news:
            self.turn()
        if self._rivals and self._settling_rivals is None:
            self._settling_rivals = asyncio.get_running_loop().call_later(RIVALS_S, self._settle_with_rivals)

    def _settle_with_rivals(self) -> None:
        """A member that takes thousands of addresses announces each: one exchange settles them all."""
        self._settling_rivals = None
        rivals, self._rivals = self._rivals, {}
        for name, spans in rivals.items():
            self.ownership.rival(name, Spans(spans))
        self.turn()

    # -- the gossip's side (`Listener`) ------------------------------------------------------------------------------

    def changed(self, member: Member, _before: State | None, /) -> None:
        """The gossip has changed its mind about a member."""
        if member.name == self.ownership.me.name:
            return
        self.ownership.gossip(member.name, Gossip[member.state.name], ours=member.meta.startswith(META))
        self.wake()

    def heard(self, payload: bytes) -> None:
        """A user message came."""
        if not payload.startswith(STANDING):
            return
        try:
            standing = decode_news(payload[len(STANDING) :], self.ownership.serials())
        except ValueError:
            self.counts["refused"] += 1
            return
        if standing is not None and self._is_news(standing):
            if self.node is not None and len(payload) <= BROADCAST_AT_MOST:
                self.node.broadcast(standing.name, payload)
            self.turn()

    def state(self) -> bytes:
        """All standings that we know, for an exchange."""
        return encode_all(self.ownership.standings())

    def conflict(self, member: Member, address: str, port: int) -> None:
        """Another host claims the name of a member: two hosts must not have one name."""
        now = time.monotonic()
        if now - self._conflict_s > CONFLICT_EVERY_S:
            self._conflict_s = now
            self._note("name claimed twice", member=member.name, why=f"{address} port {port} claims it as well")

    def refused(self, target: str, why: str) -> None:
        """A configured member does not understand us: no host that is down. Who has yet to settle tells then."""
        if self.ownership.settled:
            self._note("not everybody could be heard", why=f"{target}: {why}")

    def merge(self, state: bytes, join: bool) -> None:
        """All standings that the other side knows."""
        del join
        self._merges += 1
        news = [self._is_news(standing) for standing in decode_all(state, self.ownership.serials())]
        if any(news):
            self.wake()

    def _is_news(self, standing: Standing) -> bool:
        news = self.ownership.standing(standing)
        if self.ownership.said is None:  # the others have something later by our name: they must hear from us
            self.wake()
        return news

    # -- turns -------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have a turn soon."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self.turn)

    def turn(self) -> None:
        """Carry out what follows from what came in."""
        self._turning = False
        self.counts["turns"] += 1
        now = time.monotonic()
        if self.settings.quorum and self.node is not None:
            self.ownership.strangers = strangers(self.node.members(), self.settings.addresses)
        orders = self.ownership.orders(now)
        self._carry_out(orders)
        if self._deadline is not None:
            self._deadline.cancel()
        due = self.ownership.next_deadline(now)
        self._deadline = None if due is None else asyncio.get_running_loop().call_later(max(0.0, due - now), self.turn)
        if not self.ownership.to_hand_over():
            self._handed_over.set()

    def _carry_out(self, orders: Orders) -> None:
        if (share := (orders.answers, orders.fresh)) != self.share:
            self.share = share
            self._answer(*share)
        if orders.announce:
            self._announce(orders.announce)
        standings = self.ownership.standings()
        self._macs = {mac: name for name, standing in standings.items() for mac in standing.macs}
        ballot = self.ownership.ballot
        self._watching.want(orders.watch, orders.heirs, standings, {} if ballot is None else ballot.owners)
        self._see(orders.watch)
        for event in orders.events:
            self._note(event.event, member=event.member, spans=event.spans, why=event.why)
        node = self.node
        if node is None:
            return
        if orders.standing is not None:
            self._publish(node, orders.standing)
        if orders.settle:
            self._settle_again()
        for name in orders.condemn:
            node.condemn(name)
        for name in orders.exchange:
            node.exchange(name)

    def _see(self, watched: tuple[str, ...]) -> None:
        """Let the rules know which doubted members are watched by now."""
        now = time.monotonic()
        for name, witness in self.ownership.roster.witnesses.items():
            shown, silent = self._watching.shown(name) if name in watched else Shown(None)
            shown = shown or Wire.CUT if name in watched else None
            if (shown, silent) != (witness.wire, witness.silent):
                self.ownership.wire(name, shown, now, silent)
                self.wake()

    def _publish(self, node: Node, standing: Standing) -> None:
        self.counts["published"] += 1
        payload = STANDING + encode(standing)
        others = [name for name, witness in self.ownership.roster.witnesses.items() if witness.ours]
        if len(payload) <= BROADCAST_AT_MOST:
            node.broadcast(standing.name, payload)
        if len(payload) > BROADCAST_AT_MOST or len(others) <= DIRECT_AT_MOST:
            node.send(payload, *others)

    def _settle_again(self) -> None:
        if self.node is not None:
            if self._settling is not None:
                self._settling.cancel()
            self._settling = asyncio.create_task(self._settle(self.node))

    async def _settle(self, node: Node) -> None:
        """Hear everybody who can be reached, then take part. Who was cut off or frozen does not know who that is: it
        asks also those whom it believes dead.
        """
        await self._looked.wait()
        merges = self._merges
        names = [name for name, witness in self.ownership.roster.witnesses.items() if witness.ours]
        begun_s = asked_s = time.monotonic()
        within_s = SETTLE_AGAIN_S if names else SETTLE_S
        for name in names:
            node.exchange(name)
        while self._merges - merges < len(names) or not self._everybody_heard(node):
            now = time.monotonic()
            if now - begun_s > within_s:
                unheard = [f"{missing.target}: {missing.why}" for missing in node.missing()]
                self._note("not everybody could be heard", why="; ".join(unheard) or f"within {within_s:g} s")
                break
            if now - asked_s > ASK_AGAIN_S:
                asked_s = now
                for name in names:
                    node.exchange(name)
            await asyncio.sleep(LOOK_S)
        else:
            if refused := [f"{missing.target}: {missing.why}" for missing in self.absent().unheard if missing.refused]:
                self._note("not everybody could be heard", why="; ".join(refused))
        if not self.ownership.me.carrier:
            return
        self.ownership.settle(time.monotonic())
        self.turn()
        self._watching.resume()

    def _everybody_heard(self, node: Node) -> bool:
        """Whether every configured member has joined and told its standing, or cannot be reached."""
        waited_for = {missing.target for missing in node.missing()}
        members = {member.address: member.name for member in node.members()}
        witnesses = self.ownership.roster.witnesses
        for target, address in self.others.items():
            if target in waited_for:
                continue
            witness = witnesses.get(members.get(address, ""))
            if witness is None or (witness.can_be_heard and witness.standing is None):
                return False
        return True

    def absent(self) -> Absent:
        """Who of the configured members is not heard, and why."""
        node = self.node
        return Absent() if node is None else absent(node.missing(), node.members(), self.others)

    def _note(self, event: str, *, member: str = "", spans: Spans = NOTHING, why: str = "") -> None:
        self.parts.note(event, member, time.monotonic())
        self.timeline.note(time.time(), event, member=member, spans=spans, why=why)
        self._report(Event(event, member, spans, why))
