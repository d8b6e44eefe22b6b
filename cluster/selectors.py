"""Label selectors, as in `metav1.LabelSelector`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Requirement(msgspec.Struct, frozen=True, gc=False):
    """One of `matchExpressions`."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it. NotIn and DoesNotExist hold for who lacks the key."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        raise AssertionError(f"operator {self.operator!r} was let through")


class Selector(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """All of its requirements have to be met; an empty one selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


def any_matches(selectors: Iterable[Selector], labels: Mapping[str, str]) -> bool:
    """Whether one of several selectors selects; none of them at all selects nothing."""
    return any(selector.matches(labels) for selector in selectors)
