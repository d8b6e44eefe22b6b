"""Who owns an address: an election in which nobody votes. Pure: the same inputs give every member the same answer.

Inputs are the units (`arpfast.units`), the candidates, and who holds what now. Who is suspected is still a candidate;
who is dead, has left or was frozen is not: the caller leaves it out. The order of the inputs never matters.

A candidate may be refused a unit, each time for a reason. Without a carrier, or not on the address's subnet, it cannot
hold it. All else only lets others come first, in this order: who is able; who has weight 0; who is in hold-down; who is
drained; who is unhealthy. So no address is lost to a drain or a check as long as anybody is there: if all of its
candidates are drained, or all are unhealthy, it stays where it is, or goes where it would if none were, and
`Ballot.despite` says so. Among candidates that stand equally, a higher preference comes first, as between active and
standby hosts. What is then left to decide, the method decides.

`balanced` is rendezvous hashing with bounded load, stickiness and weights; rendezvous.h has the algorithm. If all
candidates may have all units,

- nobody owns more than 1.1 of its fair share, rounded up; that of n is total * weight of n / sum of weights;
- the loss of one moves its own units and no other; so does a drain, and a check that fails for all that it has;
- who is in hold-down keeps what it has and gets only what nobody else may have; after it, as few units move to it as
  bring it within a tenth of the others.

Where subnets or checks differ, loads are compared between any two that may have the same unit: the one that has it owns
at most 1.1 of what the other owns, for their weights, and one more. Then a loss may move some units more. A weight says
how much, not whether: any but 0 is worth an address, if there are as many addresses as candidates. To keep a host in
reserve, give it weight 0, or the others a preference.

`metallb` is the order of MetalLB's speakers, so that a ring of both agrees: by preference, then by the digest of
name "#" address, SHA-256. It knows no weight, no hold-down and no stickiness. Its first election over many units costs
one digest a unit and candidate, near a microsecond each; later ones find them in memory.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from arpfast.rendezvous import Fitness, Poll
from arpfast.spans import Span, Spans, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.spans import Version
    from arpfast.units import Units

WEIGHT_AT_MOST = 1_000_000

EVERYTHING = Spans.parse("0.0.0.0/0", "::/0")
"""What a candidate cannot serve that is unhealthy altogether."""

NOBODY = -1


class Method(StrEnum):
    """How it is decided between those who stand equally."""

    BALANCED = "balanced"
    METALLB = "metallb"


class Reason(StrEnum):
    """Why a candidate has a unit, or has it not."""

    KEPT = "has had it"
    ELECTED = "was elected"
    ABLE = "would be able"
    LESS_PREFERRED = "is less preferred"
    STANDBY = "has weight 0"
    HOLDING = "is in hold-down"
    DRAINED = "is drained"
    UNHEALTHY = "is unhealthy"
    NO_CARRIER = "has no carrier"
    OFF_SUBNET = "is not on its subnet"
    DEPARTED = "has departed"
    INELIGIBLE = "may not have it"


class Candidate(msgspec.Struct, frozen=True):
    """Who may own units."""

    name: str
    weight: int = 100
    """Its share among all weights; 0: only what no other may have."""
    preference: int = 0
    """A higher one comes before any weight."""
    drained: bool = False
    unhealthy: Spans = Spans()
    """What it cannot serve now."""
    carrier: bool = True
    networks: Spans | None = None
    """The subnets that it is on; None: on all."""
    holding: bool = False
    """In hold-down: it has come lately, and could soon be gone again."""
    mute: bool = False
    """It makes no claims: it has what its own election gives it (MetalLB's speakers)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a weight that the arithmetic has no room for."""
        if not 0 <= self.weight <= WEIGHT_AT_MOST:
            raise ValueError(f"expected a weight of 0 to {WEIGHT_AT_MOST} for {self.name}, not {self.weight}")


class Prospect(msgspec.Struct, frozen=True):
    """What a candidate may expect of a unit."""

    name: str
    turn: int | None
    """0 for the owner, 1 for who has it if that one falls silent, and so on as far as was asked; None: after these."""
    reasons: tuple[Reason, ...]


class Succession(msgspec.Struct, frozen=True):
    """Who takes what from one that falls silent."""

    fallen: str
    heirs: Mapping[str, Spans]
    """What each takes over."""
    seconds: Mapping[str, Mapping[str, Spans]]
    """By heir, should that one be silent too: what each takes over of what it would have taken."""


class Field(NamedTuple):
    """What stays the same in elections over the same units by the same candidates."""

    method: Method
    units: Units
    candidates: tuple[Candidate, ...]
    """In the order of their names."""
    claims: Mapping[str, Spans]
    poll: Poll


class Ballot:
    """The outcome. Immutable; what is asked of it is found out when it is asked."""

    __slots__ = ("_field", "_gone", "_holders", "_index", "_owned", "_owners")

    def __init__(self, field: Field, holders: bytes, gone: bytes) -> None:
        """Made by `elect` and `without`."""
        self._field, self._holders, self._gone = field, holders, gone
        self._index = {candidate.name: index for index, candidate in enumerate(field.candidates)}
        if field.method is Method.BALANCED:
            self._owners = field.poll.balanced(holders, gone)
        else:
            columns = [_digests(field.units, candidate.name) for candidate in field.candidates]
            self._owners = field.poll.first(columns, holders, gone)
        self._owned: list[Spans] | None = None

    @property
    def indices(self) -> memoryview[int]:
        """For each unit, which of the candidates, in the order of their names, owns it; -1: nobody."""
        return _numbers(self._owners)

    def _everybodys(self) -> list[Spans]:
        if self._owned is None:
            self._owned = self._field.units.gather(self._owners, len(self._field.candidates))
        return self._owned

    @property
    def owners(self) -> Mapping[str, Spans]:
        """What each candidate owns; those who own nothing are left out."""
        owned = zip(self._field.candidates, self._everybodys(), strict=True)
        return MappingProxyType({candidate.name: spans for candidate, spans in owned if spans})

    @property
    def unowned(self) -> Spans:
        """What nobody may own."""
        return self._field.units.spans - Spans(span for spans in self._everybodys() for span in spans)

    @property
    def despite(self) -> Mapping[Reason, Spans]:
        """What is owned by who is drained, or unhealthy, because nobody better is there."""
        owned = self._field.units.gather(self._field.poll.fitness_of(self._owners), len(Fitness))
        both = owned[Fitness.DRAINED_AND_UNHEALTHY]
        found = {Reason.DRAINED: owned[Fitness.DRAINED] | both, Reason.UNHEALTHY: owned[Fitness.UNHEALTHY] | both}
        return MappingProxyType({reason: spans for reason, spans in found.items() if spans})

    def owned(self, name: str) -> Spans:
        """What one owns; nothing if it is no candidate."""
        return self._everybodys()[self._index[name]] if name in self._index else Spans()

    def owner(self, version: Version, value: int) -> str | None:
        """Who owns this address; None also if it is of no unit."""
        unit = self._field.units.find(version, value)
        index = NOBODY if unit is None else self.indices[unit]
        return None if index == NOBODY else self._field.candidates[index].name

    def without(self, name: str) -> Ballot:
        """The next election, if nothing happens but that one falls silent."""
        if name not in self._index:
            return self
        gone = bytearray(self._gone)
        gone[self._index[name]] = True
        return Ballot(self._field, self._owners, bytes(gone))

    def succession(self, fallen: str) -> Succession:
        """Who takes each of the units of `fallen`, and who if that heir is silent too: the next elections' very answer.

        It costs one election over the units that change hands for each heir.
        """
        candidates = self._field.candidates
        index = self._index.get(fallen, NOBODY)
        inherited = [unit for unit, owner in enumerate(self.indices) if owner == index != NOBODY]
        after = self.without(fallen)
        heirs = _only(inherited, after.indices)
        seconds = {}
        for heir in sorted(set(_numbers(heirs)) - {NOBODY}):
            from_heir = [unit for unit in inherited if _numbers(heirs)[unit] == heir]
            taken = _only(from_heir, after.without(candidates[heir].name).indices)
            seconds[candidates[heir].name] = self._named(taken)
        return Succession(fallen, self._named(heirs), MappingProxyType(seconds))

    def why(self, version: Version, value: int, turns: int = 3) -> tuple[Prospect, ...]:
        """Everybody's prospects of the unit with this address: the first `turns` in the order of succession, then the
        others, those who may have it first, then who claims it and has departed. Nothing if it is of no unit.
        """
        unit = self._field.units.find(version, value)
        if unit is None:
            return ()
        candidates, poll = self._field.candidates, self._field.poll
        ballot, order = self, list[int]()
        while len(order) < turns and (index := ballot.indices[unit]) != NOBODY:
            order.append(index)
            ballot = ballot.without(candidates[index].name)
        others = [index for index in range(len(candidates)) if index not in order and not self._gone[index]]
        others.sort(key=lambda index: (poll.fitness(unit, index), -candidates[index].preference))
        anchor = self._field.units.territory(unit).spans[0]
        departed = {candidates[index].name for index, gone in enumerate(self._gone) if gone}
        departed |= {
            name
            for name, spans in self._field.claims.items()
            if name not in self._index and spans.find(version, anchor.first)
        }
        return (
            *(Prospect(candidates[index].name, turn, self._reasons(unit, index)) for turn, index in enumerate(order)),
            *(Prospect(candidates[index].name, None, self._reasons(unit, index)) for index in others),
            *(Prospect(name, None, (Reason.DEPARTED,)) for name in sorted(departed)),
        )

    def _named(self, labels: bytes) -> Mapping[str, Spans]:
        """Which spans the units with each candidate's label make up."""
        candidates = self._field.candidates
        gathered = zip(candidates, self._field.units.gather(labels, len(candidates)), strict=True)
        return MappingProxyType({candidate.name: spans for candidate, spans in gathered if spans})

    def _reasons(self, unit: int, index: int) -> tuple[Reason, ...]:
        candidate, owner = self._field.candidates[index], self.indices[unit]
        refusals = _refusals(candidate, self._field.units.territory(unit), self._field.method)
        if index == owner:
            kept = _numbers(self._holders)[unit] == index
            return (Reason.KEPT if kept else Reason.ELECTED, *refusals)
        if refusals:
            return refusals
        outdone = owner != NOBODY and candidate.preference < self._field.candidates[owner].preference
        return (Reason.LESS_PREFERRED if outdone else Reason.ABLE,)


def elect(method: Method, units: Units, candidates: Iterable[Candidate], incumbents: Mapping[str, Spans]) -> Ballot:
    """Give each unit an owner. `incumbents` says who holds what now, whether they are candidates or not; if two hold
    the same, one is believed: who may rather have it, then who scores higher.

    Raises ValueError if a candidate stands twice.
    """
    standing = tuple(sorted(candidates, key=lambda candidate: candidate.name))
    for before, after in pairwise(standing):
        if before.name == after.name:
            raise ValueError(f"expected each candidate once, not {after.name} twice")
    poll = _poll(method, units, standing)
    claims = incumbents if method is Method.BALANCED else {}
    holders = poll.holders([(index, claims[each.name]) for index, each in enumerate(standing) if each.name in claims])
    return Ballot(Field(method, units, standing, dict(incumbents), poll), holders, bytes(len(standing)))


def _poll(method: Method, units: Units, candidates: tuple[Candidate, ...]) -> Poll:
    """Sort the units into classes towards which everybody stands equally: walking up the units, from where anybody's
    standing changes to where anybody's does next.
    """
    turns: dict[int, list[tuple[int, Reason]]] = {0: []}
    for index, candidate in enumerate(candidates):
        if candidate.unhealthy:
            for turn in units.turns(candidate.unhealthy, entirely=False):
                turns.setdefault(turn, []).append((index, Reason.UNHEALTHY))
        if candidate.networks is not None:
            turns[0].append((index, Reason.OFF_SUBNET))
            for turn in units.turns(candidate.networks, entirely=True):
                turns.setdefault(turn, []).append((index, Reason.OFF_SUBNET))

    always = [frozenset(_general(candidate, method)) for candidate in candidates]
    now: list[frozenset[Reason]] = [frozenset()] * len(candidates)
    row = bytearray(_fitness(reasons) for reasons in always)
    rows: dict[bytes, int] = {}
    segments = []
    for start in sorted(turn for turn in turns if turn < len(units)):
        for index, reason in turns[start]:
            now[index] ^= {reason}
            row[index] = _fitness(always[index] | now[index])
        segments.append((start, rows.setdefault(bytes(row), len(rows))))
    preferences = sorted({-candidate.preference for candidate in candidates})
    grades = {preference: grade for grade, preference in enumerate(preferences)}
    return Poll(
        units.roll,
        [candidate.name for candidate in candidates],
        [candidate.weight for candidate in candidates],
        [grades[-candidate.preference] for candidate in candidates],
        list(rows),
        segments,
    )


def _general(candidate: Candidate, method: Method) -> tuple[Reason, ...]:
    """Why a candidate is refused any unit."""
    balanced = method is Method.BALANCED
    return (
        *((Reason.NO_CARRIER,) if not candidate.carrier else ()),
        *((Reason.DRAINED,) if candidate.drained else ()),
        *((Reason.HOLDING,) if candidate.holding and balanced else ()),
        *((Reason.STANDBY,) if candidate.weight == 0 and balanced else ()),
    )


def _refusals(candidate: Candidate, territory: Spans, method: Method) -> tuple[Reason, ...]:
    """Why a candidate is refused the unit with this territory."""
    networks = candidate.networks
    elsewhere = networks is not None and not all(span in networks for span in territory)
    return (
        *((Reason.OFF_SUBNET,) if elsewhere else ()),
        *((Reason.UNHEALTHY,) if candidate.unhealthy & territory else ()),
        *_general(candidate, method),
    )


def _fitness(refusals: frozenset[Reason]) -> Fitness:
    if refusals & {Reason.NO_CARRIER, Reason.OFF_SUBNET}:
        return Fitness.REFUSED
    if Reason.UNHEALTHY in refusals:
        return Fitness.DRAINED_AND_UNHEALTHY if Reason.DRAINED in refusals else Fitness.UNHEALTHY
    for reason, fitness in _BY_REASON.items():
        if reason in refusals:
            return fitness
    return Fitness.ABLE


_BY_REASON = {
    Reason.DRAINED: Fitness.DRAINED,
    Reason.HOLDING: Fitness.HOLDING,
    Reason.STANDBY: Fitness.STANDBY,
}


def _numbers(labels: bytes) -> memoryview[int]:
    return memoryview(labels).cast("i")


def _only(chosen: Iterable[int], numbers: memoryview[int]) -> bytes:
    """The numbers of some units; all others have none."""
    labels = bytearray(b"\xff" * 4 * len(numbers))
    into = memoryview(labels).cast("i")
    for unit in chosen:
        into[unit] = numbers[unit]
    return bytes(labels)


@lru_cache(maxsize=256)
def _digests(units: Units, name: str) -> bytes:
    """What MetalLB sorts candidates by: for each unit the SHA-256 of name "#" address, the address as Go writes it."""
    prefix = sha256(f"{name}#".encode())
    digests = []
    for text in _texts(units):
        digest = prefix.copy()
        digest.update(text)
        digests.append(digest.digest())
    return b"".join(digests)


@lru_cache(maxsize=4)
def _texts(units: Units) -> tuple[bytes, ...]:
    return tuple(_text(span).encode() for span in units)


def _text(span: Span) -> str:
    """A unit as text; an IPv4 address mapped into IPv6 is written as IPv4, as in Go."""
    if span.version == 6 and span.size == 1:
        address = address_of(6, span.first)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(span)
