"""A ring in virtual time: members as they are, a network that loses, delays, doubles and parts, processes that freeze.

Nothing waits: an hour of a small ring takes seconds. Packets are the real bytes; dials are done whole, as streams that
work in both directions or do not. Everything is drawn from one seed.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from arpfast.gossip.beliefs import Changed, Conflict
from arpfast.gossip.members import Record, State, address_of
from arpfast.gossip.messages import Ack, Ping, WireError, encode
from arpfast.gossip.outgoing import Delivery, Exchange, StreamPing
from arpfast.gossip.protocol import Heard, Protocol
from arpfast.gossip.streams import PushPull, Reading, StreamMessage, User, framed, user
from arpfast.gossip.timing import RING, Timing
from arpfast.gossip.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.gossip.keys import Key
    from arpfast.gossip.outgoing import Dial

Endpoint = tuple[str, int]


class Host:
    """One member, and what it said by when."""

    def __init__(self, ring: Ring, name: str, raw_address: bytes, port: int, timing: Timing) -> None:
        self.ring, self.name = ring, name
        address = address_of(raw_address)
        assert address is not None
        self.endpoint: Endpoint = (address, port)
        self.wire = Wire(ring.label, ring.keys, compress=ring.compress)
        self.protocol = Protocol(
            name, raw_address, port, timing, self.wire, random.Random(ring.random.random()), ring.now
        )
        self.changes: list[tuple[float, Changed]] = []
        self.conflicts: list[Conflict] = []
        self.heard: list[bytes] = []
        self.merged: list[bytes] = []
        self.state = b""
        self.running = True
        self.frozen = False
        self.waiting: list[tuple[bytes, Endpoint]] = []
        self.group = 0
        self.left = False
        self._wake = float("inf")

    def plan(self) -> None:
        """Have the ring wake us when we want."""
        due = self.protocol.next_deadline()
        if due < self._wake and not self.frozen:
            self._wake = due
            self.ring.at(due, partial(self.wake, due))

    def wake(self, due: float) -> None:
        if due == self._wake:
            self._wake = float("inf")
            if self.running and not self.frozen:
                self.protocol.advance(self.ring.now)
                self.flush()

    def flush(self) -> None:
        """Carry out what came out."""
        taken = self.protocol.take()
        for endpoint, packet in taken.packets:
            self.ring.carry(self, endpoint, packet)
        for dial in taken.dials:
            self.ring.dial(self, dial)
        for event in taken.events:
            if isinstance(event, Changed):
                self.changes.append((self.ring.now, event))
            elif isinstance(event, Heard):
                self.hear(event.payload)
            else:
                self.conflicts.append(event)
        self.plan()

    def receive(self, packet: bytes, source: Endpoint) -> None:
        if not self.running:
            return
        if self.frozen:
            if len(self.waiting) < 500:  # a socket's buffer
                self.waiting.append((packet, source))
            return
        self.protocol.receive(packet, source, self.ring.now)
        self.flush()

    def hear(self, payload: bytes) -> None:
        """A user that tells on what is new to it."""
        if payload not in self.heard:
            self.heard.append(payload)
            if len(payload) < 1000:
                self.protocol.broadcast(payload.decode(), payload, self.ring.now)

    def sees(self, name: str) -> State | None:
        member = self.protocol.find(name)
        return None if member is None else member.state

    def when(self, name: str, state: State) -> float | None:
        """When it last came to believe this."""
        return next((at for at, e in reversed(self.changes) if (e.member.name, e.member.state) == (name, state)), None)


class Ring:
    """The network, the clock and the members."""

    def __init__(
        self, size: int = 0, *, timing: Timing = RING, seed: int = 1, keys: Iterable[Key] = (), label: str = "",
        compress: bool = False, joined: bool = True,
    ) -> None:  # fmt: skip
        self.now = 1000.0
        self.random = random.Random(seed)
        self.timing, self.keys, self.label, self.compress = timing, tuple(keys), label, compress
        self.hosts: dict[str, Host] = {}
        self.loss = 0.0
        self.delay_s = (0.0002, 0.001)
        self.doubled = 0.0
        self.streams = True
        self.deaf: Callable[[Host, Host], bool] = lambda sender, receiver: False
        self.packets: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._by_endpoint: dict[Endpoint, Host] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        for _ in range(size):
            self.add()
        if joined:
            self.acquaint()

    def at(self, due: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (due, next(self._serial), action))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> float:
        """Let time pass, until the condition holds if there is one (looked at every 10 ms): how much passed."""
        begun, end = self.now, self.now + seconds
        while self.now < end:
            if until is not None and until():
                break
            stop = end if until is None else min(end, self.now + 0.01)
            while self._heap and self._heap[0][0] <= stop:
                due, _, action = heapq.heappop(self._heap)
                self.now = max(self.now, due)
                action()
            self.now = stop
        return self.now - begun

    def expect(self, condition: Callable[[], bool], within_s: float) -> float:
        """Let time pass until it holds, which it must: how long it took."""
        took = self.run(within_s, condition)
        assert condition(), f"not within {within_s} s"
        return took

    # Members

    def add(self, name: str | None = None, *, address: int | None = None, timing: Timing | None = None) -> Host:
        number = len(self.hosts) + 1 if address is None else address
        name = name or f"m{number}"
        raw = bytes([10, 0, number >> 8, number & 255])
        host = self.hosts[name] = Host(self, name, raw, 7946, timing or self.timing)
        self._by_endpoint[host.endpoint] = host
        host.plan()
        return host

    def acquaint(self) -> None:
        """Make all know each other, as if they had joined long ago."""
        everybody = [host.protocol._table.me for host in self.hosts.values()]
        circle = sorted(record.place for record in everybody)
        for me in everybody:
            table = self.hosts[me.name].protocol._table
            for each in everybody:
                if each is not me:
                    record = Record(each.name, each.raw_address, each.endpoint[1], State.ALIVE, self.now)
                    record.incarnation = 1
                    table.by_name[each.name] = record
            table._turns = list(table.by_name.values())
            self.random.shuffle(table._turns)
            table._circle = list(circle)
            table.living = len(everybody)

    def join(self, host: Host, other: Host) -> None:
        self.exchange(host, other.endpoint, join=True)

    def kill(self, name: str) -> Host:
        """As SIGKILL does, or a cut power cord."""
        host = self.hosts[name]
        host.running = False
        return host

    def restart(self, name: str, *, address: int | None = None, via: str) -> Host:
        """The same name starts afresh, and joins by another member."""
        before = self.hosts.pop(name)
        del self._by_endpoint[before.endpoint]
        number = int(before.endpoint[0].split(".")[-1]) if address is None else address
        host = self.add(name, address=number)
        self.join(host, self.hosts[via])
        return host

    def freeze(self, name: str) -> Host:
        """As SIGSTOP does."""
        host = self.hosts[name]
        host.frozen = True
        return host

    def thaw(self, name: str) -> Host:
        """As SIGCONT does: what has arrived is read first."""
        host = self.hosts[name]
        host.frozen = False
        waiting, host.waiting = host.waiting, []
        for packet, source in waiting:
            host.receive(packet, source)
        host._wake = self.now
        host.wake(self.now)
        return host

    def part(self, *groups: Iterable[str]) -> None:
        """Cut the network between these groups; the others are one more group."""
        for host in self.hosts.values():
            host.group = 0
        for number, names in enumerate(groups, 1):
            for name in names:
                self.hosts[name].group = number

    def heal(self) -> None:
        self.part()

    @property
    def running(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.running]

    def agreed(self, *, among: Iterable[str] | None = None) -> bool:
        """Whether all that run believe each other alive, and all others not."""
        hosts = [host for host in self.running if among is None or host.name in set(among)]
        names = {host.name for host in hosts}
        return all(
            {member.name for member in host.protocol.members() if member.state is State.ALIVE} == names
            for host in hosts
        )

    def all_see(self, name: str, *states: State | None) -> bool:
        return all(host.sees(name) in states for host in self.running if host.name != name)

    def deaths(self) -> list[tuple[float, str, str]]:
        """Who found whom dead, and when."""
        return [
            (at, host.name, event.member.name)
            for host in self.hosts.values()
            for at, event in host.changes
            if event.member.state is State.DEAD
        ]

    # The network

    def carry(self, sender: Host, endpoint: Endpoint, packet: bytes) -> None:
        self.packets[sender.name] += 1
        self.bytes[sender.name] += len(packet)
        assert len(packet) <= 1400
        receiver = self._by_endpoint.get(endpoint)
        if receiver is None or not receiver.running or not self._connected(sender, receiver):
            return
        copies = 1 + (self.random.random() < self.doubled)
        for _ in range(copies):
            if self.random.random() >= self.loss:
                low, high = self.delay_s
                self.at(
                    self.now + low + (high - low) * self.random.random(),
                    lambda: receiver.receive(packet, sender.endpoint),
                )

    def _connected(self, sender: Host, receiver: Host) -> bool:
        return sender.group == receiver.group and not self.deaf(sender, receiver)

    def dial(self, host: Host, dial: Dial) -> None:
        if isinstance(dial, Exchange):
            self.at(self.now + 0.002, partial(self._exchange_as_dialled, host, dial.endpoint))
            return
        other = self._reachable(host, dial.endpoint)
        if other is None:
            return
        if isinstance(dial, Delivery):
            message = self._over_stream(host, other, user(dial.payload))
            if isinstance(message, User):
                other.hear(message.payload)
        elif isinstance(dial, StreamPing):
            ping = self._over_stream(host, other, encode(Ping(dial.sequence, dial.name)))
            answer = other.protocol.stream_ack(ping) if isinstance(ping, Ping) else None
            told = self._over_stream(other, host, answer, reply=True) if answer else None
            if isinstance(told, Ack):
                self.at(self.now + 0.002, partial(self._stream_answer, host, told.sequence))

    def _over_stream(self, sender: Host, receiver: Host, raw: bytes, *, reply: bool = False) -> StreamMessage | None:
        try:
            return Reading(receiver.wire, reply=reply).feed(framed(sender.wire, raw, reply=reply))
        except WireError as error:
            receiver.protocol.refuse(error)
            return None

    def _stream_answer(self, host: Host, sequence: int) -> None:
        if host.running and not host.frozen:
            host.protocol.answered(sequence, self.now)
            host.flush()

    def _reachable(self, host: Host, endpoint: Endpoint) -> Host | None:
        other = self._by_endpoint.get(endpoint)
        works = (
            self.streams and other is not None and other.running and not other.frozen and host.running
            and self._connected(host, other) and self._connected(other, host)
        )  # fmt: skip
        return other if works else None

    def _exchange_as_dialled(self, host: Host, endpoint: Endpoint) -> None:
        self.exchange(host, endpoint)

    def exchange(self, host: Host, endpoint: Endpoint, *, join: bool = False) -> bool:
        other = self._reachable(host, endpoint)
        if other is None:
            return False
        mine = host.protocol.state_message(host.state, join=join)
        theirs = other.protocol.state_message(other.state, join=join)
        for sender, receiver, raw in ((host, other, mine), (other, host, theirs)):
            state = self._over_stream(sender, receiver, raw, reply=receiver is host)
            if not isinstance(state, PushPull):
                return False
            if receiver.protocol.merge(state, self.now):
                receiver.merged.append(state.user_state)
            receiver.flush()
        return True
