"""The life of our addresses on one interface, from the wish to the answer. Pure: time and randomness come in, frames
and events go out through the `Office`.

An address that is wanted here is in exactly one of these sets, all of them interval sets, so that a /12 is one entry:

    waiting    -> probing -> answering
                    |            |
                    v            v
                  taken       yielded        (the exceptions: one small object each; tried again later)

`waiting` and `probing` are *tentative* in the table: watched, never answered. Large sets are probed in batches of a
fifth of a second of the pace, so that the first addresses work long before the last have been probed. Without carrier
all is waiting, and probed again when it comes back (RFC 5227 §2.1), unless probing is off. Whatever waits for a timer
or for its turn to leave is checked against the sets again when its time has come; so nothing has to be called back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arpfast.agenda import Action, Parcel
from arpfast.confirming import Confirming
from arpfast.conflicts import MAX_CONFLICTS, RATE_LIMIT_INTERVAL_S, Conflicts, Key, Reaction, Withheld, retry_delay_s
from arpfast.crossing import MessageKind
from arpfast.probing import PROBED_AT_MOST, ProbeMode, ProbePlan, plan
from arpfast.repeating import Repeating
from arpfast.spans import NOTHING, Span, Spans, Version, address_of
from arpfast.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arpfast.interfaces import Interface
    from arpfast.office import Office

BATCH_S = 0.2
"""How much of the pace one batch of probes takes."""
LATER_S = 0.05
"""How long a table may wait for more of the same, when only watching changed."""
ERAS = 64
"""How many times of change are remembered for `since`; older ones are merged."""


class Presence:
    """Our addresses on one interface."""

    def __init__(self, interface: Interface, nonce: bytes, office: Office) -> None:
        """Nothing is wanted yet."""
        self.interface, self.nonce, self.office = interface, nonce, office
        self.own = self.proxied = self.waiting = self.probing = self.answering = Spans()
        self.withheld: dict[Key, Withheld] = {}
        self.conflicts = Conflicts()
        self.groups_joined = False
        self.dirty = True
        """The responder has to be told."""
        self.gone = False
        self.eras: list[tuple[float, Spans]] = []
        """Which addresses began to be answered when, the latest last."""
        self.repeating = Repeating(self)
        self.confirming = Confirming(self)
        self.telling = Telling(self)
        self._probes_by = 0
        self._beginning = False
        self._dirty_later = False
        self._conflicts_seen = 0
        self._attempt_s = float("-inf")

    # -- the wish ----------------------------------------------------------------------------------------------------

    def update(self, interface: Interface, own: Spans, proxied: Spans, now: float, *, settled: Spans = NOTHING) -> None:
        """Take the interface as it is now, and what is wanted on it. What is new and `settled` is not probed."""
        before, self.interface = self.interface, interface
        if interface != before:
            self.dirty = True
        if proxied is not self.proxied and proxied != self.proxied:
            self.proxied, self.dirty = proxied, True
        added = Spans()
        if own is not self.own and own != self.own:
            added, removed = own - self.own, self.own - own
            self.own = own
            self._remove(removed)
        if added.of_version(6) or not interface.ipv6 or interface.ipv6_ended != before.ipv6_ended:
            self.groups_joined = False
        if before.carrier and not interface.carrier:
            self._lose_carrier()
        elif interface.carrier and not before.carrier:
            self._regain_carrier(now)
        elif interface.mac != before.mac:
            self.repeating.announce(self.answering, now)
        if interface.gateways != before.gateways:
            self.confirming.ask_new_gateways(before.gateways, now)
        if known := added & settled:
            self._answer(known, now, router_first=True)
        if unknown := added - known:
            self._admit(unknown, now)

    def close(self) -> None:
        """The interface is no longer used: whatever is still to happen here will not."""
        self.gone = True

    def announce(self, spans: Spans, now: float) -> tuple[int, int]:
        """Announce what is answered among `spans` again, at once, and try those again that others had. How many of
        each.
        """
        again = spans & self.answering
        self.repeating.announce(again, now)
        tried = [key for key, held in self.withheld.items() if not held.trying and spans.find(*key)]
        self._try_again(tried, now)
        return again.size, len(tried)

    def forgive(self, macs: frozenset[bytes], now: float) -> None:
        """Begin anew with what these hosts were found to have: they turned out to be members of our ring."""
        forgiven = [key for key, held in self.withheld.items() if not held.yielded and held.mac in macs]
        for key in forgiven:
            del self.withheld[key]
        if forgiven:
            self._conflicts_seen = max(0, self._conflicts_seen - len(forgiven))
            self._admit(_singles(forgiven) - self.waiting - self.probing, now)

    def _remove(self, removed: Spans) -> None:
        if not removed:
            return
        self.waiting -= removed
        self.probing -= removed
        self.answering -= removed
        for key in [key for key in self.withheld if removed.find(*key)]:
            del self.withheld[key]
        self.confirming.forget(removed)
        self.dirty = True

    def _admit(self, added: Spans, now: float) -> None:
        within, too_large = added.parted(PROBED_AT_MOST)
        for span in too_large:
            self._say("warning", "too many addresses to probe or announce: answered for at once", addresses=str(span))
        if self.office.settings.probe is ProbeMode.OFF:
            self._answer(added, now)
            return
        if too_large:
            self._answer(too_large, now)
        self.waiting |= within
        self.dirty = True
        self._begin(now)

    def _lose_carrier(self) -> None:
        if self.office.settings.probe is ProbeMode.OFF:
            return
        self._probes_by += 1
        within, large = self.answering.parted(PROBED_AT_MOST)
        self.waiting |= self.probing | within
        self.probing, self.answering = Spans(), large
        self.dirty = True

    def _regain_carrier(self, now: float) -> None:
        self.repeating.announce(self.answering, now)
        self._begin(now)
        self._try_again([key for key, held in self.withheld.items() if not held.trying], now)

    # -- probing -----------------------------------------------------------------------------------------------------

    def join(self, now: float) -> None:
        """The solicited-node groups of all IPv6 addresses have been joined: these can be probed now (RFC 4862
        §5.4.2).
        """
        if not self.groups_joined:
            self.groups_joined = True
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Start probing the next batch."""
        if self.gone or not self.interface.carrier or self._beginning:
            return
        mode = self.office.settings.probe
        if mode is ProbeMode.OFF:
            clear, self.waiting = self.waiting, Spans()
            self._answer(clear, now)
            return
        frames = 0
        for version in (4, 6):
            ready = self._ready(version)
            if not ready:
                continue
            batch, _ = ready.window(None, max(1, int(self.office.outbox.rate_per_s * BATCH_S)), largest=ready.size)
            self.waiting -= batch
            self.probing |= batch
            how = plan(mode, version, self.office.random)
            frames += batch.size * (how.probes + self.office.settings.repeat + 1)
            self._in(how.first_delay_s, now, partial(self._probe, batch, how, self.office.taken_lost, 0))
        if frames and (self._ready(4) or self._ready(6)):
            self._beginning = True
            self.office.agenda.at(now + frames / self.office.outbox.rate_per_s, self._begin_next)

    def _begin_next(self, now: float) -> None:
        self._beginning = False
        self._begin(now)

    def _ready(self, version: Version) -> Spans:
        if version == 6 and not self.groups_joined:
            return Spans()
        return self.waiting.of_version(version)

    def _in(self, delay_s: float, now: float, action: Action) -> None:
        """Act now or later, unless the carrier has been lost meanwhile."""
        lost = self._probes_by

        def if_still(now: float) -> None:
            if not self.gone and self._probes_by == lost:
                action(now)

        if delay_s <= 0:
            if_still(now)
        else:
            self.office.agenda.at(now + delay_s, if_still)

    def _probe(self, batch: Spans, how: ProbePlan, taken_lost: int, sent: int, now: float) -> None:
        if sent == how.probes:
            self._verdict(batch, taken_lost, now)
            return

        def left(now: float) -> None:
            self._in(how.gaps_s[sent], now, lambda now: self._probe(batch, how, taken_lost, sent + 1, now))

        self.send(MessageKind.PROBE, batch, now, live=lambda spans: spans & self.probing, then=left)

    def _verdict(self, batch: Spans, taken_lost: int, now: float) -> None:
        clear = batch & self.probing
        self.probing -= clear
        if self.office.taken_lost != taken_lost:  # so silence proves nothing
            self.waiting |= clear
            self._begin(now)
            return
        for key in [key for key, held in self.withheld.items() if held.trying and clear.find(*key)]:
            del self.withheld[key]
            self._say("info", "address is free again: now answered", address=str(address_of(*key)))
        self._answer(clear, now)

    def _answer(self, spans: Spans, now: float, *, router_first: bool = False) -> None:
        if not spans:
            return
        self.answering |= spans
        self.eras.append((now, spans))
        if len(self.eras) > ERAS:
            (_, older), (since, newer) = self.eras[:2]
            self.eras[:2] = [(since, older | newer)]
        self.dirty = True
        if router_first:
            self.confirming.ask(spans, now)
            self.telling.tell(spans, now)
        self.repeating.announce(spans, now)
        if not router_first:
            self.confirming.ask(spans, now)

    # -- facts -------------------------------------------------------------------------------------------------------

    def found_taken(self, found: Mapping[Key, bytes], now: float) -> None:
        """Other hosts, by MAC, use or probe for addresses that we probe."""
        known = self.office.macs | self.office.members
        taken = [
            (key, mac)
            for key, mac in found.items()
            if mac not in known and self.own.find(*key) and self._withhold(key, mac, now)
        ]
        self.office.counts["taken"] += len(taken)
        if taken:
            self._stop_using(_singles(key for key, _ in taken), now)

    def found_conflict(self, key: Key, mac: bytes, now: float) -> None:
        """Another host uses an address that we answer for."""
        if mac in self.office.macs or mac in self.office.members or not self.answering.find(*key):
            return
        self._conflicts_seen += 1
        self.office.counts["conflicts"] += 1
        policy = self.office.settings.conflict
        reaction, news = self.conflicts.observe(key, mac, now, policy)
        if news:
            self._warn(
                now,
                "another host uses an address of ours",
                address=str(address_of(*key)),
                mac=mac.hex(":"),
                policy=policy.value,
            )
        if reaction is Reaction.ANNOUNCE:
            self.office.counts["defended"] += 1
            self.send(
                MessageKind.ANNOUNCE, _singles([key]), now, live=lambda spans: spans & self.answering, urgent=True
            )
        elif reaction is Reaction.GIVE_UP:
            self.office.counts["yielded"] += 1
            self._withhold(key, mac, now, yielded=True)
            self._stop_using(_singles([key]), now)

    def _withhold(self, key: Key, mac: bytes, now: float, *, yielded: bool = False) -> bool:
        held = self.withheld.get(key)
        if held is not None and not held.trying:
            return False
        times = 1 if held is None else held.times + 1
        retry_s = now + retry_delay_s(times, self.office.random)
        if not yielded:
            self._conflicts_seen += 1
        if held is None or held.mac != mac:
            self._warn(
                now,
                "address given up to another host" if yielded else "address is in use by another host: not answered",
                address=str(address_of(*key)),
                mac=mac.hex(":"),
                retry_in_s=round(retry_s - now),
            )
        self.withheld[key] = Withheld(mac, now if held is None else held.since_s, retry_s, yielded, times)
        self.office.agenda.at(retry_s, self._retry)
        return True

    def _stop_using(self, addresses: Spans, now: float) -> None:
        if addresses & self.answering:
            self.answering -= addresses
            self.dirty = True
        elif not self._dirty_later:
            self._dirty_later = True
            self.office.agenda.at(now + LATER_S, self._make_dirty)
        self.waiting -= addresses
        self.probing -= addresses
        self.confirming.forget(addresses)

    def _make_dirty(self, _now: float) -> None:
        self._dirty_later = False
        self.dirty = True

    def _retry(self, now: float) -> None:
        """Try what is due, and what is nearly: together they cost one table."""
        if not self.gone:
            self._try_again(
                [key for key, held in self.withheld.items() if not held.trying and held.retry_s <= now + 1], now
            )

    def _try_again(self, keys: list[Key], now: float) -> None:
        if not keys or not self.interface.carrier:
            return
        if self._conflicts_seen >= MAX_CONFLICTS and now < self._attempt_s + RATE_LIMIT_INTERVAL_S:
            self.office.agenda.at(self._attempt_s + RATE_LIMIT_INTERVAL_S, self._retry)
            for key in keys:
                self.withheld[key].retry_s = self._attempt_s + RATE_LIMIT_INTERVAL_S
            return
        self._attempt_s = now
        for key in keys:
            self.withheld[key].trying = True
        self.waiting |= _singles(keys)
        self.dirty = True
        self._begin(now)

    # -- small things ------------------------------------------------------------------------------------------------

    @property
    def tentative(self) -> Spans:
        """What is watched but not answered."""
        return self.waiting | self.probing

    @property
    def proxying(self) -> Spans:
        """What is answered without being ours: not what we leave to another host."""
        if not self.withheld:
            return self.proxied
        return self.proxied - _singles(self.withheld)

    def since(self, key: Key) -> float | None:
        """When the address began to be answered, on the caller's clock."""
        return next((since for since, spans in reversed(self.eras) if spans.find(*key)), None)

    def send(
        self,
        kind: MessageKind,
        spans: Spans,
        now: float,
        *,
        live: Callable[[Spans], Spans],
        then: Action | None = None,
        urgent: bool = False,
        target: int = 0,
        mac: bytes = b"",
    ) -> None:
        def still_live(spans: Spans) -> Spans:
            return Spans() if self.gone or not self.interface.carrier else live(spans)

        parcel = Parcel(kind, self.interface.index, spans, live=still_live, then=then, target=target, mac=mac)
        self.office.outbox.put(parcel, now, urgent=urgent)

    def _warn(self, now: float, event: str, **fields: str | float) -> None:
        self.office.warn(now, event, interface=self.interface.name, **fields)

    def _say(self, level: str, event: str, **fields: str | float) -> None:
        self.office.say(level, event, interface=self.interface.name, **fields)


def _singles(keys: Iterable[Key]) -> Spans:
    return Spans(Span(version, value, value) for version, value in keys)
