"""What changes a member's mind: one row a rule, then the invariants by their numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arpfast.gossip.beliefs import Conflict
from arpfast.gossip.members import VERSIONS, State
from arpfast.gossip.messages import Alive, Dead, Message, Suspect
from arpfast.gossip.protocol import MEMBERS_AT_MOST
from arpfast.gossip.timing import LAN
from tests.arpfast.gossip.stage import Stage, alive, dead, endpoint, node, raw, suspect

ALIVE, SUSPECT, DEAD, LEFT = State
ELSEWHERE = {"address": raw(77)}
BEFORE: dict[State | None, tuple[Message, ...]] = {
    None: (),
    ALIVE: (alive("a", 5),),
    SUSPECT: (alive("a", 5), suspect("a", incarnation=5)),
    DEAD: (alive("a", 5), dead("a", incarnation=5)),
    LEFT: (alive("a", 5), dead("a", "a", 5)),
}


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        (None, alive("a", 1), ALIVE),
        (None, alive("a", 0), None),
        (None, suspect("a"), None),
        (None, dead("a"), None),
        (ALIVE, suspect("a", incarnation=4), ALIVE),
        (ALIVE, suspect("a", incarnation=5), SUSPECT),
        (ALIVE, suspect("a", incarnation=9), SUSPECT),
        (ALIVE, dead("a", incarnation=4), ALIVE),
        (ALIVE, dead("a", incarnation=5), DEAD),
        (ALIVE, dead("a", "a", 5), LEFT),
        (SUSPECT, alive("a", 5), SUSPECT),
        (SUSPECT, alive("a", 6), ALIVE),
        (SUSPECT, dead("a", incarnation=5), DEAD),
        (SUSPECT, dead("a", "a", 5), LEFT),
        (DEAD, alive("a", 5), DEAD),
        (DEAD, alive("a", 6), ALIVE),
        (DEAD, suspect("a", incarnation=9), DEAD),
        (DEAD, dead("a", "a", 9), DEAD),
        (LEFT, alive("a", 5), LEFT),
        (LEFT, alive("a", 6), ALIVE),
        (LEFT, alive("a", 1, **ELSEWHERE), ALIVE),
        (LEFT, dead("a", incarnation=9), LEFT),
        (LEFT, suspect("a", incarnation=9), LEFT),
    ],
)
def test_what_is_believed_after_what_is_told(before: State | None, told: Message, after: State | None) -> None:
    stage = Stage("bc")
    for message in BEFORE[before]:
        stage.tell(message)
    assert stage.state("a") == before
    stage.forget()
    stage.tell(told)
    assert stage.state("a") == after
    assert stage.changes() == ([("a", before, after)] if after != before else [])
    stage.wait(0.3)
    assert (told in stage.said(type(told))) == (after != before)


def test_another_meta_or_address_is_a_change_and_a_mere_incarnation_is_not() -> None:
    stage = Stage("a")
    stage.tell(alive("a", 2))
    assert stage.changes() == []
    stage.tell(alive("a", 3, meta=b"new"))
    assert stage.changes() == [("a", ALIVE, ALIVE)]
    member = stage.protocol.find("a")
    assert member is not None
    assert (member.meta, member.incarnation) == (b"new", 3)
    stage.tell(dead("a", "a", 3), alive("a", 1, **ELSEWHERE))
    assert stage.changes()[1:] == [("a", ALIVE, LEFT), ("a", LEFT, ALIVE)]
    moved = stage.protocol.find("a")
    assert moved is not None
    assert moved.address == "10.0.0.77"


@pytest.mark.parametrize("state", [ALIVE, SUSPECT, DEAD])
def test_another_address_for_a_name_in_use_is_a_conflict(state: State) -> None:
    stage = Stage("bc")
    for message in BEFORE[state]:
        stage.tell(message)
    stage.forget()
    stage.tell(alive("a", 99, **ELSEWHERE))
    assert stage.state("a") is state
    (conflict,) = stage.events
    assert isinstance(conflict, Conflict)
    assert (conflict.member.address, conflict.address) == ("10.0.0.10", "10.0.0.77")
    assert stage.protocol.counts.conflicts == 1


def test_invariant_5_a_dead_name_may_come_back_elsewhere_once_its_time_is_over() -> None:
    stage = Stage("ab", replace(LAN, reclaim_s=5.0))
    stage.tell(dead("a", incarnation=1))
    stage.wait(4.9)
    stage.tell(alive("a", 9, **ELSEWHERE))
    assert stage.state("a") is DEAD
    stage.wait(0.2)
    stage.tell(alive("a", 1, **ELSEWHERE))
    assert stage.state("a") is ALIVE


def test_invariant_5_a_dead_name_may_come_back_elsewhere_once_it_is_forgotten() -> None:
    stage = Stage("a")
    stage.tell(dead("a"))
    stage.wait(29)
    assert stage.state("a") is DEAD
    stage.wait(4)
    assert stage.state("a") is None
    stage.tell(alive("a", 1, **ELSEWHERE))
    assert stage.state("a") is ALIVE


@pytest.mark.parametrize("accusation", [suspect("me"), dead("me"), suspect("me", incarnation=41), dead("me", "x", 41)])
def test_invariant_4_what_is_said_against_ourselves_is_refuted_with_a_higher_incarnation(accusation: Any) -> None:
    stage = Stage("a")
    stage.tell(accusation)
    assert stage.state("me") is ALIVE
    assert stage.incarnation() == accusation.incarnation + 1
    assert stage.protocol.health == 1
    stage.wait(0.3)
    assert {each.incarnation for each in stage.said(Alive) if each.node == "me"} == {accusation.incarnation + 1}


def test_invariant_4_old_accusations_are_not_worth_an_answer() -> None:
    stage = Stage("a")
    stage.tell(suspect("me", incarnation=7))
    stage.tell(suspect("me", incarnation=7), dead("me", incarnation=3))
    assert stage.incarnation() == 8
    assert stage.protocol.counts.refuted == 1


def test_whoever_missed_that_we_refuted_is_told_again_directly() -> None:
    stage = Stage("ab")
    stage.tell(suspect("me", incarnation=7))
    stage.wait(2)
    stage.forget()
    stage.tell(suspect("me", "a", 7), dead("me", "b", 3), suspect("me", "stranger"))
    assert [(where, told.incarnation) for _, where, told in stage.sent if isinstance(told, Alive)] == [
        (endpoint(10), 8),
        (endpoint(11), 8),
    ]


@pytest.mark.parametrize("accusation", [suspect("me", incarnation=0xFFFFFFFF), dead("me", "x", 0xFFFFFFFF)])
def test_invariant_4_against_the_highest_incarnation_nothing_helps_but_we_stay_alive_and_count(accusation: Any) -> None:
    stage = Stage("a")
    for _ in range(3):
        stage.tell(accusation)
    assert (stage.state("me"), stage.incarnation()) == (ALIVE, 0xFFFFFFFF)
    assert stage.protocol.counts.unrefutable == 3
    stage.protocol.set_meta(b"still", stage.now)
    assert stage.incarnation() == 0xFFFFFFFF


def test_what_is_said_of_ourselves_is_ignored_if_equal_and_refuted_if_not() -> None:
    stage = Stage("a")
    me = Alive(1, "me", raw(1), 7946, b"", VERSIONS)
    stage.tell(me)
    assert stage.incarnation() == 1
    stage.tell(replace(me, meta=b"from a former life"))
    assert stage.incarnation() == 2
    stage.tell(replace(me, incarnation=50))
    assert stage.incarnation() == 51
    stage.tell(replace(me, incarnation=51, address=raw(2)))
    assert stage.incarnation() == 51
    assert stage.protocol.counts.conflicts == 1


def test_invariant_5_who_leaves_ignores_what_is_said_of_it_and_is_gone_for_the_others() -> None:
    stage = Stage("ab")
    ends: list[str] = []
    stage.protocol.leave(stage.now, lambda: ends.append("told"))
    stage.tell(suspect("me"), dead("me"), Alive(9, "me", raw(1), 7946, b"", VERSIONS))
    assert (stage.state("me"), stage.incarnation()) == (LEFT, 1)
    stage.wait(1)
    assert ends == ["told"]
    assert {(each.node, each.sender) for each in stage.said(Dead)} == {("me", "me")}
    assert {where for _, where, told in stage.sent if isinstance(told, Dead)} == {endpoint(10), endpoint(11)}


def test_leaving_when_alone_is_told_at_once() -> None:
    stage = Stage()
    ends: list[str] = []
    stage.protocol.leave(stage.now, lambda: ends.append("told"))
    assert ends == ["told"]


def test_invariant_6_what_others_found_dead_is_only_suspected() -> None:
    stage = Stage("abcd")
    assert stage.merge(node("a", DEAD), node("b", SUSPECT), node("c", LEFT), node("z", DEAD), node("d", ALIVE, 3))
    assert [stage.state(name) for name in "abczd"] == [SUSPECT, SUSPECT, LEFT, None, ALIVE]
    stage.wait(0.5)
    assert {(each.node, each.sender) for each in stage.said(Suspect)} >= {("a", "me"), ("b", "me")}
    assert stage.incarnation("d") == 3


def test_a_port_that_is_not_told_is_our_own() -> None:
    stage = Stage()
    stage.merge(node("a", ALIVE, port=0))
    member = stage.protocol.find("a")
    assert member is not None
    assert member.port == 7946


def test_a_state_that_nobody_knows_is_doubted() -> None:
    stage = Stage("a")
    stage.merge(node("a", 17))
    assert stage.state("a") is SUSPECT


@pytest.mark.parametrize(
    ("versions", "merges"),
    [
        ([1, 5, 2, 0, 0, 0], True),
        ([2, 5, 5, 0, 0, 0], True),
        ([3, 5, 3, 0, 0, 0], False),
        ([1, 1, 1, 0, 0, 0], False),
        ([1, 5, 2, 2, 5, 4], False),
        ([1, 5], True),
        ([], True),
    ],
)
def test_who_could_not_speak_with_all_is_not_merged(versions: list[int], merges: bool) -> None:
    stage = Stage("a")
    assert stage.merge(node("b", ALIVE, versions=bytes(versions)), node("c", ALIVE)) == merges
    assert (stage.state("c") is ALIVE) == merges
    assert stage.protocol.counts.exchanges_refused == (not merges)


@pytest.mark.parametrize(
    "told",
    [
        alive("a", versions=bytes([0, 5, 2])),
        alive("a", versions=bytes([3, 2, 2])),
        alive("a", versions=bytes([1, 0, 1])),
        alive("a", address=b""),
        alive("a", address=bytes(5)),
        alive("a", port=0),
        Alive(1, "", raw(5), 7946),
    ],
)
def test_a_member_that_makes_no_sense_is_not_believed(told: Alive) -> None:
    stage = Stage()
    stage.tell(told)
    assert len(stage.protocol.members()) == 1
    assert stage.protocol.counts.refused_malformed == 1


def test_invariant_9_addresses_of_both_families_are_told_on_as_they_came() -> None:
    mapped = bytes(10) + b"\xff\xff" + raw(10)
    for address, text in ((mapped, "10.0.0.10"), (bytes.fromhex("20010db8") + bytes(11) + b"\1", "2001:db8::1")):
        stage = Stage("b")
        stage.tell(alive("a", address=address))
        member = stage.protocol.find("a")
        assert member is not None
        assert member.address == text
        stage.wait(0.3)
        assert {each.address for each in stage.said(Alive) if each.node == "a"} == {address}


def test_there_is_a_limit_to_members() -> None:
    stage = Stage()
    stage.merge(*(replace(node("a", ALIVE), name=f"n{n}") for n in range(MEMBERS_AT_MOST + 10)))
    assert len(stage.protocol.members()) == MEMBERS_AT_MOST
    assert stage.protocol.counts.members_refused == 11


# Suspects


def test_invariant_7_a_suspect_is_dead_when_its_time_is_over() -> None:
    stage = Stage("a")
    stage.tell(suspect("a"))
    stage.wait(3.9)
    assert stage.state("a") is SUSPECT
    stage.wait(0.2)
    assert stage.state("a") is DEAD
    assert {each.sender for each in stage.said(Dead)} == {"me"}


def test_invariant_7_each_confirmation_is_told_on_and_shortens_the_time() -> None:
    stage = Stage("abcdef")
    for by in "xxxyyxz":
        stage.tell(suspect("a", by))
        stage.wait(0.5)
    assert {each.sender for each in stage.said(Suspect) if each.node == "a"} >= {"x", "y", "z"}
    stage.wait(1)
    assert stage.state("a") is DEAD


def test_invariant_7_a_refutation_ends_the_suspicion_for_good() -> None:
    stage = Stage("a")
    stage.answering = True
    stage.tell(suspect("a"))
    stage.wait(3)
    stage.tell(alive("a", 2))
    stage.wait(0.9)
    stage.tell(suspect("a", incarnation=2))
    stage.wait(3.9)
    assert stage.state("a") is SUSPECT
    assert stage.changes() == [("a", ALIVE, SUSPECT), ("a", SUSPECT, ALIVE), ("a", ALIVE, SUSPECT)]


def test_only_a_suspect_can_be_condemned() -> None:
    stage = Stage("ab")
    assert not stage.protocol.condemn("a", stage.now)
    assert not stage.protocol.condemn("nobody", stage.now)
    assert not stage.protocol.condemn("me", stage.now)
    stage.tell(suspect("a"))
    assert stage.protocol.condemn("a", stage.now)
    assert not stage.protocol.condemn("a", stage.now)
    assert stage.state("a") is DEAD
    stage.wait(0.1)
    assert Dead(1, "a", "me") in stage.said(Dead)
    stage.tell(alive("a", 2))
    assert stage.state("a") is ALIVE


names = st.sampled_from(["a", "b", "me"])
incarnations = st.integers(0, 6)
told = st.one_of(
    st.builds(lambda name, n, meta: Alive(n, name, raw(10), 7946, meta, VERSIONS), names, incarnations, st.binary()),
    st.builds(alive, st.sampled_from("ab"), incarnations),
    st.builds(Suspect, incarnations, names, names),
    st.builds(Dead, incarnations, names, names),
    st.floats(0.1, 9),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(told, max_size=25))
def test_whatever_is_told_we_live_and_incarnations_only_rise(script: list[Any]) -> None:
    stage = Stage("ab")
    known: dict[str, tuple[int, State]] = {}
    for step in script:
        if isinstance(step, float):
            stage.wait(step)
        else:
            stage.tell(step)
        assert stage.state("me") is ALIVE
        for member in stage.protocol.members():
            before = known.get(member.name, (0, ALIVE))
            assert member.incarnation >= before[0] or before[1] in {DEAD, LEFT}
            if member.state is ALIVE and before[1] is not ALIVE:
                assert member.incarnation > before[0] or before[1] is LEFT
            known[member.name] = member.incarnation, member.state
        table = stage.protocol._table
        assert table.living == sum(record.lives for record in table)
        assert sorted(table._circle) == sorted(record.place for record in table if record.lives)
        assert all((record.suspicion is not None) == (record.state is SUSPECT) for record in table)
        assert {*table.silent.values()} == {record for record in table if record.state in {SUSPECT, DEAD}}
