"""Announcing, probing and defending in virtual time: a clock, a picture of the host, and what comes out of it."""

from __future__ import annotations

import random
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.crossing import Asker, Fact, FactKind, Message, MessageKind
from arpfast.duties import Answer, Duties, LinkOrder, Settings
from arpfast.explaining import explain
from arpfast.interfaces import Interface
from arpfast.office import AnnounceSettings
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from arpfast.inspection import Event, LinkExplanation

STRANGER = bytes.fromhex("02000000ff01")
OTHER = bytes.fromhex("02000000ff02")
ROUTER = bytes.fromhex("02000000ffee")


def eth(index: int = 2, **fields: Any) -> Interface:
    whole: dict[str, Any] = {
        "index": index,
        "name": f"eth{index}",
        "mac": bytes([2, 0, 0, 0, 0, index]),
        "up": True,
        "carrier": True,
        "ipv6": True,
    }
    return Interface(**(whole | fields))


class Stage:
    """Drives `Duties` as the shell does, with a clock of its own, and keeps what came out by time."""

    def __init__(self, *interfaces: Interface, rate_per_s: float = 20000, **announce: Any) -> None:
        self.now = 1000.0
        self.duties = Duties(rate_per_s, random.Random(1))
        self.settings = Settings(announce=AnnounceSettings(**announce))
        self.links: dict[int, LinkOrder] = {}
        self.sent: list[tuple[float, Message]] = []
        self.events: list[Event] = []
        self.askers: tuple[Asker, ...] = ()
        self.orders = 0
        self.join = True
        self.show(*(interfaces or (eth(),)))

    def _collect(self) -> None:
        while True:
            orders = self.duties.orders()
            for index in orders.drops:
                del self.links[index]
            for link in orders.links:
                self.orders += 1
                self.links[link.interface.index] = link
                assert not link.own & link.tentative
                if self.join:
                    self.duties.joined(link.interface.index, self.now)
            self.sent += ((self.now, message) for message in orders.messages)
            self.events += orders.events
            for message in orders.messages:
                # Nothing leaves for an address that would not be answered, or probed for one that would.
                link = self.links[message.ifindex]
                among = link.tentative if message.kind is MessageKind.PROBE else link.own
                assert message.span in among, message
            if not orders.links:
                return

    def show(self, *interfaces: Interface) -> None:
        self.duties.interfaces({interface.index: interface for interface in interfaces}, self.now)
        self._collect()

    def want(self, *answers: str | Answer, **announce: Any) -> None:
        if announce:
            self.settings = msgspec.structs.replace(
                self.settings, announce=msgspec.structs.replace(self.settings.announce, **announce)
            )
        self.duties.want(
            [a if isinstance(a, Answer) else Answer(Spans.parse(a)) for a in answers],
            self.settings,
            self.now,
            askers=self.askers,
        )
        self._collect()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.duties.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.duties.advance(self.now)
            self._collect()
        self.now = until

    def fact(self, kind: FactKind, address: str, mac: bytes = STRANGER, index: int = 2) -> None:
        parsed = ip_address(address)
        self.duties.facts([Fact(kind, index, parsed.version, int(parsed), mac, int(self.now * 1e9))], self.now)
        self._collect()

    def times(self, kind: MessageKind, address: str | None = None) -> list[float]:
        """When such frames left, in seconds since the start."""
        wanted = None if address is None else ip_address(address)
        return [
            round(at - 1000, 3)
            for at, message in self.sent
            if message.kind is kind and (not wanted or wanted in message.span)
        ]

    def on(self, address: str, index: int = 2) -> LinkExplanation:
        span = Span.parse(address)
        found = explain(self.duties, span.version, span.first, self.now, self.now)
        return next(link for link in found.links if link.ifindex == index)

    def said(self, part: str) -> list[Event]:
        return [event for event in self.events if part in event.event]


V4, V6 = "192.0.2.10", "2001:db8::10"
