"""Who is here: what the gossip says of each member, put beside what the wire says. Pure; time is an argument.

Gossip is safe but slow, and is itself a witness that may be cut off; the wire shows what counts, whether the member
answers for its addresses. So neither kills alone:

    gossip    the wire              here?
    alive     -                     yes (unless it fell silent under a watch that inherits)
    suspect   asked, no alarm       yes: it may be slow to gossip, but it answers
    suspect   silent                no: both witnesses agree, and the ring is told so at once
    suspect   cannot be asked       yes, until the ring calls it dead
    dead      asked, no alarm       yes: only its gossip is cut off
    dead      about to be asked     yes: who says so may have been cut off itself, and be wrong
    dead      silent, or not asked  no
    dead      a member hears it     yes: by the word of a member that is here (its standing's `hears`)
    left      -                     no: it has handed over what it could

A member is asked on the wire while the ring suspects it or calls it dead, by all in a small ring and by a few in a
large one. The watch itself is the responder's thread's.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from arpfast.election import Candidate, Method
from arpfast.spans import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.ring.electorate import Outcome
    from arpfast.ring.standing import Standing
    from arpfast.spans import Spans

ALL_WATCH = 8
"""In a ring of so many, every member asks a suspect; in a larger one, WATCHERS do."""
WATCHERS = 3
HEARD_AFTER_S = 0.3
"""A member asked for so long without an alarm is heard: three intervals would have shown its silence long before."""


class Gossip(StrEnum):
    """What the gossip calls a member."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


class Wire(StrEnum):
    """What the watch on a member has shown."""

    ASKED = "asked"
    """No alarm so far."""
    SILENT = "silent"
    SUSPENDED = "suspended"
    """The watch cannot tell: frames are being lost here."""
    CUT = "cannot be asked"
    """No interface of ours leads to it."""


class Witness(msgspec.Struct):
    """One member, as the witnesses have it."""

    gossip: Gossip
    ours: bool
    """It publishes standings; MetalLB's speakers do not."""
    standing: Standing | None = None
    wire: Wire | None = None
    asked_s: float = 0.0
    """Since when it is being asked on the wire."""
    fallen: bool = False
    """Silent under a watch that inherited from it; until it speaks, by standing or by wire."""
    silent: Spans = NOTHING
    """Of what it claims: what it does not answer for on the wire, where it answers for others."""
    lost: Spans = NOTHING
    """What was inherited from it on one network alone; until it answers there, whatever it says elsewhere."""

    @property
    def missing(self) -> Spans:
        """What it does not answer for, by both witnesses or by a watch that inherits."""
        return self.lost if self.gossip is Gossip.ALIVE else self.lost | self.silent

    @property
    def word(self) -> Standing | None:
        """The standing, if it counts: not that of an earlier life as one of ours, of who is MetalLB's speaker now."""
        return self.standing if self.ours else None

    @property
    def can_be_heard(self) -> bool:
        """Whether it is there, and has something to say."""
        return self.ours and self.gossip is Gossip.ALIVE


class Presence(msgspec.Struct, frozen=True):
    """Whether a member counts, and why."""

    here: bool
    why: str


