"""What goes into the rules of the ring and what comes out of them: plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from arpfast.election import Method
from arpfast.ring.standing import Standing  # noqa: TC001 (msgspec reads the annotations)
from arpfast.spans import Spans

if TYPE_CHECKING:
    from arpfast.ring.settings import RingSettings


class Terms(msgspec.Struct, frozen=True):
    """How the ring is run; must be the same on every member."""

    method: Method = Method.BALANCED
    quorum: bool = False
    members: int = 1
    """How many members the settings name: what a quorum is more than half of."""
    hold_down_s: float = 10.0
    inherit: bool = False
    """Heirs watch owners all the time, and inherit without asking (profile `fast`)."""


def terms(settings: RingSettings) -> Terms:
    """The rules that the settings make."""
    return Terms(
        Method(settings.election),
        settings.quorum,
        len(settings.members),
        settings.hold_down_s,
        inherit=settings.profile == "fast",
    )


class Event(msgspec.Struct, frozen=True):
    """Something that changed hands or minds: for the log and the timeline."""

    event: str
    member: str = ""
    spans: Spans = Spans()
    why: str = ""


class Orders(msgspec.Struct, frozen=True):
    """What follows. Answer first, then publish."""

    answers: Spans
    """What to answer for."""
    fresh: Spans
    """Of these, what no member is known to have answered: to be probed first (RFC 5227, RFC 4862)."""
    standing: Standing | None
    """To be published, if it changed."""
    watch: tuple[str, ...]
    """Members to be asked on the wire whether they still answer."""
    heirs: dict[str, Spans]
    """What we are to inherit, and from whom, should they fall silent (`Terms.inherit`)."""
    condemn: tuple[str, ...]
    """Suspects whose death the wire has proved."""
    exchange: tuple[str, ...]
    """Members whose state differs from what we know of it: to be exchanged with now."""
    events: tuple[Event, ...]
    announce: Spans
    """Of what we answer for: others have answered for it, too, and told the neighbours so."""
    settle: bool
    """To hear everybody who can be reached, and then to settle: there was no quorum for a while."""
