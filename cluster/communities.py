"""BGP communities: `65000:1` of two numbers of 16 bits, `large:65000:1:2` of three of 32, or a Community's alias."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cluster.problems import Findings, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.custom import Community

KIND = "Community"
LARGE = "large"
_FORMS = f"65000:1, {LARGE}:65000:1:2 or the name of an alias"


def parse_communities(objects: Iterable[Community]) -> tuple[dict[str, str], list[Problem]]:
    """What each alias stands for, and all that is wrong with them."""
    aliases: dict[str, str] = {}
    problems: list[Problem] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(KIND, written.key)
        for at, alias in enumerate(written.spec.communities):
            field = f"spec.communities[{at}]"
            if alias.name in aliases:
                findings.add(f"{field}.name", alias.name, "each alias once in all Communities")
            try:
                aliases.setdefault(alias.name, community(alias.value))
            except ValueError as error:
                findings.add(f"{field}.value", alias.value, str(error))
        problems += findings.problems
    return aliases, problems


def resolve(findings: Findings, field: str, written: Iterable[str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """The communities, without names, in the order of their numbers. An alias that there is not may come yet."""
    resolved = set()
    for at, text in enumerate(written):
        if text in aliases:
            resolved.add(aliases[text])
            continue
        try:
            resolved.add(community(text))
        except ValueError as error:
            findings.add(f"{field}[{at}]", text, str(error), transient=":" not in text)
    return tuple(sorted(resolved, key=order))


def community(text: str) -> str:
    """Read a community, as the shortest text for it. ValueError, with what was expected, for what is none."""
    parts = text.split(":")
    if len(parts) == 2:
        return ":".join(str(number) for number in _numbers(parts, 16))
    if len(parts) == 4 and parts[0] == LARGE:
        return ":".join([LARGE, *(str(number) for number in _numbers(parts[1:], 32))])
    raise ValueError(_FORMS)


def _numbers(parts: list[str], bits: int) -> list[int]:
    if not all(re.fullmatch(r"[0-9]{1,20}", part, re.ASCII) and int(part) < 1 << bits for part in parts):
        raise ValueError(f"{_FORMS}, of numbers below {1 << bits}")
    return [int(part) for part in parts]


def order(text: str) -> list[int]:
    """By which communities, as `community` writes them, are in order: a short one as a large one of one number."""
    numbers = [int(part) for part in text.removeprefix(f"{LARGE}:").split(":")]
    return numbers if len(numbers) == 3 else [numbers[0] << 16 | numbers[1], 0, 0]
