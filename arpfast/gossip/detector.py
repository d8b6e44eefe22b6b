"""Who answers? Members are probed in turn; who does not answer is asked for by others; who then has not is suspected.

    0                 probe_timeout_s                       interval
    |--- ping ------->|--- others ping it for us; a stream --|---> no answer: suspect
                                                             |---> others said so, or not even they: our own health

The interval grows with our own bad health. Besides the member whose turn it is, `watched` successors in the circle are
probed in each interval; and suspects and the dead are called every `recall_s`, with what they are accused of, so that
they can refute with their answer. Pure: time is what the agenda says.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arpfast.gossip.members import NACK, TCP_PING, Record, State, address_of
from arpfast.gossip.messages import Ack, IndirectPing, Nack, Ping, Suspect, encode
from arpfast.gossip.outgoing import Exchange, StreamPing

if TYPE_CHECKING:
    from arpfast.agenda import Agenda
    from arpfast.gossip.beliefs import Beliefs
    from arpfast.gossip.counting import Counts
    from arpfast.gossip.members import Endpoint, Members
    from arpfast.gossip.outgoing import Outgoing
    from arpfast.gossip.suspicion import Awareness
    from arpfast.gossip.timing import Timing

RELAYS_AT_MOST = 512
REUNIONS = 8
"""About so many members exchange views with one that is back."""
CALLS = 3
"""So many are called at a time."""


class _Probe:
    __slots__ = ("indirect", "interval_s", "nacks", "nacks_wanted", "record", "sequence")

    def __init__(self, sequence: int, record: Record, interval_s: float) -> None:
        self.sequence, self.record, self.interval_s = sequence, record, interval_s
        self.indirect = False
        self.nacks = self.nacks_wanted = 0


class _Relay:
    __slots__ = ("asker", "asker_sequence", "nack")

    def __init__(self, asker: Endpoint, asker_sequence: int, *, nack: bool) -> None:
        self.asker, self.asker_sequence, self.nack = asker, asker_sequence, nack


class _Call:
    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record


class Detector:
    """Probing, and helping others to probe."""

    def __init__(
        self, timing: Timing, members: Members, beliefs: Beliefs, outgoing: Outgoing, agenda: Agenda,
        awareness: Awareness, counts: Counts, now: float, offset: float,
    ) -> None:  # fmt: skip
        """The first probe comes after `offset` (0 to 1) of an interval, so that not all probe at the same time."""
        self._timing, self._members, self._beliefs, self._outgoing = timing, members, beliefs, outgoing
        self._agenda, self._awareness, self._counts = agenda, awareness, counts
        self._me = members.me
        self._pending: dict[int, _Probe | _Relay | _Call] = {}
        self._probed: set[Record] = set()
        self._relays = 0
        self._sequence = 0
        self._called: list[Record] = []
        self._reunion: Record | None = None
        agenda.at(now + offset * timing.probe_interval_s, self._tick)
        if timing.recall_s:
            agenda.at(now + offset * timing.recall_s, self._recall)

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return self._sequence

    # Probing

    def _tick(self, now: float) -> None:
        interval_s = self._timing.probe_interval_s * (self._awareness.score + 1)
        dead_since = now - self._timing.forget_s
        for record in self._members.successors(self._timing.watched):
            self._probe(record, interval_s, now)
        next_one = self._members.next_turn(lambda each: each.since < dead_since)
        if next_one is not None:
            self._probe(next_one, interval_s, now)
        self._agenda.at(now + interval_s, self._tick)  # after the verdicts of these, which are due at the same time

    def _probe(self, record: Record, interval_s: float, now: float) -> None:
        if record in self._probed:
            return
        self._counts.probes += 1
        probe = _Probe(self._next_sequence(), record, interval_s)
        self._pending[probe.sequence] = probe
        self._probed.add(record)
        self._ping(record, probe.sequence)
        self._agenda.at(now + self._timing.probe_timeout_s, partial(self._ask_others, probe))
        self._agenda.at(now + interval_s, partial(self._judge, probe))

    def _ping(self, record: Record, sequence: int, *, accused_first: bool = False) -> None:
        me = self._me
        messages = [encode(Ping(sequence, record.name, me.raw_address, me.endpoint[1], me.name))]
        if record.state is not State.ALIVE:  # it should hear from us what it has to refute
            accusation = encode(Suspect(record.incarnation, record.name, me.name))
            messages.insert(0 if accused_first else 1, accusation)
        self._outgoing.send(record.endpoint, messages, record)

    def unsent(self, endpoint: Endpoint, now: float) -> None:
        """The kernel would not send to there: no need to wait for an answer."""
        for probe in list(self._pending.values()):
            if isinstance(probe, _Probe) and probe.record.endpoint == endpoint:
                self._ask_others(probe, now)

    def _ask_others(self, probe: _Probe, now: float) -> None:  # noqa: ARG002
        if probe.sequence not in self._pending or probe.indirect:
            return
        self._counts.probes_indirect += 1
        probe.indirect = True
        record, me = probe.record, self._me

        def wanted(helper: Record) -> bool:
            return helper is not record and helper.state is State.ALIVE

        for helper in self._members.pick(self._timing.indirect_checks, wanted):
            nack = helper.newest >= NACK
            probe.nacks_wanted += nack
            request = IndirectPing(
                probe.sequence, record.raw_address, record.endpoint[1], record.name, nack,
                me.raw_address, me.endpoint[1], me.name,
            )  # fmt: skip
            self._outgoing.send(helper.endpoint, [encode(request)], helper)
        if record.newest >= TCP_PING:
            within_s = max(0.0, probe.interval_s - self._timing.probe_timeout_s)
            self._outgoing.dials.append(StreamPing(record.endpoint, record.name, probe.sequence, within_s))

    def _judge(self, probe: _Probe, now: float) -> None:
        self._probed.discard(probe.record)
        if self._pending.pop(probe.sequence, None) is None:
            return
        self._counts.probes_failed += 1
        # If those whom we asked for help do not answer either, it is rather us.
        self._awareness.add(probe.nacks_wanted - probe.nacks if probe.nacks_wanted else 1)
        record = probe.record
        if self._members.by_name.get(record.name) is record:
            self._beliefs.suspect(Suspect(record.incarnation, record.name, self._me.name), now)

    # What comes in

    def ack(self, sequence: int, now: float) -> None:
        """An answer to something that we asked, for ourselves or for others; late ones mean nothing."""
        asked = self._pending.pop(sequence, None)
        if isinstance(asked, _Probe):
            self._awareness.add(-1)
        elif isinstance(asked, _Relay):
            self._relays -= 1
            self._outgoing.send(asked.asker, [encode(Ack(asked.asker_sequence))])
        elif asked is not None:
            self._back(asked.record, now)

    def nack(self, sequence: int) -> None:
        """A member that we asked for help got no answer: so we at least hear from it."""
        asked = self._pending.get(sequence)
        if isinstance(asked, _Probe):
            asked.nacks += 1

    def ping(self, told: Ping, source: Endpoint) -> None:
        """Somebody asks whether we are there."""
        if told.node and told.node != self._me.name:
            self._counts.misdirected += 1
            return
        self._outgoing.send(self._answer_to(told, source), [encode(Ack(told.sequence))])

    def _answer_to(self, told: Ping | IndirectPing, source: Endpoint) -> Endpoint:
        address = address_of(told.source_address)
        return (address, told.source_port) if address is not None and told.source_port else source

    def indirect_ping(self, told: IndirectPing, source: Endpoint, now: float) -> None:
        """Somebody wants us to ask another."""
        address = address_of(told.target)
        if address is None or not told.port or self._relays >= RELAYS_AT_MOST:
            return
        self._relays += 1
        self._counts.relayed += 1
        sequence = self._next_sequence()
        self._pending[sequence] = _Relay(self._answer_to(told, source), told.sequence, nack=told.nack)
        me = self._me
        ping = Ping(sequence, told.node, me.raw_address, me.endpoint[1], me.name)
        self._outgoing.send((address, told.port), [encode(ping)], self._members.by_name.get(told.node))
        self._agenda.at(now + self._timing.probe_timeout_s, partial(self._give_up, sequence))

    def _give_up(self, sequence: int, now: float) -> None:  # noqa: ARG002
        relay = self._pending.pop(sequence, None)
        if isinstance(relay, _Relay):
            self._relays -= 1
            if relay.nack:
                self._outgoing.send(relay.asker, [encode(Nack(relay.asker_sequence))])

    # Calling those who do not answer

    def _recall(self, now: float) -> None:
        self._agenda.at(now + self._timing.recall_s, self._recall)
        if not self._called:
            # Taken from the end: suspects first.
            self._called = sorted(self._members.silent.values(), key=lambda record: record.state is State.SUSPECT)
        for _ in range(CALLS):
            self._call_next(now)

    def _call_next(self, now: float) -> None:
        while self._called:
            record = self._called.pop()
            if self._members.silent.get(record.name) is record:
                self._call(record, now)
                return

    def _call(self, record: Record, now: float) -> None:
        self._counts.calls += 1
        sequence = self._next_sequence()
        self._pending[sequence] = _Call(record)
        self._ping(record, sequence, accused_first=True)
        self._agenda.at(now + self._timing.probe_interval_s, partial(self._hang_up, sequence))

    def _hang_up(self, sequence: int, now: float) -> None:  # noqa: ARG002
        self._pending.pop(sequence, None)

    def _back(self, record: Record, now: float) -> None:
        """One that was dead answers: a partition has healed, so others may be back too, and there is much to tell."""
        if record.state is State.SUSPECT:
            return
        self._beliefs.doubt_deaths()
        self._call_next(now)
        if self._reunion is None and self._members.chance(REUNIONS):
            self._reunion = record
            self._agenda.at(now + 2 * self._timing.probe_interval_s, self._reunite)

    def _reunite(self, now: float) -> None:  # noqa: ARG002
        record, self._reunion = self._reunion, None
        if record is not None and record.state is not State.LEFT:
            self._outgoing.dials.append(Exchange(record.endpoint, record.name))
