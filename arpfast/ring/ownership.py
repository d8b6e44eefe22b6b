"""Which addresses this host answers for, and what it says of itself. Pure: no socket, no clock, no thread.

Every member runs this on the same standings and comes to the same result; where views differ for a moment, epochs
decide. A claim says "I answer for this", by an epoch one above every epoch known of the address. The rules:

1. *Take*: what the election gives us is claimed once its last owner is gone, or, if it is still here, right away: make
   before break. The claim is published after the answering has begun.
2. *Keep*: what the election gives to another stays ours until that member's claim has been seen. A member that never
   takes what it was given costs nothing.
3. *Yield*: a claim of a member that is here, by a higher epoch, ends ours at once; by the same epoch, the lesser name
   wins, which every member can tell without asking.
4. *Stand aside*: after a freeze, without a settled view, or without a quorum, nothing is claimed and nothing answered.
   Who finds a quorum again has first to hear what became of its addresses meanwhile.
   Who starts says so at once, without claims, so that members that start together know each other when they probe;
   so does who has no carrier.

MetalLB's speakers publish nothing: what the election gives to one of them is theirs without a claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from arpfast.ring.contest import Contest
from arpfast.ring.disputes import Disputes
from arpfast.ring.electorate import Electorate, Everybody
from arpfast.ring.epochs import Epochs, outbid
from arpfast.ring.orders import Event, Orders
from arpfast.ring.overlaps import Overlaps
from arpfast.ring.roster import Gossip, Roster, Wire, Witness, candidate, eligible, inheritance
from arpfast.ring.standing import holders, united
from arpfast.spans import NOTHING, Spans

if TYPE_CHECKING:
    from arpfast.ring.electorate import Outcome
    from arpfast.ring.orders import Terms
    from arpfast.ring.standing import Claims, Standing


class Ownership:
    """The state of one member's ownership."""

    def __init__(self, me: Standing, terms: Terms) -> None:
        """`me` says what is known of ourselves: name, first serial, weight."""
        self.me = me
        self.terms = terms
        self.roster = Roster(me.name)
        self.claims: Claims = {}
        """Replaced as a whole."""
        self._owned = self.claims, NOTHING
        self.fresh = Spans()
        self.unanswered = Spans()
        """What we cannot answer for yet, or because another host has it; replaced by the shell."""
        self.settled = False
        self._aside: Claims = {}
        """What we claimed when we last stood aside: ours still, unless somebody has taken it meanwhile."""
        self.has_quorum = True
        self.strangers: frozenset[str] = frozenset()
        """Members that the settings do not name: they make no quorum. Replaced by the shell, where it matters."""
        self.displaced = False
        """Another host has our name: until a restart, we are nobody."""
        self._twin_heard = 0
        self.ballot: Outcome | None = None
        self._electorate: Electorate = Everybody(terms.method, NOTHING, NOTHING)
        self._contest = Contest()
        self._epochs = Epochs()
        self._hold_until_s = 0.0
        self.said: Standing | None = None
        """What we have published last."""
        self._condemned: set[str] = set()
        self._exchange: list[str] = []
        self._events: list[Event] = []
        self._overlaps = Overlaps()
        self._disputes = Disputes(self._overlaps)
        self._decided: tuple[object, ...] = ()
        """What the last decision was made of, if it changed nothing."""
        self._heirs: dict[str, Spans] = {}

    # -- what comes in -----------------------------------------------------------------------------------------------

    def want(self, wanted: Spans, proxied: Spans) -> None:
        """Replace what the ring as a whole answers for; a proxied span is owned as a whole."""
        before = self._electorate
        if not isinstance(before, Everybody) or before.asked != (self.terms.method, wanted, proxied):
            self.elect_by(Everybody(self.terms.method, wanted, proxied), NOTHING)

    def elect_by(self, electorate: Electorate, news: Spans) -> None:
        """Replace what the ring as a whole answers for, and who may; `news` are the addresses that this is about."""
        self._electorate = electorate
        self._contest.forget(news)

    def be(self, **fields: object) -> None:
        """Change what we say of ourselves: `weight`, `preference`, `drained`, `carrier`, `macs`, `networks`,
        `unhealthy`.
        """
        self.me = msgspec.structs.replace(self.me, **fields)

    def settle(self, now: float) -> None:
        """All who could be reached have been heard: from now on we take part."""
        if self.settled:
            return
        self.settled = True
        if any(witness.standing and witness.standing.claims for witness in self.roster.here().values()):
            self._hold_until_s = now + self.terms.hold_down_s
        self._say("settled", why=f"{len(self.roster.here()) + 1} members here")

    def stand_aside(self, why: str) -> None:
        """What we know may be old: give up everything until `settle` says that all have been heard again."""
        if self.settled:
            self.settled = False
            self._say("stood aside", spans=self.owned, why=why)

    def gossip(self, name: str, state: Gossip, *, ours: bool) -> None:
        """The gossip calls a member this now."""
        before = self.roster.witnesses.get(name)
        if before is not None and before.gossip is state and before.ours is ours:
            return
        self.roster.gossip(name, state, ours=ours)
        self._condemned.discard(name)
        self._say(f"member {state.value}", name)

    def standing(self, standing: Standing) -> bool:
        """A member's word of itself, at first or second hand. Whether it is news."""
        if standing.name == self.me.name:
            if standing.serial > self.me.serial:  # ours, from before a restart; or another host's, of the same name
                self._meet_twin(standing.macs)
                self.me = msgspec.structs.replace(self.me, serial=standing.serial)
                self.said = None
                self._epochs.remember(standing.claims)
            return False
        witness = self.roster.witnesses.get(standing.name)
        if witness is not None and witness.standing is not None and witness.standing.serial >= standing.serial:
            return False
        before = self.roster.standing(standing)
        if before is None or before.macs != standing.macs:
            for mac, name in self.roster.of_same_hardware(standing, self.me):
                why = f"{mac.hex(':')} is also that of {name}; no switch can tell them apart"
                self._say("hardware address claimed twice", standing.name, why=why)
        self._epochs.remember(standing.claims, {} if before is None else before.claims)
        return True

    def _meet_twin(self, macs: tuple[bytes, ...]) -> None:
        """A host that speaks by our name, of other hardware, and speaks again after we have answered that: none of an
        earlier life. Of two such hosts the one with the lesser hardware address stays, and that is known to both.
        """
        if not macs or not self.me.macs or set(macs) & set(self.me.macs):
            return
        self._twin_heard += 1
        if self._twin_heard > 1 and not self.displaced and macs < self.me.macs:
            self.displaced = True
            self._say("stood aside", spans=self.owned, why=f"another host, {macs[0].hex(':')}, has the same name")

    def wire(self, name: str, wire: Wire | None, now: float, silent: Spans = NOTHING) -> None:
        """The watches on a member show this now: if it answers, then not for what is `silent`."""
        witness = self.roster.witnesses.get(name)
        before = None if witness is None else witness.wire
        self.roster.wire(name, wire, now, silent)
        if wire is Wire.SILENT and before is not Wire.SILENT:
            self._say("silent on the wire", name)
        elif wire is Wire.ASKED and before is Wire.SILENT:
            self._say("answers on the wire again", name)
            self._exchange.append(name)
        elif wire is Wire.SUSPENDED and before is not Wire.SUSPENDED:
            self._say("watch suspended", name, why="frames are being lost here")

    def inherited(self, name: str, spans: Spans, network: Spans = NOTHING) -> None:
        """The thread has taken over from a member that fell silent, on this network if only there, and answers."""
        self.roster.fell(name, spans if network else None)
        self._say("inherited", name, spans, why="it fell silent on the wire")
        self._disputes.open(name, spans)
        self._claim(spans - self.owned)

    def rival(self, name: str, spans: Spans) -> None:
        """A member announced what we answer for: to be settled by epoch, at once."""
        if spans & self.owned:
            self._say("rival", name, spans)
            self._exchange.append(name)
            self._disputes.open(name, spans)

    # -- what follows ------------------------------------------------------------------------------------------------

    @property
    def owned(self) -> Spans:
        """All that we claim."""
        if self._owned[0] is not self.claims:
            self._owned = self.claims, united(self.claims)
        return self._owned[1]

    @property
    def wanted(self) -> Spans:
        """All that the ring answers for."""
        return self._electorate.spans

    def standings(self) -> dict[str, Standing]:
        """What is known of everybody, ourselves included once we have published."""
        known = {n: w.standing for n, w in self.roster.witnesses.items() if w.standing is not None}
        if self.said is not None:
            known[self.me.name] = self.said
        return known

    def serials(self) -> dict[str, int]:
        """What an earlier word of anybody is known by."""
        known = {n: w.standing.serial for n, w in self.roster.witnesses.items() if w.standing is not None}
        return {**known, self.me.name: self.me.serial}

    def to_hand_over(self) -> Spans:
        """What we still claim and the election has given to another."""
        if self.ballot is None:
            return NOTHING
        return self.owned - self.ballot.owned(self.me.name)

    def next_deadline(self, now: float) -> float | None:
        """When `orders` has something new to say, if nothing else happens."""
        holding = self._hold_until_s if self.me.holding and self._hold_until_s > now else None
        dues = (holding, self.roster.next_heard_s(now), self._contest.next_deadline(now))
        return min((due for due in dues if due is not None), default=None)

    def orders(self, now: float) -> Orders:
        """What follows from all that came in."""
        here = self.roster.here()
        settle = self._look_for_quorum(here)
        self.me = msgspec.structs.replace(
            self.me,
            holding=not self.settled or now < self._hold_until_s,
            settling=not self.settled,
            hears=self.roster.hears(now) if self.settled else (),
        )
        heirs: dict[str, Spans] = {}
        announce = NOTHING
        if self.settled and self.has_quorum and not self.displaced:
            self.claims, self._aside = self.claims or self._aside, {}
            announce = self._decide(here, now)
            heirs = self._heirs
        elif self.claims:
            self.claims, self._aside = {}, self._aside or self.claims
            self.fresh &= self.unanswered  # what we have answered for need not be probed again
        condemn = tuple(
            name
            for name, witness in self.roster.witnesses.items()
            if witness.gossip is Gossip.SUSPECT and name not in self._condemned and not self.roster.presence(name).here
        )
        self._condemned.update(condemn)
        exchange, self._exchange = tuple(dict.fromkeys(self._exchange)), []
        events, self._events = tuple(self._events), []
        owned = self.owned
        if not self._aside:
            self.fresh &= owned
        return Orders(
            owned,
            self.fresh & owned,
            self._to_publish(now) if self._has_a_say() else None,
            self.roster.to_watch(),
            heirs,
            condemn,
            exchange,
            events,
            announce & owned,
            settle,
        )

    def _decide(self, here: dict[str, Witness], now: float) -> Spans:
        """Yield and take; what to announce again. Nothing follows from the same that nothing has followed from before,
        and to find that out costs next to nothing: most turns are had for other reasons.
        """
        me = msgspec.structs.replace(self.me, serial=0, hears=())
        others = {
            name: (witness.gossip is Gossip.ALIVE, witness.ours, witness.standing) for name, witness in here.items()
        }
        left = self._contest.left(now)
        decided = (self.terms, self._electorate, me, others, self.claims, left, self._disputes.opened)
        if decided == self._decided:
            return NOTHING
        claims = self.claims
        yielded = self._yield(here)
        announce = self._disputes.announce(here, self.owned)
        self._take(here, yielded, now)
        announce |= yielded  # what we are elected for all the same has been the other's in between
        self._disputes.accept(here, self.owned)
        self._heirs = inheritance(self.me.name, here, self.ballot) if self.terms.inherit and self.ballot else {}
        self._decided = decided if self.claims is claims else ()
        return announce

    def _has_a_say(self) -> bool:
        """Not while what we said last may still hold: who stood still for a moment, and is about to hear that nobody
        has taken its claims, has not given them up.
        """
        if self.displaced:
            return False
        return self.settled or self.said is None or self.said.settling or not self.me.carrier

    def _to_publish(self, now: float) -> Standing | None:
        claims = {epoch: spans for epoch, spans in self.claims.items() if spans}
        unanswered, ceded = self.unanswered & self.owned, self._contest.ceded(self.to_hand_over(), now)
        me = msgspec.structs.replace(self.me, claims=claims, unanswered=unanswered, ceded=ceded)
        if self.said is not None and msgspec.structs.replace(me, serial=self.said.serial) == self.said:
            return None
        self.said = msgspec.structs.replace(me, serial=me.serial + 1)
        self.me = msgspec.structs.replace(self.me, serial=self.said.serial)
        return self.said

    def _look_for_quorum(self, here: dict[str, Witness]) -> bool:
        """Whether we have to settle anew, for there is one again."""
        counted = len({*here, self.me.name} - self.strangers)
        has = not self.terms.quorum or 2 * counted > self.terms.members
        if has is self.has_quorum:
            return False
        self.has_quorum = has
        seen = f"{counted} of {self.terms.members} members here"
        self._say("quorum regained" if has else "quorum lost", why=seen)
        anew = has and self.settled
        if anew:
            self.stand_aside("the others may have changed hands while there was no quorum")
        return anew

    def _yield(self, here: dict[str, Witness]) -> Spans:
        """Give up what another claims with better right."""
        yielded = NOTHING
        for name, witness in here.items():
            if witness.standing is None or not self._overlaps.of(name, witness.standing.owned, self.owned):
                continue
            if lost := outbid(self.claims, witness.standing.claims, among_equals=self.me.name > name):
                self._release(lost)
                self._say("handed over", name, lost, why="it claims them by a later epoch")
                yielded |= lost
        return yielded

    def _take(self, here: dict[str, Witness], yielded: Spans, now: float) -> None:
        everybody = {**here, self.me.name: Witness(Gossip.ALIVE, ours=True, standing=self.me)}
        networks = Spans(
            span for witness in everybody.values() if witness.standing for span in witness.standing.networks
        )
        nowhere = self.wanted - networks  # on nobody's subnet, so that no subnet is a reason against anybody
        candidates = [
            candidate(name, each, nowhere) for name, each in everybody.items() if eligible(each, self.terms.method)
        ]
        self._release(self.owned - self.wanted)
        claims = {name: each.standing.claims for name, each in here.items() if each.standing is not None}
        claims[self.me.name] = self.claims
        incumbents = holders(claims) if self._electorate.keeps else {}
        self.ballot = ballot = self._electorate.elect(candidates, incumbents)
        mine = ballot.owned(self.me.name)
        self._contest.lost(yielded & mine, now)
        if (kept := self.owned - mine) and (stray := kept & ballot.unowned):
            self._release(stray)
            self._say("gave up", spans=stray, why="nobody may have them")
        for name, witness in here.items():
            if not witness.ours and (theirs := ballot.owned(name) & self.owned):
                self._release(theirs)
                self._say("handed over", name, theirs, why="it is the elected owner, and makes no claims")
        new = mine - self.owned
        if not self._electorate.keeps:
            incumbents = holders(claims, new)
        if new and (left := self._contest.left(now)):
            others = [(held, here[name].standing) for name, held in incumbents.items() if name != self.me.name]
            new -= left & Spans(span for held, theirs in others if theirs for span in held - theirs.ceded)
        if not new:
            return
        for name, spans in incumbents.items():
            if name != self.me.name and (moving := new & spans):
                self._say("took over", name, moving, why="elected; it hands over")
        gone = {
            name: witness.standing.owned
            for name, witness in self.roster.witnesses.items()
            if name not in here and witness.standing is not None
        }
        rest = new - Spans(span for spans in incumbents.values() for span in spans)
        for name, spans in gone.items():
            if moving := rest & spans:
                self._say("took over", name, moving, why=self.roster.presence(name).why)
                self._disputes.open(name, moving)
                rest -= moving
        if rest:
            self._say("took", spans=rest, why="nobody owned them")
        self._claim(new)

    def _claim(self, spans: Spans) -> None:
        """Claim by an epoch above every one that is known."""
        owned, claims = self.owned, self._epochs.next(spans)
        self.claims = {
            epoch: self.claims.get(epoch, NOTHING) | claims.get(epoch, NOTHING) for epoch in self.claims | claims
        }
        self._owned = self.claims, owned | spans
        standings = (witness.standing for witness in self.roster.witnesses.values() if witness.standing is not None)
        unproved = Spans(span for standing in standings for span in standing.unanswered & standing.owned) & spans
        first = claims.get(1, NOTHING) | unproved
        self.fresh |= first
        self.unanswered |= first
        self._epochs.remember(claims)

    def _release(self, spans: Spans) -> None:
        if spans & (owned := self.owned):
            self.claims = {epoch: left for epoch, own in self.claims.items() if (left := own - spans)}
            self._owned = self.claims, owned - spans

    def _say(self, event: str, member: str = "", spans: Spans = NOTHING, why: str = "") -> None:
        self._events.append(Event(event, member, spans, why))
