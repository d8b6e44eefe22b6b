"""Which addresses a Service gets: what MetalLB does, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.resources import ADDRESS_POOL, ALLOW_SHARED_IP, LOAD_BALANCER_IPS, OLD_PREFIX
from cluster.selectors import Selector
from tests.controller.cluster import PREFER, REQUIRE, SINGLE, Cluster, pool, reasons, service

V4, V6 = pool("four", "192.0.2.0/31"), pool("six", "2001:db8::/127")
DUAL = pool("two", "198.51.100.0/31", "2001:db8:1::/127")
BOTH = (4, 6)
WEB = (Selector({"app": "web"}),)
TEN = tuple(f"s{number}" for number in range(10))

# -- asked for -------------------------------------------------------------------------------------------------------

ASKED: list[tuple[str, dict[str, Any], tuple[str, ...], str]] = [
    # what is asked for, what is got, what the reason says if nothing is
    ("one address", {"ips": "192.0.2.1"}, ("192.0.2.1",), ""),
    ("spaces around it", {"ips": "  192.0.2.1 "}, ("192.0.2.1",), ""),
    ("by the field", {"ip": "192.0.2.1"}, ("192.0.2.1",), ""),
    ("IPv6", {"ips": "2001:db8::1", "families": (6,)}, ("2001:db8::1",), ""),
    ("IPv6 written at length", {"ips": "2001:DB8:0::1", "families": (6,)}, ("2001:db8::1",), ""),
    ("IPv4 written as IPv6", {"ips": "::ffff:192.0.2.1"}, ("192.0.2.1",), ""),
    ("both, in the order that is asked for", {"ips": "2001:db8:1::1, 198.51.100.1", "families": BOTH},
     ("2001:db8:1::1", "198.51.100.1"), ""),
    ("empty: any", {"ips": ""}, ("192.0.2.0",), ""),
    ("both ways at once", {"ips": "192.0.2.1", "ip": "192.0.2.1"}, (), "not both"),
    ("no address", {"ips": "web"}, (), "expected an address, not 'web'"),
    ("no address, by the field", {"ip": "192.0.2.1/32"}, (), "spec.loadBalancerIP: expected an address"),
    ("two by the field", {"ip": "198.51.100.1,2001:db8:1::1", "families": BOTH}, (), "expected one address"),
    ("a zone", {"ips": "fe80::1%eth0", "families": (6,)}, (), "expected an address"),
    ("a comma too many", {"ips": "192.0.2.1,"}, (), "expected an address, not ''"),
    ("three", {"ips": "192.0.2.1,192.0.2.0,2001:db8::", "families": BOTH}, (), "at most two"),
    ("two of one family", {"ips": "192.0.2.1,192.0.2.0"}, (), "different families"),
    ("of the wrong family", {"ips": "2001:db8::1"}, (), "expected IPv4 as the cluster IPs are, not IPv6"),
    ("one where two are needed", {"ips": "198.51.100.1", "families": BOTH, "policy": REQUIRE}, (), "IPv4 and IPv6"),
    ("one where two are preferred", {"ips": "198.51.100.1", "families": BOTH, "policy": PREFER}, (), "IPv4 and IPv6"),
    ("two where one will do", {"ips": "198.51.100.1,2001:db8:1::1"}, (), "expected IPv4"),
    ("of no pool", {"ips": "203.0.113.1"}, (), "no pool that may give 203.0.113.1"),
    ("of two pools", {"ips": "192.0.2.1,2001:db8::1", "families": BOTH}, (), "no pool that may give"),
    ("and its pool", {"ips": "192.0.2.1", "pool": "four"}, ("192.0.2.1",), ""),
    ("and another pool", {"ips": "192.0.2.1", "pool": "two"}, (), "expected an address of pool 'two'"),
    ("a pool of a long name", {"pool": "x" * 256_000}, (), "there is no pool"),
    ("its address, too", {"pool": "x" * 256_000, "ips": "192.0.2.1"}, (), "expected an address of"),
    ("a long sharing key", {"share": "x" * 256_000}, ("192.0.2.0",), ""),
    ("a million commas", {"ips": "," * 1_000_000}, (), "at most two"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "got", "why"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_addresses_asked_for(asked: dict[str, Any], got: tuple[str, ...], why: str) -> None:
    cluster = Cluster(V4, V6, DUAL)
    outcome = cluster.apply(service(**asked))
    assert cluster.addresses() == got
    assert reasons(outcome) == (["IPAllocated"] if got else ["AllocationFailed"])
    assert why in outcome.error
    assert bool(outcome.error) is not bool(got)
    assert all(len(note.message) < 400 for note in outcome.notes)


@pytest.mark.parametrize(("asked", "got"), [row[1:3] for row in ASKED], ids=[row[0] for row in ASKED])
def test_an_address_is_kept_while_what_is_asked_for_cannot_be_read(asked: dict[str, Any], got: tuple[str, ...]) -> None:
    """Where the fault is in the request alone; addresses that are not to be had make it lose the others."""
    fields = {**asked, "ips": None, "ip": "", "pool": None}
    cluster = Cluster(V4, V6, DUAL)
    cluster.apply(service(**fields))
    kept = cluster.addresses()
    outcome = cluster.apply(service(**{**asked, "pool": None}))
    if reasons(outcome) == ["LoadBalancerFailed"]:
        assert cluster.addresses() == kept
        assert not got
        assert "is kept" in outcome.notes[0].message
    else:
        assert "expected" not in outcome.error


@pytest.mark.parametrize("name", ["new", "old", "both"])
def test_annotations_by_their_old_names(name: str) -> None:
    """They are read where the new ones are absent, even empty, and an Event says so, once."""
    old = {OLD_PREFIX + "loadBalancerIPs": "192.0.2.1"}
    annotations = {"new": {LOAD_BALANCER_IPS: "192.0.2.1"}, "old": old, "both": {LOAD_BALANCER_IPS: "", **old}}[name]
    cluster = Cluster(V4)
    outcome = cluster.apply(service(annotations=annotations))
    assert cluster.addresses() == ("192.0.2.0" if name == "both" else "192.0.2.1",)
    assert reasons(outcome) == ["IPAllocated", *(["deprecatedAnnotation"] if name == "old" else [])]
    assert reasons(cluster.apply(service(annotations=annotations))) == []


# -- which pool ------------------------------------------------------------------------------------------------------

PINNED = pool("pinned", "203.0.113.0/32", pinned=True)
POOLS: list[tuple[str, list[Any], dict[str, Any], str]] = [
    # pools, what is asked for, the pool that it comes from; empty: none
    ("by name", [pool("b", "192.0.2.1/32"), pool("a", "192.0.2.2/32")], {}, "a"),
    ("the one named", [pool("b", "192.0.2.1/32"), pool("a", "192.0.2.2/32")], {"pool": "b"}, "b"),
    ("an unknown one", [V4], {"pool": "none"}, ""),
    ("an empty name: any", [V4], {"pool": ""}, "four"),
    ("not automatically", [pool("a", "192.0.2.1/32", auto_assign=False)], {}, ""),
    ("not automatically, but by name", [pool("a", "192.0.2.1/32", auto_assign=False)], {"pool": "a"}, "a"),
    ("not automatically, but by address", [pool("a", "192.0.2.1/32", auto_assign=False)], {"ips": "192.0.2.1"}, "a"),
    ("pinned before others", [V4, PINNED], {}, "pinned"),
    ("pinned to the namespace", [V4, pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset({"shop"}))],
     {}, "p"),
    ("pinned to another", [V4, pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset({"x"}))], {}, "four"),
    ("pinned to another, named", [V4, pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset({"x"}))],
     {"pool": "p"}, ""),
    ("pinned to another, by address", [pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset({"x"}))],
     {"ips": "203.0.113.0"}, ""),
    ("pinned to none", [pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset())], {"pool": "p"}, ""),
    ("by the Service's labels", [V4, pool("p", "203.0.113.0/32", pinned=True, service_selectors=WEB)],
     {"labels": {"app": "web"}}, "p"),
    ("by other labels", [V4, pool("p", "203.0.113.0/32", pinned=True, service_selectors=WEB)],
     {"labels": {"app": "dns"}}, "four"),
    ("by namespace, but not by labels",
     [pool("p", "203.0.113.0/32", pinned=True, namespaces=frozenset({"shop"}), service_selectors=WEB)], {}, ""),
    ("the least priority first", [pool("a", "192.0.2.1/32", pinned=True, priority=20),
     pool("b", "192.0.2.2/32", pinned=True, priority=10)], {}, "b"),
    ("priority 0 last", [pool("a", "192.0.2.1/32", pinned=True), pool("b", "192.0.2.2/32", pinned=True, priority=10)],
     {}, "b"),
    ("priority, but it has not the family", [pool("a", "192.0.2.1/32", pinned=True, priority=1), DUAL],
     {"families": (6,)}, "two"),
    ("pinned, but not automatically", [V4, pool("p", "203.0.113.0/32", pinned=True, auto_assign=False)], {}, "four"),
    ("a pool of both families for one", [DUAL], {}, "two"),
    ("no pool of the family", [V6], {}, ""),
    ("the family is not in the pool named", [V4, V6], {"pool": "six"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("pools", "asked", "expected"), [row[1:] for row in POOLS], ids=[row[0] for row in POOLS])
def test_pools(pools: list[Any], asked: dict[str, Any], expected: str) -> None:
    outcome = Cluster(*pools).apply(service(**asked))
    assert (outcome.assignment.pool if outcome.assignment else "") == expected


def test_pinned_pools_overflow_into_the_others() -> None:
    cluster = Cluster(V4, PINNED)
    for name in TEN[:4]:
        cluster.apply(service(name))
    assert list(cluster.all().values()) == [("203.0.113.0",), ("192.0.2.0",), ("192.0.2.1",), ()]


def test_spans_are_used_up_in_their_order() -> None:
    cluster = Cluster(pool("a", "192.0.2.9/32", "192.0.2.4-192.0.2.5", "192.0.2.0/32"))
    for name in TEN[:5]:
        cluster.apply(service(name))
    assert list(cluster.all().values()) == [("192.0.2.9",), ("192.0.2.4",), ("192.0.2.5",), ("192.0.2.0",), ()]


def test_the_lowest_that_is_free_is_next() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/29"))
    for name in TEN[:5]:
        cluster.apply(service(name))
    cluster.delete("s3")
    cluster.delete("s1")
    cluster.apply(service("new"))
    assert cluster.addresses("new") == ("192.0.2.1",)


def test_buggy_addresses_are_avoided() -> None:
    cluster = Cluster(pool("a", "192.0.2.254-192.0.3.1", avoid_buggy_ips=True))
    for name in TEN[:3]:
        cluster.apply(service(name))
    assert list(cluster.all().values()) == [("192.0.2.254",), ("192.0.3.1",), ()]
    assert "no pool that may give 192.0.2.255" in cluster.apply(service("s2", ips="192.0.2.255")).error


@pytest.mark.parametrize("text", ["10.0.0.0/8", "2001:db8::/64", "0.0.0.0/0"])
def test_a_large_pool(text: str) -> None:
    family = 6 if ":" in text else 4
    cluster = Cluster(pool("a", text))
    for name in TEN:
        cluster.apply(service(name, families=(family,)))
    assert len(set(cluster.all().values())) == 10
    counts = cluster.allocator.inventory.counts("a")[family == 6]
    assert counts == (10, min(pool("a", text).spans[0].size, 2**63 - 1) - 10)


# -- two families ----------------------------------------------------------------------------------------------------

FAMILIES: list[tuple[str, dict[str, Any], list[Any], tuple[str, ...]]] = [
    ("one, no policy", {}, [DUAL], ("198.51.100.0",)),
    ("one, IPv6", {"families": (6,)}, [DUAL], ("2001:db8:1::",)),
    ("one, preferring two", {"policy": PREFER}, [DUAL], ("198.51.100.0",)),
    ("two required", {"families": BOTH, "policy": REQUIRE}, [V4, V6, DUAL], ("198.51.100.0", "2001:db8:1::")),
    ("two required, in no one pool", {"families": BOTH, "policy": REQUIRE}, [V4, V6], ()),
    ("two required, IPv6 first", {"families": (6, 4), "policy": REQUIRE}, [DUAL], ("198.51.100.0", "2001:db8:1::")),
    ("two required, one cluster IP", {"policy": REQUIRE}, [DUAL], ()),
    ("two preferred", {"families": BOTH, "policy": PREFER}, [V4, V6, DUAL], ("198.51.100.0", "2001:db8:1::")),
    ("two preferred, IPv4 first", {"families": BOTH, "policy": PREFER}, [V4, V6], ("192.0.2.0",)),
    ("two preferred, IPv6 first", {"families": (6, 4), "policy": PREFER}, [V4, V6], ("2001:db8::",)),
    ("two preferred, IPv6 first, none there", {"families": (6, 4), "policy": PREFER}, [V4], ("192.0.2.0",)),
    ("two preferred, in the pool named", {"families": BOTH, "policy": PREFER, "pool": "six"}, [V4, V6, DUAL],
     ("2001:db8::",)),
    ("only the old field", {"cluster_ips": ()}, [V4], ("192.0.2.0",)),
    ("two cluster IPs of one family", {"cluster_ips": ("10.96.0.1", "10.96.0.2")}, [V4], ()),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "pools", "got"), [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES])
def test_families(asked: dict[str, Any], pools: list[Any], got: tuple[str, ...]) -> None:
    cluster = Cluster(*pools)
    cluster.apply(service(**asked))
    assert cluster.addresses() == got
    cluster.apply(service(**asked))
    assert cluster.addresses() == got, "it does not come to rest"


def test_the_second_family_is_added_when_it_comes_free() -> None:
    """From the same pool, without an Event for each time that it could not be."""
    cluster = Cluster(pool("a", "192.0.2.0/30", "2001:db8::/128"))
    cluster.apply(service("six", families=(6,)))
    wants = service("both", families=BOTH, policy=PREFER)
    assert reasons(cluster.apply(wants)) == ["IPAllocated"]
    assert reasons(cluster.apply(wants)) == ["AdditionalAssignFailed"]
    assert reasons(cluster.apply(wants)) == []
    cluster.delete("six")
    assert cluster.addresses("both") == ("192.0.2.0", "2001:db8::")


def test_who_prefers_two_families_and_has_one_cluster_ip_does_not_oscillate() -> None:
    cluster = Cluster(DUAL)
    for _ in range(4):
        cluster.apply(service(policy=PREFER))
        assert cluster.addresses() == ("198.51.100.0",)


@pytest.mark.parametrize(
    ("before", "after", "addresses"),
    [
        ({}, {"families": BOTH, "policy": REQUIRE}, ("198.51.100.0", "2001:db8:1::")),
        ({}, {"families": BOTH, "policy": PREFER}, ("198.51.100.0", "2001:db8:1::")),
        ({"families": BOTH, "policy": REQUIRE}, {"policy": SINGLE}, ("198.51.100.0",)),
        ({"families": BOTH, "policy": REQUIRE}, {"families": (6,)}, ("2001:db8:1::",)),
    ],
    ids=["one to two", "one to two preferred", "two to one", "two to IPv6"],
)
def test_families_change(before: dict[str, Any], after: dict[str, Any], addresses: tuple[str, ...]) -> None:
    cluster = Cluster(DUAL)
    cluster.apply(service(**before))
    cluster.apply(service(**after))
    assert cluster.addresses() == addresses


def test_the_family_that_stays_keeps_its_address() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/30", "2001:db8::/126"))
    for name in ("first", "second"):
        cluster.apply(service(name, families=BOTH, policy=REQUIRE))
    cluster.delete("first")
    assert reasons(cluster.apply(service("second", policy=SINGLE))) == []
    assert cluster.addresses("second") == ("192.0.2.1",)
    cluster.apply(service("second", families=BOTH, policy=REQUIRE))
    assert cluster.addresses("second") == ("192.0.2.1", "2001:db8::")
    cluster.apply(service("second", families=(6,)))
    assert cluster.addresses("second") == ("2001:db8::",)


def test_who_needs_two_looks_elsewhere_if_its_pool_has_not_both() -> None:
    cluster = Cluster(V4, DUAL)
    cluster.apply(service())
    cluster.apply(service(families=BOTH, policy=REQUIRE))
    assert cluster.addresses() == ("198.51.100.0", "2001:db8:1::")
    cluster.set_pools(V4, V6)
    assert cluster.addresses() == ()


def test_annotations_have_metallbs_names() -> None:
    assert {ADDRESS_POOL, ALLOW_SHARED_IP, LOAD_BALANCER_IPS} == {
        "metallb.io/address-pool", "metallb.io/allow-shared-ip", "metallb.io/loadBalancerIPs",
    }  # fmt: skip
