"""Proof that a new address works: the default routers are asked from it, and their answer must find its way back. Pure.

A request from the address to the router's own address updates or creates the router's neighbour entry even where
gratuitous announcements are ignored, and the unicast answer passes every switch on the way. What stays unanswered is
asked again, then reported. Of very many addresses a sample is asked.

A port of a switch may forward nothing for half a minute after it has come up (STP): then nobody has heard our
announcements either. So after the report one address of each family goes on asking, ever more rarely, and the first
answer has all that was announced in vain announced anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from arpfast.crossing import MessageKind
from arpfast.inspection import Confirmation
from arpfast.probing import PROBED_AT_MOST
from arpfast.spans import NOTHING, Address, Span, Spans, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.conflicts import Key
    from arpfast.presence import Presence
    from arpfast.spans import Version

ASKED_AT_MOST = 1024
"""Addresses of one batch that a router is asked from."""
REMEMBERED = 8192
ROUTERS_AT_MOST = 64
ASK_AGAIN_S, ASK_TIMES = 1.0, 3
SCOUT_FIRST_S, SCOUT_LAST_S = 4.0, 32.0
"""Between the questions after that, at first and at last."""


class _Asked(msgspec.Struct):
    since_s: float
    answers: dict[bytes, float]


class Confirming:
    """The questions of one interface and their answers."""

    def __init__(self, presence: Presence) -> None:
        """Nothing asked yet."""
        self._presence = presence
        self._asked: dict[Key, _Asked] = {}
        self._vain: dict[int, Spans] = {}
        """What was announced and nobody answered, by its family."""
        self._scouting: set[int] = set()
        """The families of which an address goes on asking."""
        self.routers: frozenset[bytes] = frozenset()
        """Who has answered so far."""

    def ask(self, spans: Spans, now: float) -> None:
        """Ask all gateways of the interface from (a sample of) these new addresses."""
        self._ask(spans, self._presence.interface.gateways, now)

    def ask_new_gateways(self, known: tuple[Address, ...], now: float) -> None:
        """Ask those gateways that were not there before, from all that is answered (a sample)."""
        gateways = self._presence.interface.gateways
        self._ask(self._presence.answering, tuple(gateway for gateway in gateways if gateway not in known), now)

    def confirm(self, key: Key, mac: bytes, at_s: float) -> None:
        """Somebody answered: `at_s` is when the frame came."""
        if mac in self._presence.telling.told:  # not asked, but told: it answers that, too
            return
        asked = self._asked.get(key)
        if asked is not None and mac not in asked.answers:
            if len(self.routers) < ROUTERS_AT_MOST:
                self.routers |= {mac}
            if not asked.answers:
                self._presence.office.counts["confirmed"] += 1
            asked.answers[mac] = max(0.0, at_s - asked.since_s) * 1e3
            if vain := self._vain.pop(key[0], NOTHING) & self._presence.answering:
                self._begin_anew(vain, key, at_s)

    def forget(self, spans: Spans) -> None:
        """These are no longer answered."""
        if all(span.size == 1 for span in spans) and len(spans.spans) < len(self._asked):
            for version, first, _ in spans:
                self._asked.pop((version, first), None)
        else:
            for key in [key for key in self._asked if spans.find(*key)]:
                del self._asked[key]

    def of(self, key: Key) -> tuple[Confirmation, ...]:
        """Who answered the address, and how fast."""
        asked = self._asked.get(key)
        if asked is None:
            return ()
        return tuple(Confirmation(mac.hex(":"), round(ms, 3)) for mac, ms in asked.answers.items())

    def unconfirmed(self) -> int:
        """How many questions have no answer so far."""
        return sum(not asked.answers for asked in self._asked.values())

    def _ask(self, spans: Spans, gateways: tuple[Address, ...], now: float) -> None:
        if not self._presence.office.settings.confirm:
            return
        for version in (4, 6):
            of_version = tuple(gateway for gateway in gateways if gateway.version == version)
            if not of_version:
                continue
            sample, _ = spans.of_version(version).window(None, ASKED_AT_MOST, largest=PROBED_AT_MOST)
            keys: list[Key] = [(version, value) for _, first, last in sample for value in range(first, last + 1)]
            for key in keys:
                self._asked.pop(key, None)
                self._asked[key] = _Asked(now, {})
            while len(self._asked) > REMEMBERED:
                del self._asked[next(iter(self._asked))]
            if keys:
                self._send(keys, of_version, 1, now)

    def _send(self, keys: list[Key], gateways: tuple[Address, ...], times: int, now: float) -> None:
        presence = self._presence
        spans = _singles(keys)

        def left(now: float) -> None:
            presence.office.agenda.at(now + ASK_AGAIN_S, lambda now: self._check(keys, gateways, times, now))

        for gateway in gateways:
            presence.send(
                MessageKind.ASK,
                spans,
                now,
                live=self._live,
                then=left if gateway is gateways[-1] else None,
                target=int(gateway),
            )

    def _live(self, spans: Spans) -> Spans:
        return spans & self._presence.answering

    def _check(self, keys: list[Key], gateways: tuple[Address, ...], times: int, now: float) -> None:
        presence = self._presence
        if presence.gone:
            return
        open_keys = [
            key
            for key in keys
            if (asked := self._asked.get(key)) is not None and not asked.answers and presence.answering.find(*key)
        ]
        if not open_keys:
            return
        if times < ASK_TIMES:
            self._send(open_keys, gateways, times + 1, now)
            return
        presence.office.counts["unconfirmed"] += len(open_keys)
        presence.office.say(
            "warning",
            "no router answered a request from our address",
            interface=presence.interface.name,
            address=str(address_of(*open_keys[0])),
            addresses=len(open_keys),
            routers=", ".join(map(str, gateways)),
        )
        version = open_keys[0][0]
        self._vain[version] = self._vain.get(version, NOTHING) | _singles(open_keys)
        if version not in self._scouting:
            self._scouting.add(version)
            presence.office.agenda.at(now + SCOUT_FIRST_S, lambda now: self._scout(version, SCOUT_FIRST_S, now))

    def _scout(self, version: Version, pause_s: float, now: float) -> None:
        presence = self._presence
        vain = self._vain.get(version, NOTHING) & presence.answering
        gateways = tuple(gateway for gateway in presence.interface.gateways if gateway.version == version)
        if presence.gone or not vain or not gateways:
            self._vain.pop(version, None)
            self._scouting.discard(version)
            return
        first = vain.spans[0].first
        for gateway in gateways:
            presence.send(MessageKind.ASK, _singles([(version, first)]), now, live=self._live, target=int(gateway))
        pause_s = min(2 * pause_s, SCOUT_LAST_S)
        presence.office.agenda.at(now + pause_s, lambda now: self._scout(version, pause_s, now))

    def _begin_anew(self, vain: Spans, key: Key, now: float) -> None:
        """The way to a router is open, as it was not before."""
        presence = self._presence
        presence.office.say("info", "a router answers at last", interface=presence.interface.name,
                            address=str(address_of(*key)), addresses=vain.size)  # fmt: skip
        presence.repeating.announce(vain, now)
        if rest := vain - _singles([key]):
            self.ask(rest, now)


def _singles(keys: Iterable[Key]) -> Spans:
    return Spans(Span(version, value, value) for version, value in keys)
