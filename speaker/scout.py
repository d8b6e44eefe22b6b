"""Finds out whether another host has an address, before a Service gets it: probes, and an annotation that says so.

    ConfigurationState `controller` --candidates--> Scout --ARP probes, DAD solicitations--> the link
    ConfigurationState `speaker-<node>` <--probed--'

The probes are those of RFC 5227 §2.1.1 and RFC 4862 §5.4, at the pace of `arpfast.probing`'s `quick`. They have a
responder of their own, which answers nothing and is there while something is probed, so that what is answered never
waits for it. Nor does the event loop: opening a packet socket and closing it takes the kernel tens of milliseconds, so
a thread does that. A host of ours, or another speaker that lets go of an address only now, is no other host.

What is free is looked at again after five minutes, what is not after one (RFC 5227 §2.1.1, RATE_LIMIT_INTERVAL), for as
long as the controller asks about it.
"""

from __future__ import annotations

import asyncio
import os
import time
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from arpfast.answer import Table
from arpfast.conflicts import RATE_LIMIT_INTERVAL_S
from arpfast.crossing import FactKind, Message, MessageKind
from arpfast.duties import KIN_AT_MOST
from arpfast.probing import QUICK_GAP_S, QUICK_NUM
from arpfast.responder import Responder
from arpfast.spans import NOTHING, Span, Spans
from cluster import kinds
from cluster.client import MERGE_PATCH
from cluster.configuration_state import CONTROLLER, speaker
from cluster.errands import Errands
from cluster.probes import Said, candidates, probed_patch
from cluster.watch import watch
from cluster.watching import Watching
from speaker.scouting import share

if TYPE_CHECKING:
    from arpfast.interfaces import Interface
    from arpfast.logs import Logger
    from cluster.client import Client
    from cluster.config import Config
    from speaker.scouting import Errand
    from speaker.seat import Seat
    from speaker.settings import Settings

RATE_PER_S = 2000
RING_FRAMES = 256
VERDICT_S = 0.2
"""How long is listened after the last probe."""
FREE_AGAIN_S, USED_AGAIN_S = 300.0, RATE_LIMIT_INTERVAL_S
LOOK_EVERY_S = 5.0
"""How long it may take until it is seen that other speakers are there, or no longer."""
EVERY_S = 0.2
AT_ONCE = 256


class Finding(NamedTuple):
    """What is known of one address."""

    at_s: float
    mac: str = ""
    """Of the host that has it; empty: nobody does."""

    @property
    def due_s(self) -> float:
        """When to look again."""
        return self.at_s + (USED_AGAIN_S if self.mac else FREE_AGAIN_S)


