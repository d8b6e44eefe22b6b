"""The elections of a cluster's ring: of the members that are here, the first in each address's order. Pure.

The order comes from `decide`, and is MetalLB's; so is the rule, among members that all could have the address. One that
is drained comes after the others, and last one who has no carrier where the address is to be answered. MetalLB's
speakers may be members; they hear nothing of that, and take what they believe to be theirs without a word: so none of
them is ever given what it would leave to another.

An election over ten thousand addresses takes milliseconds, and most turns of the ring ask for the one that was held
already: an electorate remembers its last election, and hands it on to the electorate that differs by a few decisions.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from arpfast.election import Prospect, Reason, Succession
from arpfast.spans import NOTHING, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from arpfast.election import Candidate
    from arpfast.spans import Version
    from speaker.decide import Decision


class Stand(IntEnum):
    """How a member stands for any address."""

    ABLE = 0
    MUTE = 1
    DRAINED = 2
    STRANDED = 3
    """Without a carrier where this address is to be answered: better than nobody, for it may be heard yet."""
    LAME = 4
    """Without a carrier."""


_REASONS = {
    Stand.DRAINED: (Reason.DRAINED,),
    Stand.STRANDED: (Reason.NO_CARRIER,),
    Stand.LAME: (Reason.NO_CARRIER,),
}


class Standings(NamedTuple):
    """How all members stand."""

    stands: Mapping[str, Stand]
    """For any address."""
    stranded: Mapping[str, Spans]
    """For which addresses some stand worse."""

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Standings:
        """By what they say of themselves."""
        found = list(candidates)
        stranded = {candidate.name: candidate.unhealthy for candidate in found if candidate.unhealthy}
        return cls({candidate.name: stand(candidate) for candidate in found}, stranded)

    def towards(self, span: Span) -> Mapping[str, Stand]:
        """How they stand for one address."""
        worse = {
            name: max(Stand.STRANDED, self.stands[name])
            for name, spans in self.stranded.items()
            if spans.find(span.version, span.first)
        }
        return {**self.stands, **worse} if worse else self.stands

    def without(self, name: str) -> Standings:
        """The same but for one who is gone."""
        return Standings(
            {each: stand for each, stand in self.stands.items() if each != name},
            {each: spans for each, spans in self.stranded.items() if each != name},
        )


def stand(candidate: Candidate) -> Stand:
    """How it stands."""
    if not candidate.carrier:
        return Stand.LAME
    return Stand.DRAINED if candidate.drained else Stand.MUTE if candidate.mute else Stand.ABLE


def choose(succession: Iterable[str], stands: Mapping[str, Stand]) -> str | None:
    """The owner among those who stand."""
    present = [name for name in succession if name in stands]
    for name in present:
        if stands[name] is Stand.ABLE or (stands[name] is Stand.MUTE and name == present[0]):
            return name
    for last in (Stand.DRAINED, Stand.STRANDED):
        for name in present:
            if stands[name] is last:
                return name
    return None


class Ballot:
    """The outcome. Immutable."""

    def __init__(
        self,
        decisions: Mapping[Span, Decision],
        standings: Standings,
        owner_of: Mapping[Span, str | None],
        shares: Mapping[str | None, Spans],
    ) -> None:
        """Made by `Electorate.elect`."""
        self.decisions, self.standings, self.owner_of, self.shares = decisions, standings, owner_of, shares
        self._successions: dict[str, Succession] = {}

    @property
    def owners(self) -> Mapping[str, Spans]:
        """What each owns."""
        return {name: spans for name, spans in self.shares.items() if name is not None}

    @property
    def unowned(self) -> Spans:
        """What nobody who is here may own."""
        return self.shares.get(None, NOTHING)

    def owned(self, name: str) -> Spans:
        """What one owns."""
        return self.shares.get(name, NOTHING)

    def succession(self, fallen: str) -> Succession:
        """Who takes each address of `fallen`, and who if that one is silent too."""
        if fallen not in self._successions:
            left = self.standings.without(fallen)
            heirs: dict[str, list[Span]] = {}
            for span in self.owned(fallen):
                for one in _singles(span):
                    if heir := choose(self.decisions[one].succession, left.towards(one)):
                        heirs.setdefault(heir, []).append(one)
            seconds: dict[str, Mapping[str, Spans]] = {}
            for heir, spans in heirs.items():
                then: dict[str, list[Span]] = {}
                without = left.without(heir)
                for one in spans:
                    if second := choose(self.decisions[one].succession, without.towards(one)):
                        then.setdefault(second, []).append(one)
                seconds[heir] = _frozen(then)
            self._successions[fallen] = Succession(fallen, _frozen(heirs), MappingProxyType(seconds))
        return self._successions[fallen]

    def why(self, version: Version, value: int) -> tuple[Prospect, ...]:
        """Everybody's prospects of an address: in the order of succession, then who may not have it."""
        decision = self.decisions.get(Span(version, value, value))
        if decision is None:
            return ()
        left, prospects = dict(self.standings.towards(Span(version, value, value))), list[Prospect]()
        while name := choose(decision.succession, left):
            first = Reason.ABLE if prospects else Reason.ELECTED
            prospects.append(Prospect(name, len(prospects), (first, *_REASONS.get(left.pop(name), ()))))
        for name in sorted(left):
            may = name in decision.succession
            reasons = _REASONS.get(left[name], (Reason.ABLE,)) if may else (Reason.INELIGIBLE,)
            prospects.append(Prospect(name, None, reasons))
        return tuple(prospects)


