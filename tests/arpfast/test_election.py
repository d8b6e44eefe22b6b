"""Who owns what, case by case: refusals, last resorts, MetalLB's order, and what is told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from arpfast.election import EVERYTHING, Ballot, Candidate, Method, Prospect, Reason, elect
from arpfast.spans import Span, Spans
from arpfast.units import Units

if TYPE_CHECKING:
    from collections.abc import Mapping

BALANCED, METALLB = Method.BALANCED, Method.METALLB
POOL = Spans.parse("192.0.2.0/28", "2001:db8::10-2001:db8::13")
UNITS = Units(POOL)
ONE = Span.parse("192.0.2.5")
PREFIX = Span.parse("2001:db8:1::/64")
METHODS = pytest.mark.parametrize("method", Method)


def hosts(names: str = "a b c", /, **particulars: Mapping[str, Any]) -> list[Candidate]:
    """Candidates; `particulars` by name."""
    return [Candidate(name, **particulars.get(name, {})) for name in names.split()]


def owner(ballot: Ballot, span: Span = ONE) -> str | None:
    return ballot.owner(span.version, span.first)


def why(ballot: Ballot, span: Span = ONE, turns: int = 3) -> tuple[Prospect, ...]:
    return ballot.why(span.version, span.first, turns)


def sizes(ballot: Ballot) -> dict[str, int]:
    return {name: spans.size for name, spans in ballot.owners.items()}


@METHODS
def test_every_address_has_one_owner(method: Method) -> None:
    ballot = elect(method, UNITS, hosts(), {})
    assert sum(sizes(ballot).values()) == POOL.size
    assert Spans(span for spans in ballot.owners.values() for span in spans) == POOL
    assert not ballot.unowned
    assert not ballot.despite
    for name, spans in ballot.owners.items():
        assert ballot.owned(name) == spans
        assert all(owner(ballot, Span(span.version, span.last, span.last)) == name for span in spans)
    assert ballot.owned("stranger") == Spans()
    assert owner(ballot, Span.parse("192.0.2.99")) is None
    assert why(ballot, Span.parse("192.0.2.99")) == ()


@METHODS
def test_without_candidates_nobody_owns_anything(method: Method) -> None:
    ballot = elect(method, UNITS, [], {"a": POOL})
    assert not ballot.owners
    assert ballot.unowned == POOL
    assert why(ballot) == (Prospect("a", None, (Reason.DEPARTED,)),)
    assert elect(method, Units([]), hosts(), {"a": POOL}).owners == {}


def test_three_addresses_are_spread_over_three_hosts_as_no_hash_alone_would() -> None:
    for first in range(0, 240, 3):
        units = Units([Span(4, first, first + 2)])
        assert set(sizes(elect(BALANCED, units, hosts(), {})).values()) == {1}


def test_a_large_prefix_has_one_owner_and_what_is_set_apart_from_it_its_own() -> None:
    own = Span.parse("2001:db8:1::7")
    units = Units([own], [PREFIX])
    ballot = elect(BALANCED, units, hosts("a b"), {})
    assert sorted(spans.size for spans in ballot.owners.values()) == [1, PREFIX.size - 1]
    whole = Spans((PREFIX,)) - Spans((own,))
    kept = elect(BALANCED, Units([], [PREFIX]), hosts("a b"), ballot.owners)
    holder = owner(ballot, Span.parse("2001:db8:1::"))
    assert holder is not None
    assert ballot.owned(holder) == whole
    assert kept.owned(holder) == Spans((PREFIX,))


def test_a_candidate_stands_once() -> None:
    with pytest.raises(ValueError, match="expected each candidate once, not b twice"):
        elect(BALANCED, UNITS, hosts("b a b"), {})


@pytest.mark.parametrize("weight", [-1, 1_000_001])
def test_a_weight_has_bounds(weight: int) -> None:
    with pytest.raises(ValueError, match=f"expected a weight of 0 to 1000000 for a, not {weight}"):
        Candidate("a", weight=weight)


REFUSALS: list[tuple[dict[str, Any], Reason]] = [
    ({"drained": True}, Reason.DRAINED),
    ({"unhealthy": EVERYTHING}, Reason.UNHEALTHY),
    ({"unhealthy": Spans((ONE,))}, Reason.UNHEALTHY),
    ({"carrier": False}, Reason.NO_CARRIER),
    ({"networks": Spans.parse("198.51.100.0/24")}, Reason.OFF_SUBNET),
]
BALANCED_ONLY: list[tuple[dict[str, Any], Reason]] = [
    ({"holding": True}, Reason.HOLDING),
    ({"weight": 0}, Reason.STANDBY),
]


@METHODS
@pytest.mark.parametrize(("particulars", "reason"), REFUSALS)
def test_who_is_refused_has_nothing_and_the_reason_is_told(
    method: Method, particulars: dict[str, Any], reason: Reason
) -> None:
    for name in "abc":
        ballot = elect(method, UNITS, hosts(**{name: particulars}), {})
        assert owner(ballot) not in {None, name}
        assert Prospect(name, None, (reason,)) in why(ballot, turns=2)


@pytest.mark.parametrize(("particulars", "reason"), BALANCED_ONLY)
def test_hold_down_and_weight_0_are_unknown_to_metallb(particulars: dict[str, Any], reason: Reason) -> None:
    reserve = hosts(a=particulars)
    assert not elect(BALANCED, UNITS, reserve, {}).owned("a")
    assert why(elect(BALANCED, UNITS, reserve, {}), turns=2)[-1] == Prospect("a", None, (reason,))
    assert elect(METALLB, UNITS, reserve, {}).owners == elect(METALLB, UNITS, hosts(), {}).owners


@METHODS
@pytest.mark.parametrize(("particulars", "reason"), REFUSALS[3:])
def test_who_cannot_answer_gets_nothing_even_if_nobody_else_is_there(
    method: Method, particulars: dict[str, Any], reason: Reason
) -> None:
    ballot = elect(method, UNITS, hosts("a", a=particulars), {"a": POOL})
    assert not ballot.owners
    assert ballot.unowned == POOL
    assert why(ballot) == (Prospect("a", None, (reason,)),)


@METHODS
@pytest.mark.parametrize(("particulars", "reason"), [*REFUSALS[:2], *BALANCED_ONLY])
def test_who_alone_is_left_owns_everything(method: Method, particulars: dict[str, Any], reason: Reason) -> None:
    ballot = elect(method, UNITS, hosts("a", a=particulars), {})
    assert ballot.owned("a") == POOL
    if reason in {Reason.DRAINED, Reason.UNHEALTHY}:
        assert ballot.despite == {reason: POOL}
        assert why(ballot) == (Prospect("a", 0, (Reason.ELECTED, reason)),)
    else:
        assert not ballot.despite


@pytest.mark.parametrize("particulars", [{"drained": True}, {"unhealthy": EVERYTHING}])
def test_if_all_are_refused_alike_it_stays_where_it_is(particulars: dict[str, Any]) -> None:
    uneven = {"a": POOL - Spans((ONE,)), "b": Spans((ONE,))}
    preferred = particulars | {"preference": 7}
    ballot = elect(BALANCED, UNITS, hosts(a=particulars, b=particulars, c=preferred), uneven)
    assert ballot.owners == uneven
    assert {*ballot.despite.values()} == {POOL}
    assert why(ballot)[0].reasons[0] is Reason.KEPT


@pytest.mark.parametrize("particulars", [{"drained": True}, {"unhealthy": EVERYTHING}])
def test_if_all_are_refused_alike_what_is_nowhere_goes_where_it_would_if_none_were(particulars: dict[str, Any]) -> None:
    refused = elect(BALANCED, UNITS, hosts(a=particulars, b=particulars, c=particulars), {})
    assert refused.owners == elect(BALANCED, UNITS, hosts(), {}).owners


def test_the_better_of_bad_choices() -> None:
    worst = {"drained": True, "unhealthy": EVERYTHING}
    ladder: list[dict[str, Any]] = [
        worst,
        {"unhealthy": EVERYTHING},
        {"drained": True},
        {"holding": True},
        {"weight": 0},
        {},
    ]
    names = ["f", "e", "d", "c", "b", "a"]
    for count in range(1, len(ladder) + 1):
        stand = hosts(" ".join(names[:count]), **dict(zip(names, ladder, strict=True)))
        incumbent = {} if count == 1 else {names[0]: POOL}
        assert set(elect(BALANCED, UNITS, stand, incumbent).owners) == {names[count - 1]}


def test_a_check_that_fails_for_some_addresses_moves_only_those() -> None:
    before = elect(BALANCED, UNITS, hosts(), {})
    of_a = before.owned("a")
    sick = Spans(list(of_a)[:1])
    after = elect(BALANCED, UNITS, hosts(a={"unhealthy": sick}), before.owners)
    assert after.owned("a") == of_a - sick
    assert not before.owned("b") - after.owned("b")


def test_a_prefix_is_only_for_who_can_serve_all_of_it() -> None:
    units = Units([], [PREFIX])
    part = Spans.parse("2001:db8:1:0:8000::/65")
    assert set(elect(BALANCED, units, hosts("a b", a={"unhealthy": part}), {"a": units.spans}).owners) == {"b"}
    assert set(elect(BALANCED, units, hosts("a b", a={"networks": part}), {"a": units.spans}).owners) == {"b"}


def test_who_is_on_a_subnet_alone_has_it_and_less_of_the_rest() -> None:
    units = Units(Spans.parse("192.0.2.0/29", "198.51.100.0/29"))
    here, both = Spans.parse("192.0.2.0/24"), Spans.parse("192.0.2.0/24", "198.51.100.0/24")
    ballot = elect(BALANCED, units, hosts("a b", a={"networks": both}, b={"networks": here}), {})
    assert ballot.owned("b") == Spans.parse("192.0.2.0/29")
    assert ballot.owned("a") == Spans.parse("198.51.100.0/29")


@METHODS
def test_a_higher_preference_comes_before_all_else_that_is_equal(method: Method) -> None:
    stand = hosts(b={"preference": 1, "weight": 1})
    ballot = elect(method, UNITS, stand, {"a": POOL})
    assert set(ballot.owners) == {"b"}
    assert why(ballot, turns=1)[1:] == tuple(Prospect(name, None, (Reason.LESS_PREFERRED,)) for name in "ac")
    drained = elect(method, UNITS, hosts(b={"preference": 1, "drained": True}), {"b": POOL})
    assert set(drained.owners) == {"a", "c"}


def test_weights_are_shares() -> None:
    ballot = elect(BALANCED, Units([Span.parse("10.0.0.0/22")]), hosts(a={"weight": 200}, c={"weight": 50}), {})
    shares = {name: size / 1024 for name, size in sizes(ballot).items()}
    assert shares == pytest.approx({"a": 200 / 350, "b": 100 / 350, "c": 50 / 350}, rel=0.11)


def test_a_lower_weight_hands_over() -> None:
    equal = elect(BALANCED, UNITS, hosts("a b"), {})
    assert sizes(equal) == {"a": 10, "b": 10}
    lower = elect(BALANCED, UNITS, hosts("a b", a={"weight": 10}), equal.owners)
    assert sizes(lower) == {"a": 2, "b": 18}
    assert not lower.owned("a") - equal.owned("a")
    assert sizes(elect(BALANCED, UNITS, hosts("a b", a={"weight": 0}), lower.owners)) == {"b": 20}


def test_who_returns_waits_for_its_hold_down_and_then_gets_its_share_by_as_few_moves_as_possible() -> None:
    alone = elect(BALANCED, UNITS, hosts("a b"), {})
    back = elect(BALANCED, UNITS, hosts(c={"holding": True}), alone.owners)
    assert back.owners == alone.owners
    held = elect(BALANCED, UNITS, hosts(), back.owners)
    assert sizes(held) == {"a": 7, "b": 7, "c": 6}
    assert not held.owned("a") - alone.owned("a")
    assert not held.owned("b") - alone.owned("b")


def test_who_is_in_hold_down_keeps_what_it_has_and_takes_what_nobody_else_may() -> None:
    only_c = Spans.parse("2001:db8::/64")
    others = {"networks": Spans.parse("192.0.2.0/24")}
    stand = hosts(a=others, b=others, c={"holding": True})
    ballot = elect(BALANCED, UNITS, stand, {"a": POOL, "c": Spans((ONE,))})
    assert ballot.owned("c") == POOL & only_c
    kept = elect(BALANCED, UNITS, stand, {"c": Spans((ONE,))})
    assert kept.owned("c") == (POOL & only_c) | Spans((ONE,))


def test_all_may_be_in_hold_down_at_once_and_come_out_of_it_one_by_one() -> None:
    holding = {"holding": True}
    ballot = elect(BALANCED, UNITS, hosts(a=holding, b=holding, c=holding), {})
    assert sorted(sizes(ballot).values()) == [6, 7, 7]
    for still in ({"b": holding, "c": holding}, {"c": holding}, {}):
        assert elect(BALANCED, UNITS, hosts(**still), ballot.owners).owners == ballot.owners


def test_of_two_who_claim_the_same_one_is_believed_and_the_ring_is_even_again() -> None:
    """As after a partition that has healed: each side had an owner for everything."""
    left = elect(BALANCED, UNITS, hosts("a b"), {}).owners
    right = elect(BALANCED, UNITS, hosts("c d"), {}).owners
    healed = elect(BALANCED, UNITS, hosts("a b c d"), {**left, **right})
    assert set(sizes(healed).values()) == {5}
    claims = [POOL & healed.owned(name) & (left.get(name) or right[name]) for name in "abcd"]
    assert sum(claim.size for claim in claims) >= 18
    refused = elect(BALANCED, UNITS, hosts("a c", a={"drained": True}), {"a": POOL, "c": POOL})
    assert why(refused)[0] == Prospect("c", 0, (Reason.KEPT,))


@METHODS
def test_the_heir_is_the_next_elections_owner(method: Method) -> None:
    names = "a b c d e"
    ballot = elect(method, UNITS, hosts(names), {})
    for fallen in names.split():
        succession = ballot.succession(fallen)
        rest = hosts(" ".join(set(names.split()) - {fallen}))
        after = elect(method, UNITS, rest, ballot.owners)
        assert after.owners == ballot.without(fallen).owners
        assert fallen not in succession.heirs
        assert succession.fallen == fallen
        assert Spans(span for spans in succession.heirs.values() for span in spans) == ballot.owned(fallen)
        for heir, spans in succession.heirs.items():
            assert spans == ballot.owned(fallen) & after.owned(heir)
            rest_of_rest = [each for each in rest if each.name != heir]
            then = elect(method, UNITS, rest_of_rest, after.owners)
            for second, theirs in succession.seconds[heir].items():
                assert theirs == spans & then.owned(second)
            assert sum(theirs.size for theirs in succession.seconds[heir].values()) == spans.size
            value = next(iter(spans))
            turns = [prospect.name for prospect in why(ballot, Span(value.version, value.first, value.first), turns=9)]
            assert turns[:2] == [fallen, heir]
            assert sorted(turns) == names.split()


def test_the_last_one_has_no_heirs() -> None:
    ballot = elect(BALANCED, UNITS, hosts("a"), {})
    assert ballot.succession("a").heirs == {}
    assert ballot.succession("stranger").heirs == {}
    assert ballot.without("stranger") is ballot
    assert ballot.without("a").unowned == POOL
    assert why(ballot.without("a")) == (Prospect("a", None, (Reason.DEPARTED,)),)


def test_who_claims_an_address_and_is_gone_is_told_last() -> None:
    ballot = elect(BALANCED, UNITS, hosts("a b"), {"z": Spans((ONE,)), "y": POOL - Spans((ONE,))})
    assert why(ballot)[2:] == (Prospect("z", None, (Reason.DEPARTED,)),)


METALLB_ORDER = """
10.20.30.1              node-b node-a edge.example w5 knoten-ä
0.0.0.0                 edge.example knoten-ä node-b w5 node-a
255.255.255.255         node-a edge.example knoten-ä node-b w5
192.0.2.1               knoten-ä node-a edge.example w5 node-b
2001:db8::1             node-b knoten-ä node-a edge.example w5
::                      edge.example node-a w5 node-b knoten-ä
::1                     knoten-ä w5 node-a edge.example node-b
::ffff:192.0.2.1        knoten-ä node-a edge.example w5 node-b
::192.0.2.1             node-a node-b edge.example w5 knoten-ä
2001:db8:0:1::          node-b knoten-ä node-a w5 edge.example
2001:0:0:1::1           w5 node-a edge.example node-b knoten-ä
1:0:0:2:0:0:0:3         knoten-ä w5 edge.example node-a node-b
2001:db8:0:1:1:1:1:1    w5 node-b node-a edge.example knoten-ä
64:ff9b::c000:201       knoten-ä w5 node-b node-a edge.example
::ffff:0:1              node-a knoten-ä node-b w5 edge.example
1:0:0:2:3:0:0:4         knoten-ä w5 node-a node-b edge.example
"""
"""Computed by a program in Go: net.ParseIP(address).String(), crypto/sha256, sort.Slice by bytes.Compare."""


@pytest.mark.parametrize("line", METALLB_ORDER.strip().splitlines(), ids=lambda line: line.split()[0])
def test_metallbs_order_is_that_of_its_go(line: str) -> None:
    text, *order = line.split()
    span = Span.parse(text)
    units = Units([span, *POOL])
    shuffled = hosts(" ".join(sorted(order, key=lambda name: name[-1])))
    ballot = elect(METALLB, units, shuffled, {order[-1]: units.spans})
    assert [prospect.name for prospect in why(ballot, span, turns=5)] == order
    assert owner(ballot, span) == order[0]


def test_metallbs_order_has_preferences_first_and_takes_back_at_once() -> None:
    span = Span.parse("10.20.30.1")
    stand = hosts("node-a node-b node-c", **{"node-a": {"preference": -1}, "node-c": {"preference": 5}})
    units = Units([span])
    ballot = elect(METALLB, units, stand, {"node-a": units.spans})
    assert [prospect.name for prospect in why(ballot, span)] == ["node-c", "node-b", "node-a"]
