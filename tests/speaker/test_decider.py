"""What a change costs, and what it changes."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.world import Change, Serving
from speaker.decide import Decider, decide
from tests.speaker.cluster_of import NODES, ad, config, key, node, pool, service, serving, step_on, world
from tests.speaker.test_decide import V4, V6, at

MANY = 10_000


def test_one_service_among_many_costs_one() -> None:
    many = [service(f"s{number}", f"10.20.{number // 250}.{number % 250}") for number in range(MANY)]
    made = config(pools=[pool("pool", "10.20.0.0/16")])
    decider = Decider()
    assert len(decider.apply(world(many, config=made), Change())) == MANY
    before = decider.judged, decider.decided
    other = service("s77", "10.20.200.1")
    changed = decider.apply(world([*many, other], config=made), Change(services=frozenset({key("s77")})))
    assert changed == {at("10.20.0.77"), at("10.20.200.1")}
    assert (decider.judged, decider.decided) == (before[0] + 1, before[1] + 2)


def test_a_heartbeat_of_a_node_costs_nothing() -> None:
    made = world([service("web", V4)])
    decider = Decider()
    decider.apply(made, Change())
    before = decider.judged, decider.decided
    later = msgspec.structs.replace(made, nodes={**made.nodes, "iris1": node("iris1", ready=False)})
    assert decider.apply(later, Change(nodes=frozenset({"iris1"}))) == frozenset()
    assert (decider.judged, decider.decided) == before


def test_a_node_that_is_no_longer_available_is_about_all_that_it_could_have() -> None:
    made = world([service("web", V4), service("far", "10.20.30.2", local=True)], {"web": serving("iris1"),
                                                                                 "far": serving("iris3")})  # fmt: skip
    decider = Decider()
    decider.apply(made, Change())
    for excluded in (True, False):
        later = msgspec.structs.replace(made, nodes={**made.nodes, "iris1": node("iris1", excluded=excluded)})
        assert decider.apply(later, Change(nodes=frozenset({"iris1"}))) == {at(V4)}
        assert ("iris1" in decider.decisions[at(V4)].succession) is not excluded


def test_what_says_nothing_new_changes_nothing() -> None:
    made = world([service("web", V4)])
    decider = Decider()
    decider.apply(made, Change())
    decided = decider.decided
    later = msgspec.structs.replace(made, services={key(): service("web", V4, labels={"any": "label"})})
    assert decider.apply(later, Change(services=frozenset({key()}))) == frozenset()
    assert decider.decided == decided


def test_a_service_that_goes_takes_its_addresses_along() -> None:
    decider = Decider()
    decider.apply(world([service("web", V4, V6)]), Change())
    assert decider.apply(world([]), Change(services=frozenset({key()}))) == {at(V4), at(V6)}
    assert not decider.decisions


def test_who_shared_an_address_with_it_is_decided_alone_then() -> None:
    both = [service("a", V4, local=True), service("b", V4, V6, local=True)]
    served = {"a": serving("iris1"), "b": serving("iris2")}
    decider = Decider()
    decider.apply(world(both, served), Change())
    assert decider.decisions[at(V4)].common == 0
    assert decider.apply(world(both[:1], served), Change(services=frozenset({key("b")}))) == {at(V4), at(V6)}
    assert (decider.decisions[at(V4)].succession, decider.decisions[at(V4)].common) == (("iris1",), 1)


IPS = st.sampled_from(["10.20.30.1", "10.20.30.2", "10.20.30.3", "2001:db8::1", "2001:db8::2", "192.0.2.1"])
SERVICES = st.builds(
    lambda name, ips, local: service(name, *ips, local=local),
    st.sampled_from("abcd"), st.lists(IPS, max_size=2, unique=True), st.booleans(),
)  # fmt: skip
SERVED = st.builds(lambda nodes: Serving(bool(nodes), nodes), st.frozensets(st.sampled_from(NODES)))
CONFIGS = st.sampled_from([config(), config(ad(nodes=["iris1"])), config(ad(preferences={"iris3": 5}))])
NODE = st.builds(lambda name, excluded: node(name, excluded=excluded), st.sampled_from(NODES), st.booleans())


@given(
    st.lists(st.one_of(SERVICES, st.tuples(st.sampled_from("abcd"), SERVED), CONFIGS, NODE, st.sampled_from("abcd")))
)
def test_step_by_step_comes_to_the_same_as_all_at_once(steps: list[object]) -> None:
    now = world([])
    decider = Decider()
    decider.apply(now, Change())
    for step in steps:
        now, change = step_on(now, step)
        before = dict(decider.decisions)
        changed = decider.apply(now, change)
        assert decider.decisions == decide(now)
        assert changed == {
            each for each in before.keys() | decider.decisions.keys() if before.get(each) != decider.decisions.get(each)
        }