class Electorate:
    """Who may have which address. Immutable but for what it remembers."""

    def __init__(self, decisions: Mapping[Span, Decision]) -> None:
        """`decisions` stay as they are; addresses that nobody may have are left out."""
        self.decisions = {span: decision for span, decision in decisions.items() if decision.succession}
        self.spans = Spans(self.decisions)
        self.keeps = False
        self._last: Ballot | None = None
        self._changed: Collection[Span] = ()
        """Since the last election."""

    def replaced(self, decisions: Mapping[Span, Decision], changed: Collection[Span]) -> Electorate:
        """The electorate by later decisions, of which only these differ."""
        after = Electorate({})
        after.decisions = dict(self.decisions)
        for span in changed:
            decision = decisions.get(span)
            if decision is not None and decision.succession:
                after.decisions[span] = decision
            else:
                after.decisions.pop(span, None)
        there = Spans(span for span in changed if span in after.decisions)
        after.spans = (self.spans - Spans(changed)) | there
        after._last, after._changed = self._last, {*self._changed, *changed}
        return after

    def elect(self, candidates: Iterable[Candidate], incumbents: Mapping[str, Spans]) -> Ballot:
        """Give each address an owner. Who holds what does not matter: the order is all."""
        del incumbents
        standings = Standings.of(candidates)
        last = self._last
        if last is None or last.standings != standings:
            owners = {
                span: choose(decision.succession, standings.towards(span)) for span, decision in self.decisions.items()
            }
            self._last = Ballot(self.decisions, standings, owners, _shares(owners))
        elif self._changed:
            self._last = self._corrected(last, standings)
        self._changed = ()
        assert self._last is not None
        return self._last

    def _corrected(self, last: Ballot, standings: Standings) -> Ballot:
        owners = dict(last.owner_of)
        lost, given = dict[str | None, list[Span]](), dict[str | None, list[Span]]()
        for span in self._changed:
            if span in owners:
                lost.setdefault(owners.pop(span), []).append(span)
            if span in self.decisions:
                owners[span] = owner = choose(self.decisions[span].succession, standings.towards(span))
                given.setdefault(owner, []).append(span)
        shares = dict(last.shares)
        for name in lost.keys() | given.keys():
            shares[name] = (shares.get(name, NOTHING) - Spans(lost.get(name, ()))) | Spans(given.get(name, ()))
        return Ballot(self.decisions, standings, owners, shares)


def _shares(owners: Mapping[Span, str | None]) -> dict[str | None, Spans]:
    shares: dict[str | None, list[Span]] = {}
    for span, owner in owners.items():
        shares.setdefault(owner, []).append(span)
    return {owner: Spans(spans) for owner, spans in shares.items()}


def _singles(span: Span) -> Iterable[Span]:
    return (Span(span.version, value, value) for value in range(span.first, span.last + 1))


def _frozen(shares: Mapping[str, list[Span]]) -> Mapping[str, Spans]:
    return MappingProxyType({name: Spans(spans) for name, spans in shares.items()})
