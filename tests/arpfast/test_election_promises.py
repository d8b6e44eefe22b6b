"""What `balanced` promises, for any candidates and any past: against plain Python, and as a ring that lives."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from arpfast.election import EVERYTHING, Ballot, Candidate, Method, elect
from arpfast.spans import Span, Spans
from arpfast.units import Units
from tests.arpfast import electing

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = ["a", "b", "c", "d", "e"]
ADDRESSES = [Span.parse(f"192.0.2.{host}") for host in range(24)]
ADDRESSES += [Span.parse(f"2001:db8::{host:x}") for host in range(8)]
PREFIXES = [Span.parse(text) for text in ("2001:db8::/64", "192.0.2.0/25", "2001:db8:1::/64")]
NETWORKS = [Spans.parse("192.0.2.0/28"), Spans.parse("192.0.2.0/24"), Spans.parse("192.0.2.8/29", "2001:db8::/64")]

some_addresses = st.sets(st.sampled_from(ADDRESSES)).map(Spans)
candidates = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(NAMES),
        weight=st.sampled_from([0, 1, 2, 3, 50, 100, 1_000_000]),
        preference=st.integers(0, 1),
        drained=st.booleans(),
        unhealthy=st.one_of(st.just(Spans()), st.just(EVERYTHING), some_addresses),
        carrier=st.sampled_from([True, True, True, False]),
        networks=st.sampled_from([None, None, *NETWORKS]),
        holding=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda candidate: candidate.name,
)
incumbents = st.dictionaries(st.sampled_from([*NAMES, "gone"]), some_addresses)
weights = st.lists(st.integers(1, 200), min_size=1, max_size=6)


def elected(units: Units, stand: Iterable[Candidate], holders: Mapping[str, Spans]) -> Ballot:
    return elect(Method.BALANCED, units, stand, holders)


def weighted(some: Iterable[int]) -> list[Candidate]:
    return [Candidate(f"n{index}", weight=weight) for index, weight in enumerate(some)]


def owners(units: Units, ballot: Ballot) -> list[str | None]:
    anchors = [units.territory(unit).spans[0] for unit in range(len(units))]
    return [ballot.owner(anchor.version, anchor.first) for anchor in anchors]


def moved(before: Mapping[str, Spans], ballot: Ballot) -> int:
    return sum((spans - ballot.owned(name)).size for name, spans in before.items())


@PATIENT
@given(
    st.sets(st.sampled_from(ADDRESSES)),
    st.sets(st.sampled_from(PREFIXES)),
    candidates,
    incumbents,
    st.randoms(use_true_random=False),
)
def test_it_agrees_with_plain_python_in_whatever_order_it_is_asked(
    own: set[Span], proxied: set[Span], stand: list[Candidate], holders: dict[str, Spans], mixed: random.Random
) -> None:
    units = Units(own, proxied)
    expected = electing.elect([(span, units.territory(at)) for at, span in enumerate(units)], stand, holders)
    assert owners(units, elected(units, stand, holders)) == expected
    shuffled = [*own], [*proxied], [*stand], [*holders.items()]
    for each in shuffled:
        mixed.shuffle(each)
    units = Units(*shuffled[:2])
    assert owners(units, elected(units, shuffled[2], dict(shuffled[3]))) == expected


@PATIENT
@given(st.integers(0, len(ADDRESSES)), weights, st.lists(some_addresses, max_size=6))
def test_nobody_has_much_more_than_its_share_and_a_loss_moves_only_what_is_lost(
    count: int, some: list[int], holders: list[Spans]
) -> None:
    units, stand = Units(ADDRESSES[:count]), weighted(some)
    ballot = elected(units, stand, {f"n{index}": spans for index, spans in enumerate(holders)})
    for candidate in stand:
        assert ballot.owned(candidate.name).size <= math.ceil(11 * count * candidate.weight / (10 * sum(some)))
    assert elected(units, stand, ballot.owners).owners == ballot.owners
    for lost in stand:
        rest = [each for each in stand if each is not lost]
        after = elected(units, rest, ballot.owners)
        assert after.owners == ballot.without(lost.name).owners
        if rest:
            drained = [msgspec.structs.replace(each, drained=each is lost) for each in stand]
            assert elected(units, drained, ballot.owners).owners == after.owners
            assert moved(ballot.owners, after) == ballot.owned(lost.name).size


@PATIENT
@given(st.lists(st.integers(0, 8), min_size=2, max_size=4), st.data())
def test_balance_takes_as_few_moves_as_there_can_be(loads: list[int], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.integers(1, 5), min_size=len(loads), max_size=len(loads)))
    total = sum(loads)
    pool = [Span(4, value, value) for value in range(total)]
    begins = [0, *itertools.accumulate(loads)]
    held = {f"n{at}": Spans(pool[begins[at] : begins[at + 1]]) for at in range(len(loads))}
    ballot = elected(Units(pool), weighted(some), held)

    def is_level(counts: tuple[int, ...]) -> bool:
        return all(
            10 * (mine - 1) * its_weight <= 11 * its * my_weight
            for mine, my_weight in zip(counts, some, strict=True)
            for its, its_weight in zip(counts, some, strict=True)
        )

    others = itertools.product(range(total + 1), repeat=len(loads) - 1)
    whole = ((*counts, total - sum(counts)) for counts in others if sum(counts) <= total)
    prices = ((sum(max(0, a - b) for a, b in zip(loads, counts, strict=True)), counts) for counts in whole)
    bound = moved(held, ballot)
    assert is_level(tuple(ballot.owned(f"n{at}").size for at in range(len(loads))))
    assert not any(is_level(counts) for price, counts in prices if price < bound)


def test_ten_thousand_addresses_and_a_hundred_hosts() -> None:
    units = Units([Span.parse("10.0.0.0-10.0.39.15")])
    stand = [Candidate(f"host-{index:02}") for index in range(100)]
    alone = elected(units, stand[:1], {})
    ballot = elected(units, stand, alone.owners)
    assert max(spans.size for spans in ballot.owners.values()) <= 110
    assert min(spans.size for spans in ballot.owners.values()) >= 90
    fresh = elected(units, stand, {})
    assert max(spans.size for spans in fresh.owners.values()) <= 110
    assert moved(fresh.owners, fresh.without("host-42")) == fresh.owned("host-42").size
    joined = elected(units, [*stand, Candidate("late")], fresh.owners)
    assert moved(fresh.owners, joined) == joined.owned("late").size
    assert 80 <= joined.owned("late").size <= 99


class Ring(RuleBasedStateMachine):
    """Hosts come, wait out their hold-down, are weighed, drained, checked, and go; an election follows each."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = ADDRESSES
        self.units = Units(self.pool)
        self.hosts: dict[str, Candidate] = {}
        self.before: Mapping[str, Spans] = {}
        self.ballot = self.elect()

    def elect(self) -> Ballot:
        self.before = self.ballot.owners if hasattr(self, "ballot") else {}
        self.ballot = elected(self.units, self.hosts.values(), self.before)
        return self.ballot

    def change(self, name: str, **fields: Any) -> None:
        self.hosts[name] = msgspec.structs.replace(self.hosts[name], **fields)
        self.elect()

    def able(self) -> list[Candidate]:
        return [
            each
            for each in self.hosts.values()
            if not each.drained and not each.unhealthy and not each.holding and each.carrier and each.weight
        ]

    def one(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.hosts)))

    @precondition(lambda self: len(self.hosts) < len(NAMES))
    @rule(data=st.data(), weight=st.sampled_from([1, 50, 100, 100, 100, 300]))
    def join(self, data: st.DataObject, weight: int) -> None:
        name = data.draw(st.sampled_from(sorted(set(NAMES) - set(self.hosts))))
        self.hosts[name] = Candidate(name, weight=weight, holding=True)
        self.elect()
        if self.able():
            assert not self.ballot.owned(name)
            assert self.ballot.owners == self.before

    @precondition(lambda self: any(each.holding for each in self.hosts.values()))
    @rule(data=st.data())
    def hold_down_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(each.name for each in self.hosts.values() if each.holding)))
        self.change(name, holding=False)
        for other, spans in self.ballot.owners.items():
            if len(self.able()) == len(self.hosts) and other != name and self.before.get(name, Spans()) == Spans():
                assert not spans - self.before.get(other, Spans())

    @precondition(lambda self: self.hosts)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        name = self.one(data)
        heirs = self.ballot.succession(name)
        kept = dict(self.ballot.owners)
        del self.hosts[name]
        self.elect()
        for heir, spans in heirs.heirs.items():
            assert spans == self.ballot.owned(heir) & kept.get(name, Spans())
        kept.pop(name, None)
        assert moved(kept, self.ballot) == 0

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), drained=st.booleans())
    def drain(self, data: st.DataObject, drained: bool) -> None:
        name = self.one(data)
        was_able = self.hosts[name] in self.able()
        self.change(name, drained=drained)
        if drained and was_able and self.able():
            assert moved(self.before, self.ballot) == self.before.get(name, Spans()).size
            assert not self.ballot.owned(name)

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), sick=st.booleans())
    def check(self, data: st.DataObject, sick: bool) -> None:
        self.change(self.one(data), unhealthy=EVERYTHING if sick else Spans())

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), carrier=st.booleans())
    def plug(self, data: st.DataObject, carrier: bool) -> None:
        self.change(self.one(data), carrier=carrier)

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), weight=st.sampled_from([0, 1, 10, 100, 300]))
    def weigh(self, data: st.DataObject, weight: int) -> None:
        self.change(self.one(data), weight=weight)

    @rule()
    def nothing_happens(self) -> None:
        self.elect()
        assert self.ballot.owners == self.before

    @invariant()
    def everything_is_owned_by_one_who_can(self) -> None:
        can = {each.name for each in self.hosts.values() if each.carrier}
        assert set(self.ballot.owners) <= can
        assert self.ballot.unowned == (Spans() if can else self.units.spans)

    @invariant()
    def nobody_has_much_more_than_its_share(self) -> None:
        able = self.able()
        shared = sum(self.ballot.owned(each.name).size for each in able)
        weight = sum(each.weight for each in able)
        for each in able:
            assert self.ballot.owned(each.name).size <= math.ceil(11 * shared * each.weight / (10 * weight))

    @invariant()
    def nobody_else_has_what_an_able_one_could_have(self) -> None:
        holding = {each.name for each in self.hosts.values() if each.holding and not each.drained}
        if self.able():
            assert set(self.ballot.owners) <= {each.name for each in self.able()} | holding
            assert not self.ballot.despite


Ring.TestCase.settings = settings(PATIENT, max_examples=60, stateful_step_count=25)
TestRing = Ring.TestCase
