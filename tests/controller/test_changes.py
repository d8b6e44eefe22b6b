"""When a Service loses or changes its addresses, who is next, and what a restart remembers: row by row."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.selectors import Selector
from tests.controller.cluster import PREFER, REQUIRE, Cluster, pool, reasons, service

V4, V6 = pool("four", "192.0.2.0/31"), pool("six", "2001:db8::/127")
DUAL = pool("two", "198.51.100.0/31", "2001:db8:1::/127")
PINNED = pool("pinned", "203.0.113.0/32", pinned=True)
BOTH = (4, 6)
WEB = (Selector({"app": "web"}),)
TEN = tuple(f"s{number}" for number in range(10))

CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...], list[str]]] = [
    # before, after, what it has then, Events
    ("1 another type", {}, {"type": "ClusterIP"}, (), []),
    ("3 no cluster IP", {}, {"cluster_ip": "", "cluster_ips": ()}, (), []),
    ("3 headless", {}, {"cluster_ip": "None", "cluster_ips": ("None",)}, (), []),
    ("4 two required, one there", {}, {"policy": REQUIRE}, (), ["not enough clusterips"]),
    ("5 no status: what was given is written again", {"ips": "192.0.2.1"}, {}, ("192.0.2.1",), []),
    ("5b two addresses of one family", {}, {"has": ("192.0.2.0", "192.0.2.1")}, ("192.0.2.0",),
     ["nolbIPsIPFamily", "IPAllocated"]),
    ("5b another family", {}, {"families": (6,)}, ("2001:db8::",), ["IPAllocated"]),
    ("6 of no pool", {}, {"has": ("203.0.113.9",)}, ("192.0.2.0",), ["ClearAssignment", "IPAllocated"]),
    ("6 of a pool, but not what was given", {}, {"has": ("192.0.2.1",)}, ("192.0.2.1",), []),
    ("6b another pool", {}, {"pool": "two"}, ("198.51.100.0",), ["IPAllocated"]),
    ("6b the same pool", {"pool": "two"}, {"pool": "two"}, ("198.51.100.0",), []),
    ("6b an unknown pool", {}, {"pool": "none"}, (), ["AllocationFailed"]),
    ("6c requested addresses are no addresses", {}, {"ips": "nonsense"}, ("192.0.2.0",), ["LoadBalancerFailed"]),
    ("6c requested both ways", {}, {"ips": "192.0.2.1", "ip": "192.0.2.1"}, ("192.0.2.0",), ["LoadBalancerFailed"]),
    ("6c, and it needs another family, too", {}, {"ips": "nonsense", "families": BOTH, "policy": REQUIRE}, (),
     ["AllocationFailed"]),
    ("6d another address", {}, {"ips": "192.0.2.1"}, ("192.0.2.1",), ["IPAllocated"]),
    ("6d the same address", {}, {"ips": "192.0.2.0"}, ("192.0.2.0",), []),
    ("6d the same two, in another order", {"families": BOTH, "policy": REQUIRE},
     {"families": BOTH, "policy": REQUIRE, "ips": "2001:db8:1::,198.51.100.0"}, ("198.51.100.0", "2001:db8:1::"), []),
    ("6d an address that is not to be had", {}, {"ips": "203.0.113.9"}, (), ["AllocationFailed"]),
    ("6d no longer a certain one", {"ips": "192.0.2.1"}, {}, ("192.0.2.1",), []),
    ("8 ports", {}, {"ports": [("TCP", 443)]}, ("192.0.2.0",), []),
    ("8 labels", {}, {"labels": {"app": "web"}}, ("192.0.2.0",), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "has", "events"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_changes(before: dict[str, Any], after: dict[str, Any], has: tuple[str, ...], events: list[str]) -> None:
    cluster = Cluster(V4, V6, DUAL)
    cluster.apply(service(**before))
    outcome = cluster.apply(service(**after))
    assert cluster.addresses() == has
    assert reasons(outcome) == events
    assert reasons(cluster.converge(service().key)) == [], "an Event is told twice"
    assert cluster.addresses() == has


def test_no_pools_clear_the_status() -> None:
    cluster = Cluster(V4)
    cluster.apply(service())
    cluster.set_pools()
    assert cluster.addresses() == ()
    new = cluster.apply(service("new"))
    assert new.error == "there is no IPAddressPool"
    assert reasons(new) == ["AllocationFailed"]
    cluster.set_pools(V4)
    assert cluster.addresses() == ("192.0.2.0",)


POOL_CHANGES: list[tuple[str, dict[str, Any], list[Any], tuple[str, ...], str]] = [
    ("renamed", {}, [pool("b", "192.0.2.0/31")], ("192.0.2.0",), "b"),
    ("split", {"ips": "192.0.2.1"}, [pool("b", "192.0.2.0/32"), pool("c", "192.0.2.1/32")], ("192.0.2.1",), "c"),
    ("grown", {}, [pool("a", "192.0.2.0/24")], ("192.0.2.0",), "a"),
    ("shrunk beside it", {"ips": "192.0.2.1"}, [pool("a", "192.0.2.1/32")], ("192.0.2.1",), "a"),
    ("shrunk", {"ips": None}, [pool("a", "192.0.2.1/32")], ("192.0.2.1",), "a"),
    ("deleted, another there", {}, [pool("z", "198.51.100.0/31")], ("198.51.100.0",), "z"),
    ("of another family", {}, [V6], (), ""),
    ("avoiding buggy addresses", {}, [pool("a", "192.0.2.0/31", avoid_buggy_ips=True)], ("192.0.2.1",), "a"),
    ("no longer for this namespace", {}, [pool("a", "192.0.2.0/31", pinned=True, namespaces=frozenset({"x"}))], (), ""),
    ("no longer for these labels", {}, [pool("a", "192.0.2.0/31", pinned=True, service_selectors=WEB)], (), ""),
    ("no longer automatically", {}, [pool("a", "192.0.2.0/31", auto_assign=False)], ("192.0.2.0",), "a"),
    ("another pool has priority now", {}, [pool("a", "192.0.2.0/31"), PINNED], ("192.0.2.0",), "a"),
]


@pytest.mark.parametrize(
    ("asked", "pools", "has", "of"), [row[1:] for row in POOL_CHANGES], ids=[row[0] for row in POOL_CHANGES]
)
def test_pool_changes(asked: dict[str, Any], pools: list[Any], has: tuple[str, ...], of: str) -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"))
    cluster.apply(service(**asked))
    cluster.set_pools(*pools)
    assert cluster.addresses() == has
    assignment = cluster.allocator.assignment(service().key)
    assert (assignment.pool if assignment else "") == of
    cluster.restart()
    assert cluster.addresses() == has


def test_pools_that_did_not_change_are_nobodys_concern() -> None:
    cluster = Cluster(V4, DUAL)
    cluster.apply(service("four", pool="four"))
    cluster.apply(service("two", pool="two"))
    grown = pool("four", "192.0.2.0/24")
    assert [key.name for key in cluster.set_pools(grown, DUAL)] == ["four"]
    assert cluster.set_pools(grown, DUAL) == []


def test_who_loses_one_family_with_its_pool_finds_both_in_another() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31", "2001:db8::/127"))
    cluster.apply(service(families=BOTH, policy=PREFER))
    cluster.set_pools(pool("a", "192.0.2.0/31", "2001:db8::/127"), DUAL)
    assert cluster.addresses() == ("192.0.2.0", "2001:db8::")
    cluster.set_pools(pool("a", "2001:db8::/127"), DUAL)
    assert cluster.addresses() == ("198.51.100.0", "2001:db8:1::")


def test_who_may_share_changes_with_whom_it_is_served_by() -> None:
    """One address and two Services: who no longer suits the other waits until it does again, or the other does."""
    cluster = Cluster(pool("a", "192.0.2.0/32"))
    one, other = ({"share": "key", "ports": [("TCP", port)]} for port in (80, 81))
    both, first, second = {"one": ("192.0.2.0",), "other": ("192.0.2.0",)}, {"other": ()}, {"one": ()}
    for name, asked, local, expected in (
        ("one", one, None, {"one": ("192.0.2.0",)}),
        ("other", other, None, both),
        ("other", other, {"app": "web"}, both | first),
        ("one", one, {"app": "web"}, both),
        ("one", one, {"app": "dns"}, both | second),
        ("other", other, {"app": "dns"}, both),
    ):
        cluster.apply(service(name, **asked, local=local))  # type: ignore[arg-type]
        assert cluster.all() == expected


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_who_waited_longest_is_next() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"))
    for name in TEN:
        cluster.apply(service(name))
    tried = cluster.tried
    cluster.delete("s0")
    cluster.apply(service("s1", type="ClusterIP"))
    assert cluster.all() == dict.fromkeys(TEN[1:], ()) | {"s2": ("192.0.2.0",), "s3": ("192.0.2.1",)}
    assert cluster.tried == tried + 3  # s1 itself, and two of eight that wait


def test_who_cannot_use_it_is_not_asked() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/32"), pool("b", "192.0.2.1/32", "2001:db8::/128", auto_assign=False))
    for name, asked in {
        "holds-a": {}, "holds-b": {"pool": "b"}, "holds-six": {"pool": "b", "families": (6,)}, "wants-a": {},
        "wants-b": {"pool": "b"}, "wants-six": {"pool": "b", "families": (6,)}, "wants-it": {"ips": "192.0.2.1"},
        "wants-what-is-not": {"ips": "203.0.113.1"}, "wants-nonsense": {"ips": "x"}, "wants-no-pool": {"pool": "x"},
    }.items():  # fmt: skip
        cluster.apply(service(name, **asked))  # type: ignore[arg-type]
    for name, expected in {"holds-six": "wants-six", "holds-a": "wants-a", "holds-b": "wants-b"}.items():
        tried = cluster.tried
        cluster.delete(name)
        assert cluster.addresses(expected)
        assert cluster.tried == tried + (2 if name == "holds-b" else 1)  # that one is asked for by address as well
    cluster.delete("wants-b")
    assert cluster.addresses("wants-it") == ("192.0.2.1",)


def test_an_address_that_is_asked_for_is_given_when_it_comes_free() -> None:
    cluster = Cluster(V4)
    cluster.apply(service("first"))
    cluster.apply(service("second", ips="192.0.2.0"))
    assert cluster.addresses("second") == ()
    cluster.apply(service("first", ips="192.0.2.1"))
    assert cluster.all() == {"first": ("192.0.2.1",), "second": ("192.0.2.0",)}


def test_a_failure_is_told_once() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/32"))
    cluster.apply(service("first"))
    assert reasons(cluster.apply(service("second"))) == ["AllocationFailed"]
    assert reasons(cluster.apply(service("second"))) == []
    assert reasons(cluster.apply(service("second", pool="none"))) == ["AllocationFailed"]
    assert reasons(cluster.apply(service("second"))) == ["AllocationFailed"]


# -- restart ---------------------------------------------------------------------------------------------------------


def test_a_restart_changes_nothing() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/29"), DUAL)
    for name in TEN:
        cluster.apply(service(name))
    for name in TEN[::3]:
        cluster.delete(name)
    cluster.apply(service("share", share="key"))
    cluster.apply(service("share-too", share="key", ports=[("UDP", 80)]))
    before = cluster.all()
    cluster.services = dict(reversed(cluster.services.items()))
    cluster.restart()
    assert cluster.all() == before


def test_nobody_gets_what_another_has_at_a_restart() -> None:
    """Even if who has it comes last."""
    cluster = Cluster(V4)
    cluster.services = {one.key: one for one in (service("a"), service("b", has=("192.0.2.0",), of="four"))}
    cluster.restart()
    assert cluster.all() == {"a": ("192.0.2.1",), "b": ("192.0.2.0",)}


def test_two_that_have_the_same_address() -> None:
    """As an operator's hand or a restored backup may leave them: one keeps it."""
    cluster = Cluster(V4)
    cluster.services = {one.key: one for one in (service(name, has=("192.0.2.0",), of="four") for name in "ab")}
    cluster.restart()
    assert cluster.all() == {"a": ("192.0.2.0",), "b": ("192.0.2.1",)}


