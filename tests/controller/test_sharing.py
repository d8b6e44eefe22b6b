"""Who may share an address: the rows of MetalLB's rule, by Services; and where there is room, by arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.sharing import Shared
from tests.controller.cluster import Cluster, pool, reasons, service

TCP, UDP, WEB, DNS = ("TCP", 80), ("UDP", 80), {"app": "web"}, {"app": "dns"}

RULES = [
    # who has it, who comes, whether both have it then
    ("same key", {}, {"ports": [UDP]}, True),
    ("same number, other protocol", {}, {"ports": [UDP]}, True),
    ("same port", {}, {"ports": [TCP]}, False),
    ("one port of several is the same", {}, {"ports": [UDP, TCP]}, False),
    ("other key", {}, {"ports": [UDP], "share": "other"}, False),
    ("empty key", {}, {"ports": [UDP], "share": ""}, False),
    ("who comes has no key", {}, {"ports": [UDP], "share": None}, False),
    ("who has it has no key", {"share": None}, {"ports": [UDP]}, False),
    ("neither has a key", {"share": None}, {"ports": [UDP], "share": None}, False),
    ("Local and Local, same selector", {"local": WEB}, {"ports": [UDP], "local": dict(WEB)}, True),
    ("Local and Local, other selector", {"local": WEB}, {"ports": [UDP], "local": DNS}, False),
    ("Local and Cluster", {"local": WEB}, {"ports": [UDP]}, False),
    ("Cluster and Local", {}, {"ports": [UDP], "local": WEB}, False),
    ("Local without a selector, and Cluster", {"local": {}}, {"ports": [UDP]}, True),
    ("another namespace", {}, {"ports": [UDP], "namespace": "elsewhere"}, True),
]


@pytest.mark.parametrize(("has", "comes", "shares"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "found"])
def test_sharing(has: dict[str, object], comes: dict[str, object], shares: bool, asked: bool) -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"))
    cluster.apply(service("first", ips="192.0.2.0", **{"share": "key", **has}))  # type: ignore[arg-type]
    given_ = {"share": "key", **comes, **({"ips": "192.0.2.0"} if asked else {})}
    outcome = cluster.apply(service("second", **given_))  # type: ignore[arg-type]
    at = "192.0.2.0" if shares else "192.0.2.1"
    if asked and not shares:
        assert outcome.assignment is None
        assert reasons(outcome) == ["AllocationFailed"]
        assert "192.0.2.0: " in outcome.error
    else:
        assert outcome.assignment is not None
        assert list(map(str, outcome.assignment.addresses)) == [at]


def test_the_pool_has_to_admit_who_shares() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31", pinned=True, namespaces=frozenset({"shop"})))
    cluster.apply(service("first", share="key"))
    outcome = cluster.apply(service("second", namespace="elsewhere", share="key", ports=[UDP], ips="192.0.2.0"))
    assert outcome.assignment is None
    assert "does not admit" in outcome.error


def test_the_only_user_may_change_its_key() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"))
    cluster.apply(service("first", share="key"))
    assert reasons(cluster.apply(service("first", share="other"))) == []
    assert reasons(cluster.apply(service("first", local=WEB, share="other"))) == []
    cluster.apply(service("second", share="other", local=WEB, ports=[UDP]))
    assert cluster.all() == {"first": ("192.0.2.0",), "second": ("192.0.2.0",)}


@pytest.mark.parametrize(
    "change",
    [{"share": "other"}, {"share": None}, {"share": "key", "local": WEB}, {"share": "key", "ports": [TCP]}],
    ids=["other key", "no key", "other backend", "port in use"],
)
def test_who_can_share_no_longer_moves(change: dict[str, object]) -> None:
    cluster = Cluster(pool("a", "192.0.2.0/31"))
    cluster.apply(service("first", share="key"))
    cluster.apply(service("second", share="key", ports=[UDP]))
    assert cluster.addresses("second") == ("192.0.2.0",)
    outcome = cluster.apply(service("second", **{"ports": [UDP], **change}))  # type: ignore[arg-type]
    assert reasons(outcome) == ["ClearAssignment", "IPAllocated"]
    assert cluster.all() == {"first": ("192.0.2.0",), "second": ("192.0.2.1",)}


def test_room_is_found_in_the_order_of_addresses() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/29"))
    for number in range(4):
        cluster.apply(service(f"web{number}", share="key"))
    cluster.apply(service("alone"))
    cluster.apply(service("dns", share="key", ports=[UDP, ("TCP", 53)]))
    assert cluster.addresses("dns") == ("192.0.2.0",)
    cluster.delete("web2")
    cluster.apply(service("api", share="key", ports=[("TCP", 53), TCP]))
    assert cluster.addresses("api") == ("192.0.2.2",)
    cluster.apply(service("one-more", share="key", ports=[("TCP", 53)]))
    assert cluster.addresses("one-more") == ("192.0.2.1",)


def test_a_port_that_comes_free_is_given_to_who_waits() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/32"))
    cluster.apply(service("first", share="key", ports=[TCP, UDP]))
    cluster.apply(service("second", share="key", ports=[UDP]))
    cluster.apply(service("other", share="other"))
    assert cluster.addresses("second") == ()
    tried = cluster.tried
    cluster.apply(service("first", share="key", ports=[TCP]))
    assert cluster.all() == {"first": ("192.0.2.0",), "second": ("192.0.2.0",), "other": ()}
    assert cluster.tried == tried + 2  # who waits for another key is not asked


def test_who_shares_with_who_came_first_is_next() -> None:
    cluster = Cluster(pool("a", "192.0.2.0/32"))
    cluster.apply(service("alone"))
    cluster.apply(service("first", share="key"))
    cluster.apply(service("second", share="key", ports=[UDP]))
    cluster.apply(service("third"))
    cluster.delete("alone")
    assert cluster.all() == {"first": ("192.0.2.0",), "second": ("192.0.2.0",), "third": ()}


USES = st.lists(st.frozensets(st.sampled_from("abcd"), max_size=4), max_size=12)


@given(USES, st.frozensets(st.sampled_from("abcd"), min_size=1), st.sets(st.integers(0, 11)))
def test_the_lowest_with_room_is_what_a_scan_finds(
    uses: list[frozenset[str]], asked: frozenset[str], removed: set[int]
) -> None:
    shared = Shared()
    there = {}
    for number, used in enumerate(uses):
        shared.add(number)
        shared.use(number, [("TCP", ord(port)) for port in used])
        there[number] = used
    for number in removed & there.keys():
        shared.disuse(number, [("TCP", ord(port)) for port in there.pop(number)])
        shared.remove(number)
    expected = min((number for number, used in there.items() if not used & asked), default=None)
    assert shared.lowest([("TCP", ord(port)) for port in asked]) == expected
    assert bool(shared) is bool(there)