class Roster:
    """All members but ourselves."""

    def __init__(self, me: str) -> None:
        """Nobody is known."""
        self.me = me
        self.witnesses: dict[str, Witness] = {}

    def gossip(self, name: str, state: Gossip, *, ours: bool) -> None:
        """The gossip calls `name` this now."""
        witness = self.witnesses.get(name)
        if witness is None:
            self.witnesses[name] = Witness(state, ours)
            return
        if state is Gossip.ALIVE and witness.gossip is not Gossip.ALIVE:
            witness.wire, witness.fallen, witness.silent, witness.lost = None, False, NOTHING, NOTHING
        witness.gossip, witness.ours = state, ours

    def standing(self, standing: Standing) -> Standing | None:
        """Take what a member says of itself; what it said before. Older serials must be kept from here."""
        witness = self.witnesses.get(standing.name)
        if witness is None:
            # Its gossip has not come yet: a standing alone makes nobody alive.
            witness = self.witnesses[standing.name] = Witness(Gossip.DEAD, ours=True)
        before, witness.standing = witness.standing, standing
        witness.fallen = False
        return before

    def of_same_hardware(self, standing: Standing, me: Standing) -> list[tuple[bytes, str]]:
        """Hardware addresses of this member that another one here has as well, or `me`: cloned machines, mostly."""
        alive = [w.word for w in self.witnesses.values() if w.gossip is Gossip.ALIVE and w.word is not None]
        others = [other for other in (*alive, me) if other.name != standing.name]
        return [(mac, other.name) for other in others for mac in standing.macs if mac in other.macs]

    def wire(self, name: str, wire: Wire | None, now: float, silent: Spans = NOTHING) -> None:
        """The watches on `name` show this now, and these `silent`; None: it is not watched."""
        witness = self.witnesses.get(name)
        if witness is None:
            return
        if witness.wire is None or wire is Wire.ASKED is not witness.wire:
            witness.asked_s = now
        if wire is Wire.ASKED and witness.wire is Wire.SILENT:
            witness.fallen = False
        witness.wire, witness.silent = wire, silent

    def fell(self, name: str, spans: Spans | None) -> None:
        """It was inherited from: for these, on one network, or (None) for all."""
        witness = self.witnesses.get(name)
        if witness is None:
            return
        if spans is None:
            witness.fallen, witness.wire = True, Wire.SILENT
        else:
            witness.lost |= spans

    def heard(self, name: str, network: Spans) -> None:
        """It answers again on this network, or wherever it is reached."""
        if witness := self.witnesses.get(name):
            witness.lost = witness.lost - network if network else NOTHING

    def presence(self, name: str) -> Presence:
        """Whether the member counts now."""
        seen = self._seen(name)
        if seen.here and self.witnesses[name].missing:
            return Presence(True, f"{seen.why}; silent where some of its addresses are at home")
        return seen

    def _seen(self, name: str) -> Presence:
        witness = self.witnesses[name]
        if witness.fallen:
            return Presence(False, "fell silent on the wire")
        match witness.gossip, witness.wire:
            case Gossip.ALIVE, _:
                return Presence(True, "alive")
            case Gossip.LEFT, _:
                return Presence(False, "left the ring")
            case Gossip.SUSPECT, Wire.SILENT:
                if by := self._heard_by(name):
                    return Presence(True, f"suspected and silent here, but {by} hears it on the wire")
                return Presence(False, "suspected by the ring, and silent on the wire")
            case Gossip.SUSPECT, Wire.ASKED:
                return Presence(True, "suspected by the ring, but not silent on the wire")
            case Gossip.SUSPECT, _:
                return Presence(True, "suspected by the ring")
            case Gossip.DEAD, Wire.ASKED:
                return Presence(True, "dead to the ring, but not silent on the wire")
            case Gossip.DEAD, None if name in self.to_watch():
                return Presence(True, "dead to the ring, and not asked on the wire yet")
        if by := self._heard_by(name):
            return Presence(True, f"dead to the ring, but {by} hears it on the wire")
        return Presence(False, "dead")

    def _heard_by(self, name: str) -> str | None:
        """A member that is alive and hears this one on the wire."""
        for other, witness in sorted(self.witnesses.items()):
            heard = witness.word is not None and name in witness.word.hears
            if heard and witness.gossip is Gossip.ALIVE and not witness.fallen:
                return other
        return None

    def here(self) -> dict[str, Witness]:
        """The members that count, by their word: that of what they do not answer for counts for nothing."""
        return {
            name: witness if counts is witness.standing else msgspec.structs.replace(witness, standing=counts)
            for name, witness in self.witnesses.items()
            if self._seen(name).here
            for counts in (_without(witness.word, witness.missing),)
        }

    def to_watch(self) -> tuple[str, ...]:
        """Whom we are to ask on the wire now: those in doubt that claim something."""
        doubted = [
            name
            for name, witness in sorted(self.witnesses.items())
            if (witness.fallen or witness.lost or witness.gossip in (Gossip.SUSPECT, Gossip.DEAD)) and _answers(witness)
        ]
        if not doubted:
            return ()
        sound = [name for name, witness in self.witnesses.items() if witness.gossip is Gossip.ALIVE and witness.ours]
        return tuple(name for name in doubted if self.me in _watchers([*sound, self.me], name))

    def hears(self, now: float) -> tuple[str, ...]:
        """Whom the ring doubts and we hear."""
        return tuple(
            name
            for name, witness in sorted(self.witnesses.items())
            if witness.gossip in (Gossip.SUSPECT, Gossip.DEAD)
            and witness.wire is Wire.ASKED
            and now - witness.asked_s >= HEARD_AFTER_S
        )

    def next_heard_s(self, now: float) -> float | None:
        """When `hears` will say more."""
        due = [
            witness.asked_s + HEARD_AFTER_S
            for witness in self.witnesses.values()
            if witness.wire is Wire.ASKED and witness.gossip in (Gossip.SUSPECT, Gossip.DEAD)
        ]
        return min((at for at in due if at > now), default=None)


def _without(word: Standing | None, missing: Spans) -> Standing | None:
    """What it says, as if it did not claim these and could not serve them."""
    if word is None or not missing:
        return word
    claims = {epoch: left for epoch, spans in word.claims.items() if (left := spans - missing)}
    return msgspec.structs.replace(word, claims=claims, unhealthy=word.unhealthy | missing)


def _answers(witness: Witness) -> bool:
    """Whether there is anything that it should answer for."""
    return witness.word is not None and bool(witness.word.claims) and bool(witness.word.macs)


def _watchers(sound: Iterable[str], doubted: str) -> list[str]:
    """Who of the sound members asks the doubted one: the same on each of them."""
    names = sorted(sound)
    if len(names) <= ALL_WATCH:
        return names
    return sorted(names, key=lambda name: blake2b(f"{name}#{doubted}".encode()).digest())[:WATCHERS]


def eligible(witness: Witness, method: Method) -> bool:
    """Whether it stands for election. MetalLB's order knows no claims; the balanced one needs them."""
    if witness.standing is None:
        return not witness.ours and method is Method.METALLB
    return not witness.standing.settling


def candidate(name: str, witness: Witness, nowhere: Spans) -> Candidate:
    """A member as the election sees it. One that is doubted keeps what it has and is given nothing new."""
    standing = witness.standing
    if standing is None:
        return Candidate(name, mute=True)
    return Candidate(
        name,
        weight=standing.weight,
        preference=standing.preference,
        drained=standing.drained,
        unhealthy=standing.unhealthy,
        carrier=standing.carrier,
        networks=standing.networks | nowhere if standing.networks else None,
        holding=standing.holding or witness.gossip is not Gossip.ALIVE,
    )


def inheritance(me: str, here: dict[str, Witness], ballot: Outcome) -> dict[str, Spans]:
    """What is mine should one of the others fall silent: by whom it is answered now."""
    heirs = {}
    for name, witness in here.items():
        if witness.standing is not None and witness.standing.macs and witness.standing.claims:
            answered = witness.standing.owned - witness.standing.unanswered
            if mine := ballot.succession(name).heirs.get(me, NOTHING) & answered:
                heirs[name] = mine
    return heirs
