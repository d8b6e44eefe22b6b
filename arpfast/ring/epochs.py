"""The epochs of all changes of hands that are known: what a new claim has to be above. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from arpfast.ring.standing import Claims


class Epochs:
    """The highest epoch known of each address."""

    def __init__(self) -> None:
        """None is known."""
        self._highest: Claims = {}

    def remember(self, claims: Claims, before: Claims | None = None) -> None:
        """Somebody claims these, or has; what he claimed `before` is remembered already."""
        for epoch, claimed in claims.items():
            spans = news = claimed - (before or {}).get(epoch, NOTHING)
            for known, seen in list(self._highest.items()):
                if known >= epoch:
                    news -= seen
                elif overlap := seen & spans:
                    self._highest[known] = seen - overlap
            if news:
                self._highest[epoch] = self._highest.get(epoch, NOTHING) | news
        self._highest = {epoch: seen for epoch, seen in self._highest.items() if seen}

    def next(self, spans: Spans) -> Claims:
        """These by an epoch above every one that is known; 1 for what nobody is known to have claimed."""
        claims: Claims = {}
        for epoch, seen in sorted(self._highest.items()):
            if again := spans & seen:
                claims[epoch + 1] = again
                spans -= again
        if spans:
            claims[1] = spans
        return claims


def outbid(mine: Claims, theirs: Claims, *, among_equals: bool) -> Spans:
    """What of mine is theirs with better right: by a later epoch or, `among_equals`, by the same one, too."""
    lost = NOTHING
    for epoch, spans in theirs.items():
        for own, held in mine.items():
            if epoch > own or (epoch == own and among_equals):
                lost |= held & spans
    return lost
