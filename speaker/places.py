"""On which of this node's interfaces each address is answered. Pure.

Most are answered on all that are used; only the others are kept by the names of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.duties import Answer
from arpfast.interfaces import networks
from arpfast.spans import NOTHING, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from arpfast.interfaces import Interface
    from speaker.decide import Decision


class Places:
    """What advertisements say of interfaces."""

    def __init__(self, me: str) -> None:
        """`me` is this node."""
        self._me = me
        self._named: dict[frozenset[str], Spans] = {}
        """By the names of the interfaces that they are answered on."""
        self.restricted = NOTHING
        """What is not answered on all interfaces by everybody."""

    def learn(self, decisions: Mapping[Span, Decision], changed: Collection[Span]) -> bool:
        """Take what these are decided to be now; whether any of them is answered elsewhere than before."""
        before = self._named
        after: dict[frozenset[str], list[Span]] = {}
        restricted: list[Span] = []
        for span in changed:
            decision = decisions.get(span)
            if decision is None or not any(each.interfaces for each in decision.advertisements):
                continue
            restricted.append(span)
            if (names := decision.interfaces(self._me)) is not None:
                after.setdefault(names, []).append(span)
        if not self.restricted and not restricted:
            return False
        gone = Spans(changed)
        self.restricted = (self.restricted - gone) | Spans(restricted)
        named = {names: spans - gone for names, spans in before.items()}
        for names, found in after.items():
            named[names] = named.get(names, NOTHING) | Spans(found)
        self._named = {names: spans for names, spans in named.items() if spans}
        return self._named != before

    def answers(self, owned: Spans, fresh: Spans) -> list[Answer]:
        """What to answer for where; what is `fresh` of it was nobody's before."""
        parts = [(spans & owned, names) for names, spans in self._named.items()]
        rest = owned - Spans(span for spans, _ in parts for span in spans) if parts else owned
        found: list[Answer] = []
        for spans, names in [*parts, (rest, None)]:
            if settled := spans - fresh:
                found.append(Answer(settled, interfaces=names, settled=True))
            if tried := spans & fresh:
                found.append(Answer(tried, interfaces=names))
        return found

    def stranded(self, used: Iterable[Interface]) -> Spans:
        """What would be answered where there is no carrier: on named interfaces none of which has one, or, if none is
        named, on the subnet of one that has none.
        """
        interfaces = list(used)
        carrying = {interface.name for interface in interfaces if interface.carrier}
        dark = networks(each for each in interfaces if not each.carrier)
        named = [spans for names, spans in self._named.items() if names.isdisjoint(carrying)]
        if not dark:
            return Spans(span for spans in named for span in spans)
        lit = networks(each for each in interfaces if each.carrier)
        return (dark - lit - self.restricted) | Spans(span for spans in named for span in spans)

    def on(self, interface: str, spans: Spans) -> Spans:
        """What of these is answered on the interface of this name."""
        elsewhere = [spans for names, spans in self._named.items() if interface not in names]
        return spans - Spans(span for spans in elsewhere for span in spans) if elsewhere else spans
