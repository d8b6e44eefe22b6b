"""Makes a wish come true: the asyncio shell around `Duties`, which has all the rules and none of the sockets.

    wish -------.                       .--> groups.py: solicited-node joins
    snapshot ---+--> Duties --orders--> +--> responder: tables, then messages
    facts ------+       ^               '--> report: events for people
    time -------'       '-- joined

`want` and `interfaces` only note what is new and wake the one task, which sleeps until the next deadline, a fact, or a
wish. What the responder refuses for now (a full queue, an interface in trouble) is kept and tried again; nothing that
fails here stops the rest. All on the event loop's thread; the responder's own thread sees finished tables only.
"""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING

from arpfast.answer import Table
from arpfast.duties import Answer, Duties, LinkOrder, Settings
from arpfast.explaining import explain
from arpfast.groups import Groups
from arpfast.inspection import AnnouncerStatistics, Event, Explanation, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arpfast.crossing import Fact, Message
    from arpfast.interfaces import Interface
    from arpfast.responder import Responder
    from arpfast.spans import Spans, Version

__all__ = ["Announcer", "Answer", "Event", "Explanation", "Phase", "Settings"]

_RETRY_S = 1.0
_SEND_AGAIN_S = 0.02
ASKERS_AT_MOST = 256
"""Who asked last is told when an address comes to us from another member."""


