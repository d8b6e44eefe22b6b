"""What members claim of what is ours, kept from turn to turn. Pure.

Most turns are about an address or two, and shares of ten thousand addresses are thousands of spans: what two shares
have in common is found from what they had in common before, and from what has changed in either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from arpfast.spans import Spans


class Overlap(NamedTuple):
    """Two shares, and what is in both."""

    theirs: Spans
    ours: Spans
    both: Spans


class Overlaps:
    """By member."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[str, Overlap] = {}

    def of(self, name: str, theirs: Spans, ours: Spans) -> Spans:
        """What this member and we claim."""
        known = self._known.get(name)
        if known is None:
            both = theirs & ours
        else:
            both = known.both
            if known.theirs is not theirs:
                both = (both - (known.theirs - theirs)) | ((theirs - known.theirs) & known.ours)
            if known.ours is not ours:
                both = (both - (known.ours - ours)) | ((ours - known.ours) & theirs)
        self._known[name] = Overlap(theirs, ours, both)
        return both

    def keep(self, names: Collection[str]) -> None:
        """Forget the others: they are not here any more."""
        self._known = {name: known for name, known in self._known.items() if name in names}
