"""One member alone on a stage: what it is told, what time it is, and all that it says, as messages by receiver."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from arpfast.gossip.beliefs import Changed, Conflict
from arpfast.gossip.members import VERSIONS, State
from arpfast.gossip.messages import Ack, Alive, Dead, Message, NodeState, Ping, Suspect, WireError, decode, encode
from arpfast.gossip.protocol import Heard, Protocol
from arpfast.gossip.streams import PushPull
from arpfast.gossip.timing import LAN, Timing
from arpfast.gossip.wire import Wire

if TYPE_CHECKING:
    from arpfast.gossip.outgoing import Dial

Endpoint = tuple[str, int]
PORT = 7946


def raw(number: int) -> bytes:
    return bytes([10, 0, 0, number])


def endpoint(number: int) -> Endpoint:
    return f"10.0.0.{number}", PORT


class Stage:
    """`me` is 10.0.0.1; the member called a is 10.0.0.10, b is 10.0.0.11, and so on. They are silent, unless all answer
    pings (`answering`).
    """

    def __init__(self, others: str = "", timing: Timing = LAN, wire: Wire | None = None) -> None:
        self.now = 1000.0
        self.wire = wire or Wire()
        self.protocol = Protocol("me", raw(1), PORT, timing, self.wire, random.Random(7), self.now)
        self.sent: list[tuple[float, Endpoint, Message | bytes]] = []
        self.packets: list[tuple[Endpoint, bytes]] = []
        self.dials: list[Dial] = []
        self.events: list[Changed | Conflict | Heard] = []
        self.answering = False
        for name in others:
            self.tell(alive(name))
        self.forget()

    def forget(self) -> None:
        """What was said until now."""
        self.sent, self.packets, self.dials, self.events = [], [], [], []

    def collect(self) -> None:
        taken = self.protocol.take()
        for to, packet in taken.packets:
            self.packets.append((to, packet))
            for message in self.wire.unpack(packet).messages:
                try:
                    told: Message | bytes = decode(message)
                except WireError:
                    told = message
                self.sent.append((self.now, to, told))
                if self.answering and isinstance(told, Ping):
                    self.protocol.receive(encode(Ack(told.sequence)), to, self.now)
        self.dials += taken.dials
        self.events += taken.events

    def tell(self, *messages: Message | bytes, by: int = 99) -> None:
        """One packet with these comes from 10.0.0.`by`."""
        parts = [message if isinstance(message, bytes) else encode(message) for message in messages]
        self.protocol.receive(self.wire.pack(parts, crc=False), endpoint(by), self.now)
        self.collect()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.protocol.next_deadline()) <= until:
            self.now = max(self.now, due)
            self.protocol.advance(self.now)
            self.collect()
        self.now = until

    def sleep(self, seconds: float) -> None:
        """Nobody runs us for so long."""
        self.now += seconds

    def merge(self, *nodes: NodeState) -> bool:
        merged = self.protocol.merge(PushPull(nodes, b"", join=False), self.now)
        self.collect()
        return merged

    def state(self, name: str) -> State | None:
        member = self.protocol.find(name)
        return None if member is None else member.state

    def incarnation(self, name: str = "me") -> int:
        member = self.protocol.find(name)
        assert member is not None
        return member.incarnation

    def said(self, kind: type, to: int | None = None) -> list[Any]:
        return [told for _, where, told in self.sent if isinstance(told, kind) and (not to or where == endpoint(to))]

    def changes(self) -> list[tuple[str, State | None, State]]:
        return [(e.member.name, e.before, e.member.state) for e in self.events if isinstance(e, Changed)]


def number(name: str) -> int:
    return 10 + ord(name[0]) - ord("a")


def alive(name: str, incarnation: int = 1, **fields: Any) -> Alive:
    whole: dict[str, Any] = {"address": raw(number(name)), "port": PORT, "meta": b"", "versions": VERSIONS} | fields
    return Alive(incarnation, name, **whole)


def suspect(name: str, by: str = "x", incarnation: int = 1) -> Suspect:
    return Suspect(incarnation, name, by)


def dead(name: str, by: str = "x", incarnation: int = 1) -> Dead:
    return Dead(incarnation, name, by)


def node(name: str, state: State | int, incarnation: int = 1, **fields: Any) -> NodeState:
    whole: dict[str, Any] = {"address": raw(number(name)), "port": PORT, "meta": b"", "versions": VERSIONS} | fields
    value = state.value if isinstance(state, State) else state
    return NodeState(name=name, incarnation=incarnation, state=value, **whole)
