"""Which nodes may answer for each address, and in which order. Pure: no clock, no members, no interface of this host.

The order is MetalLB's: by the sum of the weights by which a node is preferred, the highest first, then by the SHA-256
of node "#" address. Who is there at the moment is none of it: of those that are, the first in the order is the owner,
and the election (`electorate.py`) says who that is.

What is decided is one *decision* for each address, also where Services share it or have several: no address can ever
have two owners, and no Service with an address of each family is torn apart. So all Services that are joined by
addresses are decided together, by the first address of the first of them, which is where MetalLB looks too. A node that
suits them all comes before one that suits some; a Service that nobody can answer for has no say.

`Decider` keeps what it has decided. A change costs what has changed: a Service among ten thousand is judged alone, a
Node whose heartbeat comes is looked at and found to be as it was. Only configuration, and a Node that begins or ceases
to be available, are about everybody.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import address_of
from cluster.world import NOBODY, Change
from speaker.judging import NOTHING_ASKED, interfaces, judge, refusals, score
from speaker.nodes import ABLE, Rules, stand
from speaker.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from arpfast.spans import Span
    from cluster.config import L2Advertisement
    from cluster.resources import Key
    from cluster.world import World
    from speaker.judging import Judgement
    from speaker.nodes import Standing


SCORES_AT_MOST = 4096
"""So many are remembered: services whose endpoints have to be on the node come and go with ever other sets of nodes."""


class Decision(msgspec.Struct, frozen=True):
    """Who may answer for an address."""

    services: tuple[Key, ...]
    """Those that have it, in order."""
    succession: tuple[str, ...] = ()
    """The nodes that may, in order; none: `reason`."""
    common: int = 0
    """So many of them, from the first, suit every Service that is decided together; the others only some."""
    advertisements: tuple[L2Advertisement, ...] = ()
    """Those that announce it."""
    reason: Reason | None = None
    """Why nobody may."""

    def interfaces(self, node: str) -> frozenset[str] | None:
        """The names of those that it is answered on at this node; None: all that are used."""
        return interfaces(self.advertisements, node)


class Decider:
    """All decisions by what is known of the cluster."""

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008 (immutable)
        """Nothing is known yet."""
        self.rules = rules
        self.decisions: dict[Span, Decision] = {}
        self.judged = self.decided = 0
        """How many Services have been judged, and how many sets of them decided, since the start."""
        self._judgements: dict[Key, Judgement] = {}
        self._having: dict[Span, frozenset[Key]] = {}
        """Who has an address, answered for or not."""
        self._standings: dict[str, Standing] = {}
        """Of nodes that are barred or avoided."""
        self._scores: dict[tuple[object, ...], dict[str, int]] = {}
        """The nodes that suit: for many Services the same."""
        self._begun = False

    def apply(self, world: World, change: Change) -> frozenset[Span]:
        """Take the world as it is now, of which `change` is new: the addresses whose decision is another one now."""
        everything = change.config or not self._begun
        nodes = {*world.nodes, *self._standings} if everything else change.nodes
        stood = dict(self._standings)
        for node in nodes:
            self._look(world, node)
        everything = everything or self._standings != stood
        keys: Iterable[Key] = change.services
        if everything:
            keys = {*world.services, *self._judgements}
            self._scores.clear()
        self._begun = True
        touched: set[Span] = set()
        for key in keys:
            touched |= self._judge(world, key)
        return self._decide(self._having.keys() | touched if everything else touched)

    def why(self, key: Key, node: str) -> tuple[Reason, ...]:
        """What keeps this node from answering for a Service, or makes others come first. Nothing: only their order."""
        judgement = self._judgements.get(key, NOTHING_ASKED)
        standing = self._standings.get(node, ABLE)
        found = refusals(judgement, node, standing)
        if found:
            return found
        decision = self.decisions[judgement.addresses[0]]
        apart = decision.common == 0 or node not in decision.succession[: decision.common]
        return (*standing.avoided, *((Reason.NO_COMMON_NODE,) if apart else ()))

    def addresses(self, key: Key) -> tuple[Span, ...]:
        """Those that a Service has."""
        return self._judgements.get(key, NOTHING_ASKED).addresses

    def willing(self, address: Span) -> list[Key]:
        """The Services that are answered for by this address."""
        decision = self.decisions.get(address)
        services = () if decision is None else decision.services
        return [key for key in services if self._judgements[key].reason is None]

    def refusal(self, key: Key) -> Reason | None:
        """Why nobody answers for a Service, if so by what it says itself."""
        return self._judgements.get(key, NOTHING_ASKED).reason

    def _look(self, world: World, node: str) -> None:
        standing = stand(world.nodes[node], self.rules) if node in world.nodes else ABLE
        if standing is not ABLE:
            self._standings[node] = standing
        else:
            self._standings.pop(node, None)

    def _judge(self, world: World, key: Key) -> set[Span]:
        """Judge a Service anew: its addresses, before and now, if it asks for anything else than before."""
        self.judged += 1
        service = world.services.get(key)
        after = NOTHING_ASKED
        if service is not None:
            after = judge(service, world.serving.get(key, NOBODY), world.config)
        before = self._judgements.get(key, NOTHING_ASKED)
        if service is None:
            self._judgements.pop(key, None)
        else:
            self._judgements[key] = after
        if after == before:
            return set()
        for address in before.addresses:
            self._having[address] -= {key}
            if not self._having[address]:
                del self._having[address]
        for address in after.addresses:
            self._having[address] = self._having.get(address, frozenset()) | {key}
        return {*before.addresses, *after.addresses}

    def _decide(self, addresses: Collection[Span]) -> frozenset[Span]:
        """Decide about these, and all that is joined with them: those that are decided otherwise now."""
        changed: set[Span] = set()
        done: set[Span] = set()
        for address in addresses:
            if address in done:
                continue
            together, services = self._joined(address)
            done |= together
            self.decided += 1
            succession, common = self._order(services) if services else ((), 0)
            for each in together:
                decision = self._decision(each, succession, common)
                if decision != self.decisions.get(each):
                    changed.add(each)
                    if decision is None:
                        del self.decisions[each]
                    else:
                        self.decisions[each] = decision
        return frozenset(changed)

    def _joined(self, address: Span) -> tuple[set[Span], list[Key]]:
        """All addresses that Services join with this one, and those Services, in order."""
        services: set[Key] = set()
        together, ahead = {address}, [address]
        while ahead:
            for key in self._having.get(ahead.pop(), ()):
                if key not in services and self._judgements[key].reason is None:
                    services.add(key)
                    ahead += [other for other in self._judgements[key].addresses if other not in together]
                    together.update(self._judgements[key].addresses)
        return together, sorted(services)

    def _order(self, services: list[Key]) -> tuple[tuple[str, ...], int]:
        """The nodes that suit any of these Services, best first, and how many of them suit all."""
        judgements = [self._judgements[key] for key in services]
        scores = [self._score(judgement) for judgement in judgements]
        total, suits = scores[0], dict.fromkeys(scores[0], 1)
        for one in scores[1:]:
            total = {node: total.get(node, 0) + one.get(node, 0) for node in total | one}
            suits = {node: suits.get(node, 0) + (node in one) for node in total}
        first = judgements[0].addresses[0]
        key = f"#{address_of(first.version, first.first)}".encode()

        def rank(node: str) -> tuple[int, bool, int, bytes]:
            avoided = bool(self._standings.get(node, ABLE).avoided)
            return -suits[node], avoided, -total[node], sha256(node.encode() + key).digest()

        return tuple(sorted(total, key=rank)), sum(count == len(services) for count in suits.values())

    def _score(self, judgement: Judgement) -> dict[str, int]:
        known = (tuple(each.name for each in judgement.advertisements), judgement.nodes)
        if known not in self._scores:
            if len(self._scores) >= SCORES_AT_MOST:
                self._scores.clear()
            self._scores[known] = score(judgement, self._standings)
        return self._scores[known]

    def _decision(self, address: Span, succession: tuple[str, ...], common: int) -> Decision | None:
        services = tuple(sorted(self._having.get(address, ())))
        if not services:
            return None
        judgements = [self._judgements[key] for key in services]
        willing = [judgement for judgement in judgements if judgement.reason is None]
        if not willing:
            return Decision(services, reason=judgements[0].reason)
        advertisements = {each.name: each for one in willing for each in one.advertisements}
        reason = None if succession else Reason.NOT_OWNER
        return Decision(services, succession, common, tuple(advertisements.values()), reason)


def decide(world: World, rules: Rules = Rules()) -> Mapping[Span, Decision]:  # noqa: B008 (immutable)
    """The decisions by a world as a whole."""
    decider = Decider(rules)
    decider.apply(world, Change(config=True))
    return decider.decisions
