"""One member of a ring as a state machine: packets and time in, packets, dials and events out. Pure.

SWIM (Das, Gupta, Motivala 2002) with Lifeguard's additions, wire-compatible with hashicorp/memberlist. `Detector` finds
out who answers, `Beliefs` has the rules of what is believed of whom, `Outgoing` spreads the news; this is their door.

Whoever drives it passes the time in (seconds of one monotonic clock, never back), calls `advance` when `next_deadline`
has come, but reads what has arrived first, and after each call carries out what `take` returns. Time in which it was
not driven, because the process was stopped or starved, does not count: a member that slept must not conclude from its
own silence that the others are dead. Randomness is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from arpfast.agenda import Agenda
from arpfast.gossip.beliefs import Beliefs, Changed, Conflict
from arpfast.gossip.counting import Counts, Statistics
from arpfast.gossip.detector import Detector
from arpfast.gossip.members import Members, Record, State
from arpfast.gossip.messages import (
    Ack,
    Alive,
    Cause,
    Dead,
    IndirectPing,
    Kind,
    Nack,
    Ping,
    Suspect,
    WireError,
    decode,
    encode,
)
from arpfast.gossip.outgoing import Dial, Exchange, Outgoing
from arpfast.gossip.streams import NODES_AT_MOST, PushPull, push_pull
from arpfast.gossip.suspicion import Awareness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from arpfast.gossip.members import Endpoint, Member
    from arpfast.gossip.timing import Timing
    from arpfast.gossip.wire import Wire

MEMBERS_AT_MOST = NODES_AT_MOST
GOODBYES_AT_MOST = 64
LAG_S = 0.05
"""A member that is later than this (or half a probe's timeout) was not running."""


class Heard(Struct, frozen=True):
    """Event: a message of the ring's user."""

    payload: bytes


Event = Changed | Conflict | Heard


class Taken(NamedTuple):
    """What to carry out now."""

    packets: list[tuple[Endpoint, bytes]]
    dials: list[Dial]
    events: list[Event]


class Protocol:
    """One member."""

    def __init__(
        self, name: str, raw_address: bytes, port: int, timing: Timing, wire: Wire, random: Random, now: float,
        meta: bytes = b"",
    ) -> None:  # fmt: skip
        """Alone, with incarnation 1. `raw_address` and `port` are what others reach us at."""
        self.wire = wire
        self.counts = Counts()
        self._timing, self._random = timing, random
        self._agenda = Agenda()
        me = Record(name, raw_address, port, State.ALIVE, now)
        me.meta, me.incarnation = meta, 1
        self._table = Members(me, random)
        self._awareness = Awareness(timing)
        self._outgoing = Outgoing(wire, timing, self._table, self._agenda, self.counts, MEMBERS_AT_MOST)
        self._beliefs = Beliefs(
            timing, self._table, self._outgoing, self._agenda, self._awareness, self.counts, MEMBERS_AT_MOST
        )
        self._detector = Detector(
            timing, self._table, self._beliefs, self._outgoing, self._agenda, self._awareness, self.counts, now,
            random.random(),
        )  # fmt: skip
        self._heard: list[Heard] = []
        self._lost_s = 0.0
        self._lag_s = max(LAG_S, timing.probe_timeout_s / 2)
        if timing.push_pull_interval_s:
            self._agenda.at(now + random.random() * timing.push_pull_interval_s, self._exchange_with_somebody)

    # Time

    def next_deadline(self) -> float:
        """When `advance` has something to do next."""
        due = self._agenda.next_deadline()
        assert due is not None
        return due + self._lost_s

    def advance(self, now: float) -> None:
        """Let time pass."""
        self._agenda.advance(self._time(now))

    def _time(self, now: float) -> float:
        time = now - self._lost_s
        due = self._agenda.next_deadline()
        if due is None:
            return time
        if 0 < due - time < _ROUNDING_S:
            return due
        if time - due > self._lag_s:
            self.counts.lags += 1
            self._awareness.add(1)
            self._lost_s += time - due
            time = due
        return time

    # What comes in

    def receive(self, packet: bytes, source: Endpoint, now: float) -> None:
        """A packet came from `source`. What is wrong with it is counted."""
        time = self._time(now)
        self.counts.packets_received += 1
        self.counts.bytes_received += len(packet)
        try:
            contents = self.wire.unpack(packet)
        except WireError as error:
            self.refuse(error)
            return
        self.counts.refused_malformed += contents.dropped
        for message in contents.messages:
            try:
                self._handle(message, source, time)
            except WireError as error:
                self.refuse(error)

    def refuse(self, error: WireError) -> None:
        """Count a fault in what came in."""
        if error.cause is Cause.LABEL:
            self.counts.refused_label += 1
        elif error.cause is Cause.KEY:
            self.counts.refused_key += 1
        elif error.cause is Cause.TOO_LARGE:
            self.counts.refused_too_large += 1
        else:
            self.counts.refused_malformed += 1

    def _handle(self, message: bytes, source: Endpoint, now: float) -> None:
        if message[:1] == _USER:
            self._heard.append(Heard(message[1:]))
            return
        told = decode(message)
        if isinstance(told, Ack):
            self._detector.ack(told.sequence, now)
        elif isinstance(told, Ping):
            self._detector.ping(told, source)
        elif isinstance(told, Alive):
            self._beliefs.alive(told, now)
        elif isinstance(told, Suspect):
            self._beliefs.suspect(told, now)
        elif isinstance(told, Dead):
            self._beliefs.dead(told, now)
        elif isinstance(told, IndirectPing):
            self._detector.indirect_ping(told, source, now)
        elif isinstance(told, Nack):
            self._detector.nack(told.sequence)
        else:
            raise WireError(Cause.MALFORMED, "expected a message of packets, not one of streams")

    def answered(self, sequence: int, now: float) -> None:
        """The member of a `StreamPing` answered."""
        self._detector.ack(sequence, self._time(now))

    def unsent(self, endpoint: Endpoint, now: float) -> None:
        """A packet to there could not be sent."""
        self.counts.packets_unsent += 1
        self._detector.unsent(endpoint, self._time(now))

    def stream_ack(self, told: Ping) -> bytes | None:
        """The answer to a ping that came over a stream, if it was for us."""
        if told.node and told.node != self.me.name:
            self.counts.misdirected += 1
            return None
        return encode(Ack(told.sequence))

    def state_message(self, user_state: bytes, *, join: bool) -> bytes:
        """Our half of a push/pull."""
        return push_pull([record.packed for record in self._table], user_state, join=join)

    def merge(self, theirs: PushPull, now: float) -> bool:
        """The other half; False if it was refused, and then its user state should be ignored too."""
        return self._beliefs.merge(theirs.nodes, self.me.port, self._time(now))

    # What is wanted

    @property
    def me(self) -> Member:
        """As others see us."""
        return self._table.me.member

    @property
    def health(self) -> int:
        """Our own: 0 is good."""
        return self._awareness.score

    def members(self) -> tuple[Member, ...]:
        """All that are known, we included, dead ones too."""
        return tuple(record.member for record in self._table)

    def find(self, name: str) -> Member | None:
        """One of them."""
        record = self._table.by_name.get(name)
        return None if record is None else record.member

    def is_living(self, endpoint: Endpoint) -> bool:
        """Whether a member that we believe to live, or we ourselves, advertise this."""
        return any(record.lives and record.endpoint == endpoint for record in self._table)

    def set_meta(self, meta: bytes, now: float) -> None:
        """Tell the others something else about us. Raises ValueError when it is too long."""
        self._beliefs.set_meta(meta, self._time(now))

    def broadcast(self, topic: str, payload: bytes, now: float) -> None:
        """Spread a user message; it replaces an older one of the topic that still waits. ValueError: too long."""
        self._outgoing.tell_user(topic, payload, self._time(now))

    def send(self, payload: bytes, names: Iterable[str]) -> int:
        """Send a user message to these members now; to how many of them, since not all may be known."""
        records = [record for name in names if (record := self._table.by_name.get(name)) is not None]
        for record in records:
            self._outgoing.send_user(record, payload)
        return len(records)

    def exchange(self, name: str) -> bool:
        """Exchange the whole view with this member; whether it is known."""
        record = self._table.by_name.get(name)
        if record is not None:
            self._outgoing.dials.append(Exchange(record.endpoint, name))
        return record is not None

    def condemn(self, name: str, now: float) -> bool:
        """There is proof from outside that this suspect is dead; whether it was a suspect."""
        return self._beliefs.condemn(name, self._time(now))

    def leave(self, now: float, done: Callable[[], None]) -> None:
        """Go: tell the others, and call `done` once they have been told, at once if there is nobody."""
        if self._table.living <= 1:
            self._beliefs.leave(self._time(now), lambda: None)
            done()
            return
        self._beliefs.leave(self._time(now), done)
        self._outgoing.tell_directly(GOODBYES_AT_MOST)

    def _exchange_with_somebody(self, now: float) -> None:
        interval_s = self._timing.push_pull_interval_s
        if (living := self._table.living) > 32:
            interval_s *= 1 + max(0, (living - 1).bit_length() - 5)
        self._agenda.at(now + interval_s, self._exchange_with_somebody)
        for record in self._table.pick(1, lambda record: record.state is State.ALIVE):
            self._outgoing.dials.append(Exchange(record.endpoint, record.name))

    def take(self) -> Taken:
        """What came out since the last time."""
        outgoing, beliefs = self._outgoing, self._beliefs
        taken = Taken(outgoing.packets, outgoing.dials, [*beliefs.events, *self._heard])
        outgoing.packets, outgoing.dials = [], []
        beliefs.events, self._heard = [], []
        return taken

    def statistics(self) -> Statistics:
        """How we are doing."""
        states = [record.state for record in self._table]
        return Statistics(
            replace(self.counts), self.health, len(self._outgoing.news), len(self._outgoing.user_news),
            *(states.count(state) for state in (State.ALIVE, State.SUSPECT, State.DEAD, State.LEFT)),
        )  # fmt: skip


_USER = bytes([Kind.USER])
_ROUNDING_S = 1e-6
"""What `next_deadline` promised must be due when it has come, whatever the sums of floats say."""
