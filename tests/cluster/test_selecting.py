"""Label selectors: what they select, and which of them are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cluster.problems import Findings
from cluster.resources import Key
from cluster.selecting import check_selectors, selected
from cluster.selectors import Selector, any_matches

LABELLED = {"a": {"rack": "1", "disk": "ssd"}, "b": {"rack": "2"}, "c": {}}


def selector(text: dict[str, Any]) -> Selector:
    return msgspec.convert(text, Selector)


def expression(operator: str, *values: str, key: str = "rack") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({}, "abc"),
        ({"matchLabels": {"rack": "1"}}, "a"),
        ({"matchLabels": {"rack": "1", "disk": "hdd"}}, ""),
        (expression("In", "1", "2"), "ab"),
        (expression("NotIn", "1"), "bc"),
        (expression("Exists"), "ab"),
        (expression("DoesNotExist"), "c"),
        ({"matchLabels": {"disk": "ssd"}, **expression("In", "2")}, ""),
    ],
)
def test_what_is_selected(text: dict[str, Any], expected: str) -> None:
    one = selector(text)
    assert check_selectors(Findings("X", Key("", "x")), "f", (one,)) == (one,)
    assert selected((one,), LABELLED, otherwise=frozenset()) == frozenset(expected)


def test_one_of_several_is_enough_and_none_selects_what_is_said_otherwise() -> None:
    both = selector({"matchLabels": {"rack": "1"}}), selector(expression("DoesNotExist"))
    assert selected(both, LABELLED, otherwise=frozenset()) == frozenset("ac")
    assert selected((), LABELLED, otherwise=frozenset("x")) == frozenset("x")
    assert not any_matches((), {})


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ({"matchLabels": {"": "x"}}, "f[0].matchLabels"),
        ({"matchLabels": {"a b": "x"}}, "f[0].matchLabels"),
        ({"matchLabels": {"a": "b c"}}, "f[0].matchLabels[a]"),
        ({"matchLabels": {"a": "x" * 64}}, "f[0].matchLabels[a]"),
        ({"matchLabels": {"/a": "x"}}, "f[0].matchLabels"),
        ({"matchLabels": {"Ä": "x"}}, "f[0].matchLabels"),
        (expression("in", "x"), "f[0].matchExpressions[0].operator"),
        (expression("In"), "f[0].matchExpressions[0].values"),
        (expression("NotIn"), "f[0].matchExpressions[0].values"),
        (expression("Exists", "x"), "f[0].matchExpressions[0].values"),
        (expression("DoesNotExist", "x"), "f[0].matchExpressions[0].values"),
        (expression("In", "-"), "f[0].matchExpressions[0].values[0]"),
        (expression("Exists", key=""), "f[0].matchExpressions[0].key"),
    ],
)
def test_what_is_no_selector(text: dict[str, Any], field: str) -> None:
    findings = Findings("X", Key("", "x"))
    assert check_selectors(findings, "f", (selector(text),)) == ()
    assert [problem.field for problem in findings.problems] == [field]
