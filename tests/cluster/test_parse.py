"""The whole configuration: what a problem of one kind of object means for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.config import Config
from cluster.custom import Objects
from cluster.parse import parse
from tests.cluster.configuring import bfd, bgp, community, l2, parsed, peer, pool

if TYPE_CHECKING:
    from cluster.resources import Object

GOOD = (
    pool("a", "192.0.2.0/25"),
    l2("a"),
    bgp("a", communities=["no-export"]),
    peer("a", bfdProfile="a"),
    bfd("a"),
    community("a", no_export="65535:65281"),
)
KINDS = {
    "pools": pool("b"),
    "l2_advertisements": l2("b", ipAddressPools=["x", "x"]),
    "bgp_advertisements": bgp("b", aggregationLength=99),
    "peers": peer("b", peerAddress="192.0.2.2", myASN=0),
    "bfd_profiles": bfd("b", detectMultiplier=1),
    "communities": community("b", two="x"),
}


def test_nothing_is_a_configuration() -> None:
    assert parsed() == (Config(), ())


@pytest.mark.parametrize(("kind", "bad"), KINDS.items(), ids=KINDS)
def test_of_a_kind_with_a_problem_all_stays_as_it_was(kind: str, bad: object) -> None:
    good = parsed(*GOOD).config
    others = [
        pool("c", "192.0.2.128/25"),
        l2("c"),
        bgp("c"),
        peer("c", peerAddress="192.0.2.9"),
        bfd("c"),
        community("c", one="1:1"),
    ]
    config, problems = parsed(*GOOD, *others, bad, last=good)  # type: ignore[arg-type]
    assert len(problems) == 1
    assert getattr(config, kind) == getattr(good, kind)
    changed = {name for name in config.__struct_fields__ if getattr(config, name) != getattr(good, name)}
    assert kind not in changed
    assert changed >= set(KINDS) - {kind}


def test_every_problem_is_told_at_once() -> None:
    _, problems = parsed(*KINDS.values())
    assert {problem.kind for problem in problems} == {
        "IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community",
    }  # fmt: skip
    assert {problem.key.name for problem in problems} == {"b"}


def test_what_was_mended_is_in_force_again() -> None:
    good = parsed(*GOOD).config
    held, _ = parsed(*GOOD, KINDS["pools"], last=good)
    mended, problems = parsed(*GOOD, pool("b", "198.51.100.0/24"), last=held)
    assert problems == ()
    assert list(mended.pools) == ["a", "b"]


def test_advertisements_are_resolved_by_the_pools_in_force() -> None:
    good = parsed(*GOOD).config
    config, _ = parsed(*GOOD, KINDS["pools"], l2("b", ipAddressPools=["b"]), last=good)
    assert [sorted(each.pools) for each in config.l2_advertisements] == [["a"], []]


def test_a_bfd_profile_that_is_deleted_is_kept_for_the_peers_that_have_it() -> None:
    config = parsed(*GOOD, bfd("other")).config
    for _ in range(2):
        config, problems = parsed(peer("a", bfdProfile="a"), last=config)
        assert [problem.field for problem in problems] == ["spec.bfdProfile"]
        assert (config.peers[0].bfd_profile, list(config.bfd_profiles)) == ("a", ["a"])
    mended, problems = parsed(peer("a"), last=config)
    assert (list(mended.bfd_profiles), problems) == ([], ())


def test_where_no_node_is_known_any_two_may_meet_on_one() -> None:
    objects = Objects(
        pools=(pool("a", "192.0.2.0/24"),),
        bgp_advertisements=(bgp("a", localPref=1), bgp("b", localPref=2)),
        peers=(peer("a"), peer("b")),
    )
    _, problems = parse(objects, {}, {}, {})
    assert [problem.field for problem in problems] == ["spec.localPref", "spec.peerAddress"]


def test_equal_objects_make_an_equal_configuration() -> None:
    assert parsed(*GOOD).config == parsed(*reversed(GOOD)).config


def test_where_a_span_belongs() -> None:
    config = parsed(*GOOD).config
    (span,) = config.pools["a"].spans
    assert config.pool_of(span) is config.pools["a"]
    assert config.pool_of(span._replace(last=span.last + 1)) is None


def test_where_nothing_was_good_yet_what_is_right_is_in_force() -> None:
    wrong = [peer("mistyped", peerAddress="192.0.2.300"), bgp("mistyped", communities=["1"])]
    first = parsed(pool("main", "192.0.2.0/24"), peer("tor"), bgp(), *wrong)
    assert len(first.problems) == 2
    assert [each.name for each in first.config.peers] == ["tor"]
    assert [each.name for each in first.config.bgp_advertisements] == ["bgp"]
    later = parsed(peer("tor", peerAddress="192.0.2.9"), *wrong, last=first.config)
    assert later.config.peers == first.config.peers, "expected all to stay as it was last"


def test_of_two_peers_that_exclude_each_other_one_is_in_force() -> None:
    twice = parsed(peer("one"), peer("two"))
    assert [problem.key.name for problem in twice.problems] == ["two"]
    assert [each.name for each in twice.config.peers] == ["one"]


# As a node sees it: n1 is in rack a, n2 and n3 are in rack b

IN_A, IN_B = ({"nodeSelectors": [{"matchLabels": {"rack": rack}}]} for rack in "ab")
HERE, ELSEWHERE = peer("here", **IN_A), peer("there", peerAddress="192.0.2.9", **IN_B)
ALL = peer("all", peerAddress="192.0.2.8")
SIX, ECHO = pool("six", "2001:db8::/64"), bfd("echo", echoMode=True)
FAULTS: dict[str, tuple[list[Object], list[str], list[str]]] = {
    # what is written, whom n1 and n2 hear is at fault
    "a peer of others": ([HERE, peer("bad", peerAddress="192.0.2.9", bfdProfile="gone", **IN_B)], [], ["bad"]),
    "a peer of all": ([HERE, peer("bad", peerAddress="192.0.2.9", bfdProfile="gone")], ["bad"], ["bad"]),
    "a peer of those whom nobody can tell": (
        [peer("bad", nodeSelectors=[{"matchLabels": {"a b": "c"}}])], ["bad"], ["bad"],
    ),
    "two routers' identifiers on others": ([ALL, peer("bad", routerID="10.0.0.1", **IN_B)], [], ["bad"]),
    "echoes of others": ([SIX, ECHO, bgp(), HERE, peer("bad", bfdProfile="echo", **IN_B)], [], ["bad"]),
    "an advertisement of others": ([bgp("a"), bgp("bad", aggregationLength=99, **IN_B)], [], ["bad"]),
    "two preferences on others": (
        [pool("p", "192.0.2.0/24"), bgp("a", localPref=1), bgp("bad", localPref=2, **IN_B)], [], ["bad"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("written", "n1", "n2"), FAULTS.values(), ids=FAULTS)
def test_a_node_is_told_what_concerns_it(written: list[Object], n1: list[str], n2: list[str]) -> None:
    for node, expected in (("n1", n1), ("n2", n2), ("", n2)):
        config, problems = parsed(*written, node=node)
        assert [problem.key.name for problem in problems] == expected
        names = {each.name for each in config.peers} | {each.name for each in config.bgp_advertisements}
        assert "bad" not in names, "what is wrong is counted upon"


def test_what_is_wrong_elsewhere_holds_up_nothing_here() -> None:
    before = parsed(HERE, ELSEWHERE).config
    now = [peer("here", holdTime="9s", **IN_A), peer("there", peerAddress="192.0.2.300", **IN_B)]
    here, problems = parsed(*now, last=before, node="n1")
    assert problems == ()
    assert [(each.name, each.hold_time_s) for each in here.peers] == [("here", 9)]
    there, _ = parsed(*now, last=before, node="n2")
    assert [(each.name, each.address, each.hold_time_s) for each in there.peers] == [
        ("here", "192.0.2.1", 9), ("there", "192.0.2.9", None),
    ]  # fmt: skip


def test_a_node_that_is_no_object_yet_has_nothing_to_hear() -> None:
    config, problems = parsed(HERE, peer("bad", peerAddress="192.0.2.300"), node="new")
    assert problems == ()
    assert [each.name for each in config.peers] == ["here"]