class Announcer:
    """Answers for, announces and defends what is wanted, on the interfaces that are chosen."""

    def __init__(
        self,
        responder: Responder,
        *,
        rate_per_s: float,
        report: Callable[[Event], None],
        facts: Callable[[list[Fact]], None] | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """`rate_per_s` must be the responder's; `report` is called on the event loop with what people should know,
        `facts` with whatever the thread has told, and `changed` when `unanswered` may be another.
        """
        self._responder = responder
        self._report = report
        self._pass_on, self._changed = facts, changed
        self._duties = Duties(rate_per_s)
        self._groups = Groups()
        self._tables: dict[tuple[Spans, Spans, Spans], Table] = {}
        self._using: dict[int, tuple[Spans, Spans, Spans]] = {}
        self._again: dict[int, LinkOrder] = {}
        self._again_s = 0.0
        self._failing: dict[int, str] = {}
        self._unsent: list[Message] = []
        self._wish: tuple[list[Answer], Settings] | None = None
        self._snapshot: Mapping[int, Interface] | None = None
        self._announce: list[Spans] = []
        self._members: frozenset[bytes] | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._running = False
        self._preparing: asyncio.Future[None] | None = None
        self._tables_shown = 0
        """When room was last made for the next."""
        self._counts = {"tables": 0, "wakes": 0}

    def want(self, answers: Iterable[Answer], settings: Settings) -> None:
        """Replace the whole wish. Returns at once and cannot fail: what is not possible yet is tried again."""
        self._wish = (list(answers), settings)
        self._settled.clear()
        self._wake.set()

    def set_rate(self, rate_per_s: float) -> None:
        """Plan by another pace. To be called just before the responder gets it: a verdict on a probe may come late,
        never before the probe has left.
        """
        self._duties.set_rate(rate_per_s, time.monotonic())
        self._wake.set()

    def interfaces(self, snapshot: Mapping[int, Interface]) -> None:
        """Replace the picture of this host's interfaces."""
        self._snapshot = snapshot
        self._wake.set()

    def members(self, macs: frozenset[bytes]) -> None:
        """Replace the hardware addresses of the others in our ring: what one of them was found to have is settled with
        it, so it is not taken.
        """
        self._members = macs
        self._wake.set()

    def announce(self, spans: Spans) -> None:
        """Announce again what is answered of these, and probe those again now that others had."""
        self._announce.append(spans)
        self._wake.set()

    def act(self) -> None:
        """Do now what `want` has noted, rather than when the event loop comes round: a take-over does not wait."""
        if self._running:
            self._turn(time.monotonic())

    async def settled(self) -> None:
        """Wait until the last wish has reached the responder: from then on no frame is judged by the one before."""
        await self._settled.wait()

    async def run(self) -> None:
        """Do it, until cancelled. Then nothing is answered any more, and nothing is sent about that (the neighbours'
        entries are their own).
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self._responder.fileno(), self._wake.set)
        self._running = True
        try:
            while True:
                self._turn(time.monotonic())
                self._settled.set()
                self._prepare()
                await self._sleep()
                self._counts["wakes"] += 1
        finally:
            self._running = False
            loop.remove_reader(self._responder.fileno())
            for ifindex in list(self._using):
                self._drop(ifindex)
            self._groups.close()
            if self._preparing is not None:
                await asyncio.wait([self._preparing])

    @property
    def unanswered(self) -> Spans:
        """What is wanted and not answered on some interface: being probed, or another host's."""
        return self._duties.unanswered()

    def explain(self, version: Version, value: int, *, shared: bool = False) -> Explanation:
        """All about one address: where it is answered, since when, and if not, why."""
        return explain(self._duties, version, value, time.monotonic(), time.time(), shared=shared)

    @property
    def failing(self) -> frozenset[str]:
        """The names of interfaces that cannot be used, though they should be."""
        return frozenset(order.interface.name for order in self._again.values())

    def interfaces_in_use(self) -> list[str]:
        """Their names; unlike `statistics` this walks nothing."""
        return [presence.interface.name for presence in self._duties.presences.values()]

    def statistics(self) -> AnnouncerStatistics:
        """Counts since the start and the present state; walks the sets of addresses, so for a scrape."""
        counts = self._duties.office.counts
        return AnnouncerStatistics(
            links=self._duties.totals(),
            tables=self._counts["tables"],
            wakes=self._counts["wakes"],
            taken=counts["taken"],
            conflicts=counts["conflicts"],
            defended=counts["defended"],
            yielded=counts["yielded"],
            confirmed=counts["confirmed"],
            unconfirmed=counts["unconfirmed"],
            group_joins=self._groups.joins,
            group_failures=self._groups.failures,
        )

    async def _sleep(self) -> None:
        """Until there is something to do."""
        if self._groups.busy:
            await asyncio.sleep(0)
            return
        now = time.monotonic()
        deadlines = [now + _SEND_AGAIN_S] if self._unsent else []
        if self._again:
            deadlines.append(self._again_s)
        deadlines += [due for due in (self._duties.next_deadline(), self._groups.retry_s) if due is not None]
        if not deadlines:
            await self._wake.wait()
            return
        loop = asyncio.get_running_loop()
        handle = loop.call_later(max(0.0, min(deadlines) - now), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    def _turn(self, now: float) -> None:
        self._wake.clear()
        facts = self._responder.facts()
        duties = self._duties
        if self._wish is not None:
            (answers, settings), self._wish = self._wish, None
            taking_over = any(answer.settled for answer in answers)
            askers = self._responder.askers(ASKERS_AT_MOST) if taking_over else ()
            duties.want(answers, settings, now, askers=askers)
        if self._snapshot is not None:
            snapshot, self._snapshot = self._snapshot, None
            duties.interfaces(snapshot, now)
        if self._members is not None:
            members, self._members = self._members, None
            duties.members(members, now)
        # Before time: a verdict must know of all that came in before it.
        duties.facts(facts, now, taken_lost=self._responder.taken_lost())
        if facts and self._pass_on is not None:
            asyncio.get_running_loop().call_soon(self._pass_on, facts)
        duties.advance(now)
        for spans in self._announce:
            duties.announce(spans, now)
        self._announce.clear()
        for ifindex in self._groups.step():
            duties.joined(ifindex, now)
        self._carry_out(now)

    def _carry_out(self, now: float) -> None:
        while True:
            orders = self._duties.orders()
            for ifindex in orders.drops:
                self._drop(ifindex)
            wanted = {order.interface.index: order for order in orders.links}
            if now >= self._again_s:
                wanted, self._again = {**self._again, **wanted}, {}
            for ifindex, order in wanted.items():
                self._again.pop(ifindex, None)
                if ifindex in self._duties.presences:
                    self._set_link(order, now)
            if orders.drops or wanted:
                self._forget_tables()
            self._unsent.extend(orders.messages)
            for event in orders.events:
                self._report(event)
            if (orders.drops or wanted) and self._changed is not None:
                self._changed()
            if not orders.links:  # which may have asked for groups that were joined already
                break
        if self._unsent:
            present = [message for message in self._unsent if message.ifindex in self._using]
            self._unsent = present[self._responder.send(present) :]

    def _prepare(self) -> None:
        """Have room made for the next table, in a thread, so that one address more waits for nothing."""
        if self._tables_shown != self._counts["tables"] and (self._preparing is None or self._preparing.done()):
            self._tables_shown = self._counts["tables"]
            self._preparing = asyncio.get_running_loop().run_in_executor(None, self._responder.prepare)

    def _set_link(self, order: LinkOrder, now: float) -> None:
        interface = order.interface
        if not interface.ipv6:
            self._groups.drop(interface.index)
        elif self._groups.want(interface.index, order.groups, interface.ipv6_ended):
            self._duties.joined(interface.index, now)
        key = (order.own, order.proxied, order.tentative)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Table(*key)
            self._counts["tables"] += 1
        try:
            self._responder.set_link(
                interface.index,
                interface.name,
                interface.mac,
                router=interface.router6,
                link_local=None if interface.link_local is None else interface.link_local.packed,
                kin=order.kin,
                nonce=order.nonce,
                table=table,
            )
        except OSError as error:
            # An interface that vanished a moment ago is no news: rtnetlink is about to say so.
            if error.errno not in {errno.ENODEV, errno.ENXIO} and self._failing.get(interface.index) != str(error):
                self._failing[interface.index] = str(error)
                self._report(
                    Event("error", "interface cannot be used", {"interface": interface.name, "error": str(error)})
                )
            self._again[interface.index] = order
            self._again_s = now + _RETRY_S
            return
        self._failing.pop(interface.index, None)
        self._using[interface.index] = key

    def _drop(self, ifindex: int) -> None:
        self._groups.drop(ifindex)
        self._again.pop(ifindex, None)
        self._failing.pop(ifindex, None)
        self._using.pop(ifindex, None)
        self._responder.drop_link(ifindex)

    def _forget_tables(self) -> None:
        used = {id(table) for key in self._using.values() if (table := self._tables.get(key)) is not None}
        if len(self._tables) > len(used):
            self._tables = {key: table for key, table in self._tables.items() if id(table) in used}