# -- beyond MetalLB --------------------------------------------------------------------------------------------------


def test_cool_down() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/30"), cool_down_s=60.0)
    cluster.apply(service("first"))
    cluster.now_s = 10.0
    cluster.delete("first")
    cluster.apply(service("second"))
    assert cluster.addresses("second") == ("192.0.2.1",)
    cluster.set_pools(pool("b", "192.0.2.0/29"))
    cluster.now_s = 69.9
    cluster.apply(service("third"))
    assert cluster.addresses("third") == ("192.0.2.2",)
    cluster.now_s = 70.0
    cluster.apply(service("fourth"))
    assert cluster.addresses("fourth") == ("192.0.2.0",)


def test_what_has_rested_longest_is_better_than_nothing() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"), cool_down_s=60.0)
    for name in ("s0", "s1", "s2"):
        cluster.apply(service(name))
    cluster.now_s = 1.0
    cluster.delete("s1")
    assert cluster.addresses("s2") == ("192.0.2.1",)
    cluster.delete("s2")
    cluster.now_s = 2.0
    cluster.delete("s0")
    cluster.apply(service("new"))
    assert cluster.addresses("new") == ("192.0.2.1",)


def test_an_address_that_rests_is_given_to_who_asks_for_it() -> None:
    cluster = Cluster(V4, cool_down_s=60.0)
    cluster.apply(service("first"))
    cluster.delete("first")
    cluster.apply(service("second", ips="192.0.2.0"))
    cluster.apply(service("second", pool="four"))
    assert cluster.addresses("second") == ("192.0.2.0",)


def test_balanced_pools() -> None:
    pools = [
        pool("a", "192.0.2.0/30"),
        pool("b", "198.51.100.0/31"),
        pool("z", "203.0.113.0/24", pinned=True, priority=1),
    ]
    cluster = Cluster(*pools[:2], balanced=True)
    for name in TEN[:6]:
        cluster.apply(service(name))
    of = [assignment.pool for one in cluster.services if (assignment := cluster.allocator.assignment(one))]
    assert of == ["a", "b", "a", "a", "b", "a"]
    cluster.set_pools(*pools)
    cluster.apply(service("pinned"))
    assert cluster.addresses("pinned") == ("203.0.113.0",)
