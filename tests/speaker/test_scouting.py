"""Which speaker finds out about which address: each has one, of those that could answer for it."""

from __future__ import annotations

from arpfast.spans import Span, Spans
from cluster.config import Config, L2Advertisement, Pool
from speaker.scouting import Errand, share

NODES = ("node-a", "node-b", "node-c")
ALL = frozenset(NODES)
ASKED = Spans.parse("192.0.2.0/28", "2001:db8::/124", "203.0.113.0/30")


def config(*advertisements: L2Advertisement) -> Config:
    pools = ("main", ("192.0.2.0/24", "2001:db8::/64")), ("other", ("203.0.113.0/24",))
    made = {name: Pool(name=name, spans=tuple(map(Span.parse, texts))) for name, texts in pools}
    return Config(pools=made, l2_advertisements=advertisements)


def about(
    name: str = "ad", pools: tuple[str, ...] = ("main", "other"), nodes: frozenset[str] = ALL, *on: str
) -> L2Advertisement:
    return L2Advertisement(name=name, pools=frozenset(pools), nodes=nodes, interfaces=frozenset(on))


def shares(made: Config, members: tuple[str, ...] = NODES) -> dict[str, list[Errand]]:
    return {name: share(ASKED, made, members, name) for name in members}


def addresses(errands: list[Errand]) -> Spans:
    return Spans(each.address for each in errands)


def test_each_address_has_one_scout() -> None:
    found = shares(config(about()))
    assert sum(len(each) for each in found.values()) == ASKED.size
    assert Spans(span for each in found.values() for span in addresses(each)) == ASKED
    assert all(found.values()), "and all have something to do"


def test_it_is_who_would_answer() -> None:
    """By the vectors of `tests/arpfast/test_election.py`: sha256(node#address), the least first."""
    asked = Spans.parse("10.20.30.1", "172.18.0.200")
    pools = {"main": Pool(name="main", spans=(Span.parse("0.0.0.0/0"),))}
    made = Config(pools=pools, l2_advertisements=(about(),))
    assert addresses(share(asked, made, NODES, "node-b")) == asked
    assert share(asked, made, NODES, "node-a") == []


def test_one_that_is_gone_has_a_successor() -> None:
    found = shares(config(about()), NODES[:2])
    assert Spans(span for each in found.values() for span in addresses(each)) == ASKED


def test_only_who_may_answer_looks_and_only_where() -> None:
    made = config(about("a", ("main",), frozenset({"node-a"}), "eth1"), about("b", ("other",), frozenset({"node-b"})))
    found = shares(made)
    assert {each.interfaces for each in found["node-a"]} == {frozenset({"eth1"})}
    assert addresses(found["node-a"]) == Spans.parse("192.0.2.0/28", "2001:db8::/124")
    assert {each.interfaces for each in found["node-b"]} == {None}
    assert found["node-c"] == []


def test_one_that_is_everywhere_by_another_advertisement() -> None:
    made = config(about("a", ("main",), ALL, "eth1"), about("b"))
    assert {each.interfaces for each in share(ASKED, made, NODES, "node-a")} == {None}


def test_what_is_not_answered_on_a_link_is_nobodys() -> None:
    found = shares(config(about("a", ("main",))))
    free = [each.address for each in found["node-a"] + found["node-b"] + found["node-c"] if each.free]
    assert Spans(free) == Spans.parse("203.0.113.0/30")


def test_what_is_of_no_pool_is_passed_over() -> None:
    assert share(Spans.parse("198.51.100.1"), config(about()), NODES[:1], "node-a") == []
    assert share(ASKED, Config(), NODES[:1], "node-a") == []
