"""Whether label selectors are what the API would take, and what they select among objects that are known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cluster.selectors import Requirement, Selector, any_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.problems import Findings

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_KEY = re.compile(rf"({_DOMAIN}/)?{_NAME}", re.ASCII)
_VALUE = re.compile(rf"({_NAME})?", re.ASCII)

_Plain = tuple[str, str, list[str]]
"""An expression: key, operator, and the values in order."""


def selected(
    selectors: tuple[Selector, ...], labelled: Mapping[str, Mapping[str, str]], *, otherwise: frozenset[str]
) -> frozenset[str]:
    """The names of those that one of `selectors` selects; `otherwise`, where there are no selectors."""
    if not selectors:
        return otherwise
    return frozenset(name for name, labels in labelled.items() if any_matches(selectors, labels))


def check_selectors(findings: Findings, field: str, selectors: tuple[Selector, ...]) -> tuple[Selector, ...]:
    """Find what is wrong with each of `selectors`, and what is there twice: selectors, expressions in one of them, or
    values in one of these. Those that can be used.
    """
    seen: list[tuple[dict[str, str], list[_Plain]]] = []
    for at, selector in enumerate(selectors):
        plain = selector.match_labels, _check_repetitions(findings, f"{field}[{at}]", selector)
        if plain in seen:
            findings.add(f"{field}[{at}]", _told(selector), "each selector once")
        seen.append(plain)
    return tuple(
        selector for at, selector in enumerate(selectors) if check_selector(findings, f"{field}[{at}]", selector)
    )


def check_selector(findings: Findings, field: str, selector: Selector) -> bool:
    """Find what is wrong with a selector; whether it can be used."""
    before = len(findings.problems)
    for key, value in selector.match_labels.items():
        _check_key(findings, f"{field}.matchLabels", key)
        _check_value(findings, f"{field}.matchLabels[{key}]", value)
    for at, requirement in enumerate(selector.match_expressions):
        _check_requirement(findings, f"{field}.matchExpressions[{at}]", requirement)
    return len(findings.problems) == before


def _check_repetitions(findings: Findings, field: str, selector: Selector) -> list[_Plain]:
    """Find expressions that stand twice in a selector, and values that stand twice in an expression."""
    seen: list[_Plain] = []
    for at, one in enumerate(selector.match_expressions):
        path = f"{field}.matchExpressions[{at}]"
        findings.unique(f"{path}.values", one.values)
        plain = one.key, one.operator, sorted(one.values)
        if plain in seen:
            findings.add(path, _expression(one), "each expression once")
        seen.append(plain)
    return seen


def _check_requirement(findings: Findings, field: str, requirement: Requirement) -> None:
    _check_key(findings, f"{field}.key", requirement.key)
    match requirement.operator:
        case "In" | "NotIn":
            if not requirement.values:
                findings.add(f"{field}.values", "", f"values for {requirement.operator}")
            for at, value in enumerate(requirement.values):
                _check_value(findings, f"{field}.values[{at}]", value)
        case "Exists" | "DoesNotExist":
            if requirement.values:
                findings.add(f"{field}.values", ",".join(requirement.values), f"none for {requirement.operator}")
        case other:
            findings.add(f"{field}.operator", other, "In, NotIn, Exists or DoesNotExist")


def _check_key(findings: Findings, field: str, key: str) -> None:
    if not _KEY.fullmatch(key):
        findings.add(field, key, "a label's name, such as app or example.com/app")


def _check_value(findings: Findings, field: str, value: str) -> None:
    if not _VALUE.fullmatch(value):
        findings.add(field, value, "a label's value: at most 63 letters, digits, '-', '_' and '.'")


def _told(selector: Selector) -> str:
    labels = [f"{key}={value}" for key, value in selector.match_labels.items()]
    return ",".join([*labels, *map(_expression, selector.match_expressions)])


def _expression(requirement: Requirement) -> str:
    return f"{requirement.key} {requirement.operator} ({', '.join(requirement.values)})"
