"""What is wrong with an object, said to the person who can put it right: all of it at once, by object and field."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cluster.resources import Key

SHOWN_AT_MOST = 100
"""So much of a value is repeated: annotations and the like may be long, or hostile."""


class Problem(NamedTuple):
    """One thing that is wrong with one object."""

    kind: str
    key: Key
    field: str
    """Its path, such as `spec.addresses[0]`."""
    value: str
    expected: str
    transient: bool = False
    """It may be right once another object has come: an admission webhook lets it pass."""

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.field}: expected {self.expected}, not {shown(self.value)}"


def shown(value: str) -> str:
    """A value as it may stand in a line: short, and without what would break it."""
    return repr(value if len(value) <= SHOWN_AT_MOST else value[: SHOWN_AT_MOST - 1] + "…")


class Findings:
    """The problems of one object, as they are found."""

    def __init__(self, kind: str, key: Key) -> None:
        """Nothing is wrong yet."""
        self._kind, self._key = kind, key
        self.problems: list[Problem] = []

    def add(self, field: str, value: object, expected: str, *, transient: bool = False) -> None:
        """`field` has `value`, which is not what was expected."""
        self.problems.append(Problem(self._kind, self._key, field, str(value), expected, transient))

    def unique(self, field: str, values: tuple[str, ...]) -> None:
        """Each of these may be there once."""
        for at, value in enumerate(values):
            if value in values[:at]:
                self.add(f"{field}[{at}]", value, "each once")
