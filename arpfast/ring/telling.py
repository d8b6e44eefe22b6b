"""What the ring says of itself: values for `status --ring` and `explain`, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from arpfast.inspection import Event as Told
from arpfast.ring.timeline import told
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from arpfast.gossip.joining import Missing
    from arpfast.ring.configured import Absent
    from arpfast.ring.orders import Event
    from arpfast.ring.ownership import Ownership
    from arpfast.spans import Version

_WARNINGS = frozenset(
    {
        "stood aside", "left with addresses in hand", "quorum lost", "not everybody could be heard",
        "name claimed twice", "hardware address claimed twice",
    }
)  # fmt: skip


class MemberState(msgspec.Struct, frozen=True):
    """One member, as seen from here."""

    name: str
    here: bool
    """It counts for elections."""
    why: str
    gossip: str
    wire: str | None
    """What the watch on it shows; none while there is no doubt about it."""
    weight: int
    drained: bool
    holding: bool
    owned: int
    addresses: str
    me: bool = False


class RingState(msgspec.Struct, frozen=True):
    """The ring, as seen from here."""

    name: str
    settled: bool
    quorum: bool
    election: str
    profile: str
    members: tuple[MemberState, ...]
    unowned: str
    """Addresses that no member here claims."""
    handing_over: int = 0
    """How many addresses we answer for that another has been given, and has not taken yet."""
    missing: tuple[Missing, ...] = ()
    """Configured members that have never been heard, and why they could not be joined."""


class Successor(msgspec.Struct, frozen=True):
    """What a member may expect of an address."""

    member: str
    turn: int | None
    """0: owns it by the last election; 1: is next; and so on. None: after these."""
    why: str


class AddressState(msgspec.Struct, frozen=True):
    """One address in the ring."""

    owner: str | None
    epoch: int
    """Which change of hands made it the owner's."""
    ours: bool
    succession: tuple[Successor, ...]
    """Who would own it, in order, and what stands in the way of whom."""
    aside: str = ""
    """Why this member answers for nothing at all, if that is so."""


def ring_state(ownership: Ownership, profile: str, absent: Absent) -> RingState:
    """All about the members, also those that are not heard."""
    me = ownership.me
    owned = ownership.owned
    members = [
        MemberState(me.name, ownership.settled, "this member" if ownership.settled else "stands aside", "alive", None,
                    me.weight, me.drained, me.holding, owned.size, told(owned), me=True)
    ]  # fmt: skip
    covered = owned
    for name, witness in sorted(ownership.roster.witnesses.items()):
        presence, standing = ownership.roster.presence(name), witness.word
        theirs = standing.owned if standing is not None else Spans()
        wire = None if witness.wire is None else witness.wire.value
        if presence.here:
            covered |= theirs
        refusal = absent.refusals.get(name)
        why = presence.why if refusal is None else f"{presence.why}, but answers: {refusal}"
        members.append(
            MemberState(name, presence.here, why, witness.gossip.value, wire,
                        100 if standing is None else standing.weight, standing is not None and standing.drained,
                        standing is not None and standing.holding, theirs.size, told(theirs))
        )  # fmt: skip
    return RingState(
        me.name,
        ownership.settled,
        ownership.has_quorum,
        ownership.terms.method.value,
        profile,
        tuple(members),
        told(ownership.wanted - covered),
        ownership.to_hand_over().size,
        absent.unheard,
    )


def address_state(ownership: Ownership, version: Version, value: int) -> AddressState:
    """All about one address: who has it, since which epoch, and who would come next."""
    address = Spans([Span(version, value, value)])
    best: tuple[int, str] | None = None
    claims = {name: witness.standing.claims for name, witness in ownership.roster.here().items() if witness.standing}
    claims[ownership.me.name] = ownership.claims
    for name, theirs in claims.items():
        for epoch, spans in theirs.items():
            if spans & address and (best is None or (-epoch, name) < best):
                best = (-epoch, name)
    succession = () if ownership.ballot is None else ownership.ballot.why(version, value)
    return AddressState(
        None if best is None else best[1],
        0 if best is None else -best[0],
        best is not None and best[1] == ownership.me.name,
        tuple(Successor(one.name, one.turn, ", ".join(one.reasons)) for one in succession),
        _aside(ownership),
    )


def _aside(ownership: Ownership) -> str:
    if ownership.displaced:
        return "another host has this member's name"
    if not ownership.me.carrier:
        return "no interface has a carrier"
    if not ownership.settled:
        return "it stands aside until it has heard the others"
    return "" if ownership.has_quorum else "less than a quorum is here"


def news(event: Event) -> Told:
    """An event of the ring as the log has it."""
    fields: dict[str, str | int | float] = {}
    if event.member:
        fields["member"] = event.member
    if event.spans:
        fields |= {"addresses": told(event.spans), "count": event.spans.size}
    if event.why:
        fields["why"] = event.why
    return Told("warning" if event.event in _WARNINGS else "info", event.event, fields)