class Scout:
    """While `run` runs."""

    def __init__(self, client: Client, settings: Settings, seat: Seat, log: Logger) -> None:
        """Nothing is asked yet."""
        self._client, self._seat, self._log = client, seat, log
        self._node, self._namespace = settings.node, settings.namespace
        self._question = Watching(
            kinds.CONFIGURATION_STATE, candidates, namespace=self._namespace, name=CONTROLLER.name
        )
        self.errands: Errands[str, bytes] = Errands(
            self._write, log=log, what="telling what was probed", in_flight=1, every_s=EVERY_S
        )
        self._news = asyncio.Event()
        self._config: Config | None = None
        self._found: dict[Span, Finding] = {}
        self.probed = 0
        """How many addresses were, each time that they were."""

    @property
    def used(self) -> int:
        """How many of the addresses that we are to find out about another host has."""
        return sum(bool(finding.mac) for finding in self._found.values())

    def configure(self, config: Config) -> None:
        """This is the configuration now."""
        self._config = config
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.errands.run())
            tasks.create_task(watch(self._client, self._question, lambda _: self._news.set(), self._log))
            tasks.create_task(self._look())

    async def _look(self) -> None:
        """Find out what is to be found out, whenever that may be another."""
        loop = asyncio.get_running_loop()
        while True:
            waking = loop.call_later(LOOK_EVERY_S, self._news.set) if self._asked else None
            await self._news.wait()
            self._news.clear()
            if waking is not None:
                waking.cancel()
            ours, before, now_s = self._ours(), self._found, loop.time()
            members = self._members
            known = {address: finding for address, finding in before.items() if finding.mac not in members}
            self._found = {each.address: known[each.address] for each in ours if each.address in known}
            due = [each for each in ours if each.address not in self._found or self._found[each.address].due_s <= now_s]
            try:
                for at in range(0, len(due), AT_ONCE):
                    await self._find(due[at : at + AT_ONCE])
            except OSError as error:
                self._log.warning("addresses not probed", error=str(error))
            if self._found != before:
                self._tell()

    @property
    def _asked(self) -> Spans:
        return next(iter(self._question.objects.values()), NOTHING)

    def _ours(self) -> list[Errand]:
        """What we are to find out: nothing before the other speakers have been heard, who may be probing as well, and
        nothing of what has been given meanwhile.
        """
        if self._config is None or not self._seat.ready:
            return []
        members = {self._node, *self._seat.ring.ownership.roster.here()}
        return share(self._asked - self._seat.electorate.spans, self._config, members, self._node)

    @property
    def _members(self) -> frozenset[str]:
        """The hardware addresses of all speakers, as far as they have told theirs: none of them is another host."""
        standings = self._seat.ring.ownership.standings().values()
        return frozenset(mac.hex(":") for standing in standings for mac in standing.macs)

    async def _find(self, due: list[Errand]) -> None:
        """Probe these. Raises OSError."""
        for each in due:
            if each.free:
                self._found[each.address] = Finding(asyncio.get_running_loop().time())
        links = {
            interface: Spans(each.address for each in due if self._is_sought(each, interface))
            for interface in self._seat.used
            if interface.carrier
        }
        links = {interface: spans for interface, spans in links.items() if spans}
        if not links:
            return
        responder = await asyncio.to_thread(self._open, links, self._members)
        try:
            probes = [Message(MessageKind.PROBE, link.index, span) for link, spans in links.items() for span in spans]
            for _ in range(QUICK_NUM):
                if responder.send(probes) < len(probes):
                    raise OSError("more probes than could be queued")
                await asyncio.sleep(QUICK_GAP_S + sum(spans.size for spans in links.values()) / RATE_PER_S)
            await asyncio.sleep(VERDICT_S)
            facts, lost = responder.facts(), responder.taken_lost()
        finally:
            await asyncio.to_thread(responder.close)
        if lost:
            raise OSError("more answers than could be taken in")
        now_s, members = asyncio.get_running_loop().time(), self._members
        taken = {Span(f.version, f.address, f.address): f.mac.hex(":") for f in facts if f.kind == FactKind.TAKEN}
        taken = {address: mac for address, mac in taken.items() if mac not in members}  # who has told it only now
        sought = Spans(chain.from_iterable(links.values()))
        for each in due:
            if not each.free and sought.find(each.address.version, each.address.first):
                self._found[each.address] = Finding(now_s, taken.get(each.address, ""))
                self.probed += 1

    def _open(self, links: dict[Interface, Spans], members: frozenset[str]) -> Responder:
        """What listens on these links for who has these addresses. Raises OSError."""
        responder = Responder(rate_per_s=RATE_PER_S, ring_frames=RING_FRAMES)
        try:
            ours = {interface.mac for interface in self._seat.used}
            responder.set_members({bytes.fromhex(mac.replace(":", "")) for mac in members} - ours)
            for interface, spans in links.items():
                responder.set_link(
                    interface.index,
                    interface.name,
                    interface.mac,
                    router=False,
                    link_local=None,
                    kin=sorted(ours - {interface.mac})[:KIN_AT_MOST],
                    nonce=os.urandom(6),
                    table=Table(NOTHING, NOTHING, spans),
                )
            responder.start()
        except BaseException:
            responder.close()
            raise
        return responder

    def _is_sought(self, errand: Errand, interface: Interface) -> bool:
        if errand.free or (errand.address.version == 6 and not interface.ipv6):
            return False
        return errand.interfaces is None or interface.name in errand.interfaces

    def _tell(self) -> None:
        free = Spans(address for address, finding in self._found.items() if not finding.mac)
        used = {(span.version, span.first): finding.mac for span, finding in self._found.items() if finding.mac}
        self.errands.want(self._node, probed_patch(Said(free, used, round(time.time()))))

    async def _write(self, node: str, body: bytes) -> None:
        await self._client.request(
            "patch", kinds.CONFIGURATION_STATE, self._namespace, speaker(node).name, body=body, content_type=MERGE_PATCH
        )
