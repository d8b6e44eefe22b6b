"""IPAddressPools: what is refused, row by row of MetalLB's own checks, and what the good ones hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpfast.spans import Span, address_of
from cluster.pools import parse_entry
from tests.cluster.configuring import parsed, pool, told

ALLOCATION = "spec.serviceAllocation"
EVEN = {"matchLabels": {"team": "web"}}

REFUSED = {
    "no name": ([pool("", "192.0.2.0/24")], ["metadata.name: a name"]),
    "no addresses": ([pool()], ["spec.addresses: at least one prefix or range"]),
    "duplicate name": (
        [pool("a", "192.0.2.0/25"), pool("a", "192.0.2.128/25")],
        ["metadata.name: each name once"],
    ),
    "overlap within a pool": (
        [pool("a", "192.0.2.0/24", "192.0.2.200-192.0.2.210")],
        ["spec.addresses[1]: no address of another entry (spec.addresses[0] of a, 192.0.2.0/24)"],
    ),
    "overlap across pools": (
        [pool("b", "192.0.2.9-192.0.2.20"), pool("a", "192.0.2.0-192.0.2.9")],
        ["spec.addresses[0]: no address of another entry (spec.addresses[0] of a, 192.0.2.0-192.0.2.9)"],
    ),
    "the same IPv6 in two pools": (
        [pool("a", "2001:db8::/64"), pool("b", "2001:db8::1-2001:db8::2")],
        ["spec.addresses[0]: no address of another entry (spec.addresses[0] of a, 2001:db8::/64)"],
    ),
    "two within a wide one": (
        [pool("a", "10.0.0.0/8"), pool("b", "10.1.0.0/16", "10.2.0.0/16")],
        [f"spec.addresses[{at}]: no address of another entry (spec.addresses[0] of a, 10.0.0.0/8)" for at in (0, 1)],
    ),
    "duplicate namespaces": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"namespaces": ["x", "y", "x"]})],
        ["spec.serviceAllocation.namespaces[2]: each once"],
    ),
    "duplicate namespaceSelectors": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"namespaceSelectors": [EVEN, EVEN]})],
        ["spec.serviceAllocation.namespaceSelectors[1]: each selector once"],
    ),
    "duplicate serviceSelectors": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"serviceSelectors": [EVEN, EVEN]})],
        ["spec.serviceAllocation.serviceSelectors[1]: each selector once"],
    ),
    "a value twice in an expression of serviceSelectors": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"serviceSelectors": [
            {"matchExpressions": [{"key": "team", "operator": "In", "values": ["web", "web"]}]},
        ]})],
        [f"{ALLOCATION}.serviceSelectors[0].matchExpressions[0].values[1]: each once"],
    ),
    "invalid namespaceSelectors": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"namespaceSelectors": [{"matchLabels": {"a b": "c"}}]})],
        [
            f"{ALLOCATION}.namespaceSelectors[0].matchLabels: a label's name, such as app or example.com/app",
        ],
    ),
    "invalid serviceSelectors": (
        [pool("a", "192.0.2.0/24", serviceAllocation={"serviceSelectors": [{"matchExpressions": [{"key": "a"}]}]})],
        [
            f"{ALLOCATION}.serviceSelectors[0].matchExpressions[0].operator: In, NotIn, Exists or DoesNotExist",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(written: list[object], expected: list[str]) -> None:
    assert told(*written) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("", "a prefix"),
        ("192.0.2.1", "a prefix"),
        ("192.0.2.0/33", "a prefix"),
        ("192.0.2.0/255.255.255.0", "a prefix"),
        ("192.0.2.300/24", "a prefix"),
        (" 192.0.2.0/24", "a prefix"),
        ("fe80::1%eth0/64", "a prefix"),
        ("2001:db8::/129", "a prefix"),
        ("192.0.2.1-", "a range of two addresses"),
        ("192.0.2.1-192.0.2.300", "a range of two addresses"),
        ("x-192.0.2.1", "a range of two addresses"),
        ("192.0.2.1-192.0.2.2-192.0.2.3", "a range of two addresses"),
        ("192.0.2.9-192.0.2.1", "a range that runs upwards, as in 192.0.2.1-192.0.2.9"),
        ("192.0.2.1-2001:db8::1", "a range with both ends in one family"),
        ("fe80::1%1-fe80::2", "addresses without a zone"),
    ],
)
def test_an_entry_that_is_refused(entry: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_entry(entry)
    assert len(told(pool("a", entry))) == 1


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("2001:db8::77/64", "2001:db8::/64"),
        (" 192.0.2.1 -  192.0.2.9 ", "192.0.2.1-192.0.2.9"),
        ("192.0.2.7-192.0.2.7", "192.0.2.7"),
        ("2001:db8::1-2001:db8::ff", "2001:db8::1-2001:db8::ff"),
        ("::ffff:192.0.2.1-::ffff:192.0.2.9", "192.0.2.1-192.0.2.9"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_an_entry_that_is_read(entry: str, expected: str) -> None:
    assert parse_entry(entry) == Span.parse(expected)


@given(st.text("0123456789abcdef.:/-% x", max_size=40) | st.text(max_size=20))
def test_any_text_is_a_span_or_refused(text: str) -> None:
    try:
        span = parse_entry(text)
    except ValueError:
        return
    assert parse_entry(f"{address_of(span.version, span.first)}-{address_of(span.version, span.last)}") == span


def test_a_pool_holds_what_is_written() -> None:
    written = pool(
        "gold", "192.0.2.128/25", "192.0.2.0-192.0.2.9", "2001:db8::/120",
        labels={"tier": "gold"}, autoAssign=False, avoidBuggyIPs=True,
        serviceAllocation={"priority": 7, "namespaces": ["x"], "namespaceSelectors": [EVEN]},
    )  # fmt: skip
    (gold,) = parsed(written).config.pools.values()
    assert gold.spans == tuple(map(Span.parse, ["192.0.2.128/25", "192.0.2.0-192.0.2.9", "2001:db8::/120"]))
    assert (gold.auto_assign, gold.avoid_buggy_ips, gold.pinned, gold.priority) == (False, True, True, 7)
    assert gold.labels == {"tier": "gold"}
    assert gold.namespaces == frozenset({"x", "shop"})


def test_a_pool_has_the_defaults_of_the_crd() -> None:
    (main,) = parsed(pool("main", "192.0.2.0/24")).config.pools.values()
    assert (main.auto_assign, main.avoid_buggy_ips, main.pinned, main.priority) == (True, False, False, 0)
    assert main.namespaces is None
    assert main.admits("anywhere", {})


def test_selectors_that_match_no_namespace_leave_a_pool_to_none() -> None:
    nobody = {"namespaceSelectors": [{"matchLabels": {"team": "gone"}}]}
    (main,) = parsed(pool("main", "192.0.2.0/24", serviceAllocation=nobody)).config.pools.values()
    assert main.namespaces == frozenset()
    assert not main.admits("shop", {})


def test_an_empty_allocation_pins_a_pool_and_keeps_it_from_nobody() -> None:
    (main,) = parsed(pool("main", "192.0.2.0/24", serviceAllocation={})).config.pools.values()
    assert main.pinned
    assert main.admits("anywhere", {})


def test_a_selector_of_services_admits_by_label() -> None:
    (main,) = parsed(pool("m", "192.0.2.0/24", serviceAllocation={"serviceSelectors": [EVEN]})).config.pools.values()
    assert main.admits("anywhere", {"team": "web"})
    assert not main.admits("anywhere", {"team": "money"})


def test_pools_are_in_the_order_of_their_names() -> None:
    assert list(parsed(pool("b", "192.0.2.0/25"), pool("a", "192.0.2.128/25")).config.pools) == ["a", "b"]


def test_many_entries_that_overlap_are_told_one_by_one() -> None:
    """Not each pair of them."""
    (problem, *more) = parsed(pool("wide", *["10.0.0.0/8"] * 400)).problems
    assert len(more) == 398
    assert problem.field == "spec.addresses[1]"


def test_a_problem_reads_as_one_line() -> None:
    (problem,) = parsed(pool("a", "x\n" * 400)).problems
    assert str(problem).startswith("IPAddressPool metallb-system/a: spec.addresses[0]: expected a prefix")
    assert len(str(problem)) < 300
    assert "\n" not in str(problem)
    assert isinstance(problem, tuple)
    assert problem.key == ("metallb-system", "a")
