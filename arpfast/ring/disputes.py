"""What two members answered for at once, and who has to announce it again. Pure.

After a partition, or a take-over from a member that was not dead for all, the neighbours may have heard last from the
one that has to stop. So who stays the owner announces again: at once, when it learns of the other's claim or that the
other is back, and once more when that one has given it up. A hand-over is none of this: there the new owner has
announced, and the old one says no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arpfast.ring.overlaps import Overlaps
    from arpfast.ring.roster import Witness


class Disputes:
    """What is disputed with whom, as one member sees it."""

    def __init__(self, overlaps: Overlaps) -> None:
        """Nothing is."""
        self._overlaps = overlaps
        self._accepted: dict[str, Spans] = {}
        self._open: dict[str, Spans] = {}
        """What a member may have told the neighbours to be its own, though it is ours."""
        self.opened = 0
        """How often one has been."""

    def open(self, name: str, spans: Spans) -> None:
        """This member may answer for these, which are ours."""
        self._open[name] = self._open.get(name, NOTHING) | spans
        self.opened += 1

    def announce(self, here: Mapping[str, Witness], owned: Spans) -> Spans:
        """What to announce now, before anything is taken from those who are here."""
        announce = NOTHING
        for name, overlap in self._both(here, owned).items():
            new = overlap - self._accepted.get(name, NOTHING)
            opened = self._open.pop(name, NOTHING)
            announce |= new | (opened - overlap)
            if left := new | (opened & overlap):
                self._open[name] = left
        return announce & owned

    def accept(self, here: Mapping[str, Witness], owned: Spans) -> None:
        """What those who are here claim of `owned` by now is no dispute: it is being handed over to us."""
        self._overlaps.keep(here)
        self._accepted = self._both(here, owned)

    def _both(self, here: Mapping[str, Witness], owned: Spans) -> dict[str, Spans]:
        """What of ours they claim, too."""
        return {
            name: NOTHING if witness.standing is None else self._overlaps.of(name, witness.standing.owned, owned)
            for name, witness in here.items()
        }
