"""The way out: packets filled up with news, and rounds of news when there are any. Pure; what is to be sent is taken.

A round goes to a few members at random, at once when the last one is long enough ago. So fresh news spread as fast as
packets travel, a burst of news travels together, and a ring without news is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from arpfast.gossip.broadcasts import Broadcasts, transmissions
from arpfast.gossip.members import CRC, State
from arpfast.gossip.messages import Kind, Message, encode
from arpfast.gossip.wire import PARTS_AT_MOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from arpfast.agenda import Agenda
    from arpfast.gossip.counting import Counts
    from arpfast.gossip.members import Endpoint, Members, Record
    from arpfast.gossip.timing import Timing
    from arpfast.gossip.wire import Wire

PACKET_BYTES = 1400
"""As the peers have it: fits an Ethernet frame with anything that may be around it."""
TOPICS_AT_MOST = 1024
_USER = bytes([Kind.USER])


class StreamPing(Struct, frozen=True):
    """Order: ask this member over a stream whether it is there, and say so by `Protocol.answered`."""

    endpoint: Endpoint
    name: str
    sequence: int
    within_s: float


class Exchange(Struct, frozen=True):
    """Order: exchange the whole view with this member."""

    endpoint: Endpoint
    name: str


class Delivery(Struct, frozen=True):
    """Order: give this member a user message that is too large for a packet."""

    endpoint: Endpoint
    payload: bytes


Dial = StreamPing | Exchange | Delivery


class Outgoing:
    """What waits to be sent, and to be told."""

    def __init__(
        self, wire: Wire, timing: Timing, members: Members, agenda: Agenda, counts: Counts, members_at_most: int
    ) -> None:
        """Nothing waits."""
        self.wire = wire
        self.packets: list[tuple[Endpoint, bytes]] = []
        self.dials: list[Dial] = []
        self.news = Broadcasts(members_at_most + 1)
        self.user_news = Broadcasts(TOPICS_AT_MOST)
        self._timing, self._members, self._agenda, self._counts = timing, members, agenda, counts
        self._last_round = float("-inf")
        self._round_planned = False

    @property
    def room(self) -> int:
        """How large one message may be that goes out alone."""
        return PACKET_BYTES - self.wire.overhead

    @property
    def payload_room(self) -> int:
        """How large a user message may be that is to be told as news."""
        return self.room - 2 - 2 - len(_USER)

    def tell(self, topic: str, message: Message, now: float, done: Callable[[], None] | None = None) -> None:
        """Spread what is new about a member; see `Broadcasts.put`."""
        self.news.put(topic, encode(message), done)
        self.plan_round(now)

    def tell_user(self, topic: str, payload: bytes, now: float) -> None:
        """Spread a user message. Raises ValueError when it does not fit a packet."""
        if len(payload) > self.payload_room:
            raise ValueError(f"expected at most {self.payload_room} bytes to broadcast, not {len(payload)}")
        self.user_news.put(topic, _USER + payload)
        self._counts.news_dropped = self.user_news.dropped
        self.plan_round(now)

    def send(self, endpoint: Endpoint, messages: list[bytes], record: Record | None = None) -> None:
        """Send messages that fit a packet, filled up with news. `record` is the receiver, if it is a member."""
        room = self.room - 2 - sum(map(len, messages)) - 2 * len(messages)
        self._send(endpoint, messages + self._take(room, PARTS_AT_MOST - len(messages)), record)

    def send_user(self, record: Record, payload: bytes) -> None:
        """Send a user message to one member: at once if it fits a packet, else over a stream."""
        if len(payload) + len(_USER) <= self.room:
            self._send(record.endpoint, [_USER + payload], record)
        else:
            self.dials.append(Delivery(record.endpoint, payload))

    def _send(self, endpoint: Endpoint, messages: list[bytes], record: Record | None) -> None:
        packet = self.wire.pack(messages, crc=record is not None and record.newest >= CRC)
        self._counts.packets_sent += 1
        self._counts.bytes_sent += len(packet)
        self.packets.append((endpoint, packet))

    def _take(self, room: int, at_most: int) -> list[bytes]:
        if not self.news and not self.user_news:
            return []
        limit = transmissions(self._timing.retransmit_mult, self._members.living)
        taken = self.news.take(room, at_most, limit, 2)
        if self.user_news:
            room -= sum(map(len, taken)) + 2 * len(taken)
            taken += self.user_news.take(room, at_most - len(taken), limit, 2)
        return taken

    def tell_directly(self, at_most: int) -> None:
        """Tell so many of the living at once what there is to tell, beside the rounds that do it surely."""
        room, most = self.room - 2, PARTS_AT_MOST
        newest = self.news.take(room, most, 1 << 30, 2)
        for record in self._members.pick(at_most, lambda record: record.lives):
            if newest:
                self._send(record.endpoint, newest, record)

    def plan_round(self, now: float) -> None:
        """Have a round soon, if there are news."""
        if not self._round_planned and (self.news or self.user_news):
            self._round_planned = True
            self._agenda.at(max(now, self._last_round + self._timing.gossip_interval_s), self._round)

    def _round(self, now: float) -> None:
        self._round_planned = False
        self._last_round = now
        dead_since = now - self._timing.gossip_to_the_dead_s

        def wanted(record: Record) -> bool:
            return record.lives or (record.state is State.DEAD and record.since > dead_since)

        for record in self._members.pick(self._timing.gossip_nodes, wanted):
            if not (taken := self._take(self.room - 2, PARTS_AT_MOST)):
                return
            self._send(record.endpoint, taken, record)
        if self._members.living > 1:  # alone, we wait: whoever comes is news
            self.plan_round(now)
