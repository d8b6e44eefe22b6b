"""Who is elected among those that are there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast.election import Candidate, Method, Reason, elect
from arpfast.spans import Span, Spans
from arpfast.units import Units
from cluster.world import Change
from speaker.decide import Decider, Decision
from speaker.electorate import Electorate
from tests.speaker.cluster_of import ad, config, key, pool, service, world
from tests.speaker.test_decide import V4, V6, at

ABC = ("a", "b", "c")


def of(succession: str, address: str = V4) -> Electorate:
    return Electorate({at(address): Decision((key(),), tuple(succession))})


def members(names: str, **marked: str) -> list[Candidate]:
    """Each mark names those that have it: `drained`, `mute`, `lame`, `stranded` (for V4)."""
    return [
        Candidate(
            name,
            drained=name in marked.get("drained", ""),
            mute=name in marked.get("mute", ""),
            unhealthy=Spans([at(V4)]) if name in marked.get("stranded", "") else Spans(),
            carrier=name not in marked.get("lame", ""),
        )
        for name in names
    ]


@pytest.mark.parametrize(
    ("succession", "there", "marked", "owner"),
    [
        pytest.param("abc", "abc", {}, "a", id="the-first"),
        pytest.param("abc", "bc", {}, "b", id="the-first-who-is-there"),
        pytest.param("ab", "c", {}, None, id="nobody-who-may"),
        pytest.param("abc", "abc", {"drained": "a"}, "b", id="the-drained-comes-after"),
        pytest.param("abc", "abc", {"drained": "abc"}, "a", id="all-are-drained"),
        pytest.param("abc", "abc", {"lame": "a", "drained": "b"}, "c", id="no-carrier"),
        pytest.param("abc", "a", {"lame": "a"}, None, id="nobody-has-a-carrier"),
        pytest.param("abc", "abc", {"stranded": "a"}, "b", id="no-carrier-where-it-is-answered"),
        pytest.param("abc", "abc", {"stranded": "a", "drained": "bc"}, "b", id="and-so-after-the-drained"),
        pytest.param("abc", "abc", {"stranded": "abc"}, "a", id="nobody-has-one-there"),
        pytest.param("abc", "abc", {"stranded": "a", "lame": "bc"}, "a", id="better-than-none-at-all"),
        pytest.param("abc", "abc", {"mute": "a"}, "a", id="a-speaker-of-metallb"),
        pytest.param("abc", "abc", {"mute": "ab"}, "a", id="the-first-of-two"),
        pytest.param("abc", "abc", {"drained": "a", "mute": "b"}, "c", id="metallb-would-leave-it-to-the-drained"),
        pytest.param("abc", "ab", {"drained": "a", "mute": "b"}, "a", id="so-it-stays-with-the-drained"),
        pytest.param("abc", "abc", {"lame": "a", "mute": "b"}, "c", id="metallb-would-leave-it-to-the-lame"),
    ],
)
def test_owner(succession: str, there: str, marked: dict[str, str], owner: str | None) -> None:
    ballot = of(succession).elect(members(there, **marked), {})
    assert [name for name in ABC if ballot.owned(name)] == ([owner] if owner else [])
    assert bool(ballot.unowned) is (owner is None)


def test_prospects() -> None:
    ballot = of("abc").elect(members("abcd", drained="a", lame="c"), {})
    prospects = [(one.name, one.turn, one.reasons) for one in ballot.why(4, at(V4).first)]
    assert prospects == [
        ("b", 0, (Reason.ELECTED,)),
        ("a", 1, (Reason.ABLE, Reason.DRAINED)),
        ("c", None, (Reason.NO_CARRIER,)),
        ("d", None, (Reason.INELIGIBLE,)),
    ]
    assert ballot.why(4, 1) == ()


def test_succession_is_the_election_without_the_fallen() -> None:
    ballot = of("abc").elect(members("abc"), {})
    found = ballot.succession("a")
    assert found.heirs == {"b": Spans([at(V4)])}
    assert found.seconds == {"b": {"c": Spans([at(V4)])}}
    assert ballot.succession("b").heirs == {}


def test_the_order_is_that_of_the_standalone_ring() -> None:
    addresses = [f"10.20.30.{number}" for number in range(100)]
    names = [f"node-{number}" for number in range(7)]
    decider = Decider()
    decider.apply(world([service(f"s{one}", one) for one in addresses], config=config(ad(nodes=names))), Change())
    ours = Electorate(decider.decisions).elect([Candidate(name) for name in names], {})
    theirs = elect(Method.METALLB, Units(map(at, addresses)), [Candidate(name) for name in names], {})
    assert {name: ours.owned(name) for name in names} == {name: theirs.owned(name) for name in names}


NAMES = st.lists(st.sampled_from("abcd"), unique=True).map(tuple)
DECISIONS = st.dictionaries(
    st.sampled_from([at(f"10.20.30.{number}") for number in range(6)] + [at(V6)]),
    NAMES.map(lambda names: Decision((key(),), names)),
)
THERE = st.lists(st.sampled_from(members("abcd") + members("ab", drained="ab")), unique_by=lambda one: one.name)


@given(st.lists(st.tuples(DECISIONS, THERE, st.booleans()), min_size=1))
def test_step_by_step_comes_to_the_same_as_all_at_once(
    steps: list[tuple[dict[Span, Decision], list[Candidate], bool]],
) -> None:
    before: dict[Span, Decision] = {}
    electorate = Electorate({})
    for decisions, there, elected in steps:
        changed = {each for each in before.keys() | decisions.keys() if before.get(each) != decisions.get(each)}
        electorate = electorate.replaced(decisions, changed)
        afresh = Electorate(decisions)
        assert electorate.spans == afresh.spans
        if elected:
            ballot, expected = electorate.elect(there, {}), afresh.elect(there, {})
            for name in "abcd":
                assert ballot.owned(name) == expected.owned(name)
            assert ballot.unowned == expected.unowned
        before = decisions


def test_the_same_election_is_not_held_twice() -> None:
    electorate = of("abc")
    assert electorate.elect(members("abc"), {}) is electorate.elect(members("abc"), {"a": Spans([at(V4)])})


def test_one_decision_among_many_costs_one() -> None:
    many = [service(f"s{number}", f"10.20.{number // 250}.{number % 250}") for number in range(1000)]
    decider = Decider()
    decider.apply(world(many, config=config(pools=[pool("pool", "10.20.0.0/16")])), Change())
    counted: list[int] = []

    class Counting(tuple[str, ...]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            counted.append(1)
            return super().__iter__()

    decisions = {
        span: Decision(one.services, Counting(one.succession), one.common) for span, one in decider.decisions.items()
    }
    electorate = Electorate(decisions)
    there = [*members("abc"), Candidate("iris1")]
    electorate.elect(there, {})
    assert len(counted) == 1000
    counted.clear()
    changed = at("10.20.0.7")
    ballot = electorate.replaced({**decisions, changed: Decision((key(),), Counting("c"))}, {changed}).elect(there, {})
    assert len(counted) == 1
    assert ballot.owned("c") == Spans([changed])


def test_one_is_stranded_for_some_addresses_only() -> None:
    decisions = {at(V4): Decision((key(),), ("a", "b")), at(V6): Decision((key(),), ("a", "b"))}
    electorate = Electorate(decisions)
    assert electorate.elect(members("ab"), {}).owned("a") == Spans([at(V4), at(V6)])
    ballot = electorate.elect(members("ab", stranded="a"), {})
    assert (ballot.owned("a"), ballot.owned("b")) == (Spans([at(V6)]), Spans([at(V4)]))
    assert ballot.succession("b").heirs == {"a": Spans([at(V4)])}
    assert [(each.name, each.reasons[1:]) for each in ballot.why(4, at(V4).first)] == [
        ("b", ()), ("a", (Reason.NO_CARRIER,)),
    ]  # fmt: skip
    assert electorate.elect(members("ab"), {}).owned("b") == Spans()
