"""A ring of speakers in virtual time: the real decisions about who may, under the real rules about who does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.election import Method
from arpfast.ring.orders import Terms
from arpfast.ring.roster import Gossip
from arpfast.spans import NOTHING, Spans
from speaker.decide import Decision
from speaker.electorate import Electorate
from tests.arpfast.ring.world import DELAY_S, QUIET_S, TICK_S, Host, World
from tests.speaker.cluster_of import key
from tests.speaker.test_decide import V4, V6, at

MOVED = ("took over", "handed over")


def tell(succession: str, *hosts: Host, six: str = "") -> None:
    """Let these hosts know who may have the address of IPv4 now."""
    found = {at(V4): succession, at(V6): six}
    decisions = {span: Decision((key(),), tuple(order)) for span, order in found.items() if order}
    for host in hosts:
        host.ownership.elect_by(Electorate(decisions), Spans([at(V4)]))
        host.turn()


def ring(succession: str, names: str = "abc", **terms: object) -> World:
    method = {"method": Method.METALLB, "members": len(names), "hold_down_s": 1.0}
    world = World(names, Spans([at(V4)]), Terms(**{**method, **terms}))  # type: ignore[arg-type]
    tell(succession, *world.hosts.values())
    world.run(5.0)
    return world


def told_of(world: World, *events: str) -> list[str]:
    return [f"{name} {event.event}" for _, name, event in world.told if event.event in events]


def run_answered(world: World, seconds: float) -> None:
    """Let time pass, during which the address always has an owner."""
    until = world.now + seconds
    while world.now < until:
        world.run(TICK_S)
        assert world.owners(V4), "expected make before break"


def test_the_first_in_the_order_answers_and_then_the_next() -> None:
    world = ring("bca")
    for owner in "bca":
        assert world.owners(V4) == [owner]
        world.hosts[owner].stop()
        world.run(QUIET_S)
    assert world.owners(V4) == []


def test_who_may_not_answer_is_no_successor() -> None:
    world = ring("bc")
    for owner in "bc":
        assert world.owners(V4) == [owner]
        world.hosts[owner].stop()
        world.run(QUIET_S)
    assert world.owners(V4) == []


def test_who_returns_is_given_its_addresses_without_a_gap() -> None:
    world = ring("bca")
    world.hosts["b"].stop()
    world.run(QUIET_S)
    world.hosts["b"].start()
    tell("bca", world.hosts["b"])
    run_answered(world, QUIET_S)
    assert world.owners(V4) == ["b"]


def test_another_order_moves_it_without_a_gap() -> None:
    world = ring("abc")
    tell("ba", world.hosts["a"])  # one after the other, as the news come
    run_answered(world, 0.2)
    tell("ba", world.hosts["c"], world.hosts["b"])
    run_answered(world, 1.0)
    assert world.owners(V4) == ["b"]


def test_it_moves_as_soon_as_its_new_owner_knows() -> None:
    world = ring("abc")
    tell("ba", world.hosts["b"])
    run_answered(world, 3 * DELAY_S)
    assert world.owners(V4) == ["b"]
    tell("ba", world.hosts["a"], world.hosts["c"])
    run_answered(world, 1.0)
    assert world.owners(V4) == ["b"]


def test_what_nobody_may_have_any_more_is_given_up_at_once() -> None:
    world = ring("abc")
    tell("", *world.hosts.values(), six="a")
    assert not world.owners(V4)
    world = ring("abc", "ab")
    tell("c", *world.hosts.values())
    assert not world.owners(V4), "expected no answer while the only one who may is not here"
    assert told_of(world, "gave up") == ["a gave up"]


def test_a_drained_member_keeps_what_only_it_may_have() -> None:
    world = ring("a", "ab")
    world.hosts["a"].ownership.be(drained=True)
    world.hosts["a"].turn()
    run_answered(world, 1.0)
    assert world.owners(V4) == ["a"]
    tell("ab", *world.hosts.values())
    run_answered(world, 1.0)
    assert world.owners(V4) == ["b"]


def test_who_is_cut_off_from_the_news_does_not_fight_for_ever() -> None:
    world = ring("abc")
    tell("bca", world.hosts["b"], world.hosts["c"])  # a believes for a minute that it is the owner
    begun = world.now
    run_answered(world, 60.0)
    moves = [at_s - begun for at_s, _, event in world.told if at_s > begun and event.event in MOVED]
    assert len(moves) < 30
    assert sum(at_s > 30 for at_s in moves) <= 4, "expected ever longer times of peace"
    tell("bca", world.hosts["a"])
    run_answered(world, 1.0)
    assert world.owners(V4) == ["b"], "expected news to settle it"
    still = len(world.told)
    run_answered(world, 60.0)
    assert not [event for _, _, event in world.told[still:] if event.event in MOVED]


def test_a_speaker_of_metallb_has_what_its_own_order_gives_it() -> None:
    world = ring("mab", "ab")
    assert world.owners(V4) == ["a"]
    for host in world.hosts.values():
        host.ownership.gossip("m", Gossip.ALIVE, ours=False)
        host.turn()
    assert world.owners(V4) == []
    tell("amb", *world.hosts.values())
    assert world.owners(V4) == ["a"]
    world.hosts["a"].ownership.be(drained=True)
    world.hosts["a"].turn()
    run_answered(world, 1.0)
    assert world.owners(V4) == ["b"], "expected nobody to wait for a speaker that knows of no drain"
    for host in world.hosts.values():
        host.ownership.gossip("m", Gossip.DEAD, ours=False)
        host.turn()
    assert NOTHING not in world.shares().values() or world.owners(V4) == ["b"]


def test_who_comes_back_as_a_speaker_of_metallb_is_not_taken_at_its_earlier_word() -> None:
    world = ring("abc")
    leaving, *others = world.hosts.values()
    leaving.ownership.be(drained=True)
    leaving.turn()
    world.run(1.0)
    assert world.owners(V4) == ["b"]
    leaving.stop()
    for host in others:
        host.ownership.gossip("a", Gossip.LEFT, ours=True)
        host.turn()
    for host in others:
        host.ownership.gossip("a", Gossip.ALIVE, ours=False)
        host.turn()
    assert world.owners(V4) == [], "expected it to be left to who takes it without a word"
    assert others[0].ownership.serials()["a"], "expected its last word to be known, lest it is believed anew"


def test_fast_heirs_inherit_what_they_may_have() -> None:
    world = ring("acb", inherit=True)
    assert {name: host.heirs for name, host in world.hosts.items()} == {"a": {}, "b": {}, "c": {"a": Spans([at(V4)])}}
    world.hosts["a"].stop()
    world.run(0.3)
    assert world.owners(V4) == ["c"]


ORDERS = st.permutations("abc").flatmap(lambda order: st.integers(1, 3).map(lambda count: "".join(order[:count])))
STEPS: st.SearchStrategy[tuple[str, str, frozenset[str]]] = st.one_of(
    st.tuples(st.just("tell"), ORDERS, st.frozensets(st.sampled_from("abc"), min_size=1)),
    st.tuples(st.sampled_from(["stop", "freeze", "thaw"]), st.sampled_from("abc"), st.just(frozenset())),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(STEPS, st.floats(0.0, 3.0)), max_size=12), ORDERS)
def test_whatever_each_was_told_and_when_the_first_in_the_last_order_answers(
    steps: list[tuple[tuple[str, str, frozenset[str]], float]], last: str
) -> None:
    world = ring("abc")
    for (what, of, whom), seconds in steps:
        if what == "tell":
            tell(of, *(world.hosts[name] for name in sorted(whom) if world.hosts[name].live))
        elif what == "stop" or world.hosts[of].frozen is (what == "thaw"):
            getattr(world.hosts[of], what)()
        world.run(seconds)
    for host in world.hosts.values():
        if not host.up:
            host.start()
        elif host.frozen:
            host.thaw()
    tell(last, *world.hosts.values())
    world.run(2 * QUIET_S)
    assert world.owners(V4) == [last[0]], world.told[-20:]
