"""Which Service has which addresses. Pure: no clock, no I/O; the same Services in the same order give the same result.

What a Service's status says is what it has. `converge` compares that with what may be so and with what the Service asks
for, keeps it or gives up on it, and looks for addresses if the Service is left with none. Nothing that is held changes
without a cause, and causes are these: the Service asks for something else, its pool has gone or no longer admits it, or
it can no longer share with those whom it shares with.

Pools are tried in this order: those with `serviceAllocation` that admit the Service, by priority; if none of these has
what it takes, those without. Among equals it is the order of names or, if that is wished, of use: the emptiest first.
A Service gets all its addresses from one pool.

Of addresses that nobody had yet, only those are given that are known to be nobody's on the wire (`proving.py`).

Who is left without waits (`waiting.py`), and `turns` says whose turn it is once something came free.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import address_of
from controller.inventory import Inventory, rank
from controller.outcome import ONCE, Assignment, Note, Outcome, deprecated_annotations, is_written
from controller.proving import Proving
from controller.request import Request, cluster_ips, families_of, named, read, shown
from controller.waiting import Room, This, Vacancy, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from arpfast.spans import Address, Spans, Version
    from cluster.config import Pool
    from cluster.probes import Said
    from cluster.resources import Key, Service
    from controller.request import Families
    from controller.sharing import Port, Sharing
    from controller.waiting import Wish

    Decision = tuple[Outcome, Iterable[Wish] | None]
    """What is to be so of a Service, and what it waits for; None: for nothing."""


VERSIONS: tuple[Version, ...] = (4, 6)


class Held(msgspec.Struct, frozen=True):
    """What a Service has, and on which terms."""

    assignment: Assignment
    sharing: Sharing | None
    ports: frozenset[Port]


class Refused(Exception):  # noqa: N818
    """Nothing can be given, for this reason, as long as none of these wishes comes true."""

    def __init__(self, reason: str, *wishes: Wish) -> None:
        """Say why."""
        super().__init__(reason)
        self.wishes = wishes


class Unproven(Refused):
    """There is something, and it is not known yet whether another host has it."""


class Allocator:
    """All assignments of a cluster."""

    def __init__(self, *, cool_down_s: float = 0.0, balanced: bool = False, ahead: int = 0) -> None:
        """There is no pool yet. `cool_down_s`: how long an address rests before another Service gets it; `balanced`:
        take from the emptiest of several pools; `ahead`: have so many addresses of each probed before they are given.
        """
        self.proving = Proving(ahead)
        self._cool_down_s = cool_down_s
        self._balanced = balanced
        self.inventory = Inventory({})
        self._held: dict[Key, Held] = {}
        self._waiting = Waiting()
        self._said: dict[Key, tuple[Note, ...]] = {}

    def set_pools(self, pools: Mapping[str, Pool]) -> list[Key]:
        """Replace the pools. Returns the Services that this may be about, in the order in which to `converge` them:
        those that have lost their addresses or whose pool is not what it was, then those that wait.

        Addresses that lie in a pool of another name now are kept.
        """
        before, self.inventory = self.inventory, Inventory(pools, self._cool_down_s)
        affected = []
        was_held, self._held = self._held, {}
        for key, held in was_held.items():
            addresses = held.assignment.addresses
            name = self.inventory.pool_of(addresses)
            if name is not None:
                self._enter(key, msgspec.structs.replace(held, assignment=Assignment(name, addresses)))
            if name is None or before.pools.get(name) != pools[name]:
                affected.append(key)
        for since_s, address in before.resting():
            self.inventory.lay_to_rest(address, since_s)
        self.inventory.quarantine(self.proving.used)
        self.proving.stale = True
        return list(dict.fromkeys((*affected, *self._waiting)))

    def adopt(self, service: Service, now_s: float) -> None:
        """Let a Service have what it has by its status, if it may, and decide nothing else. Of Services that are new
        here, adopt all before the first of them converges: what one has is not given to another then.
        """
        has = _addresses(service)
        if has and service.spec.type == "LoadBalancer":
            request = Request.of(service)
            kept, _ = self._kept(request, has)
            if kept is not None:
                self._assign(request, kept, now_s)

    def converge(self, service: Service, now_s: float) -> Outcome:
        """What is to be so of a Service, at this time."""
        outcome, wishes = self._decide(service, now_s)
        if wishes is None:
            self._waiting.drop(service.key)
        else:
            self._waiting.set(service.key, wishes)
        return self._unsaid(service, outcome)

    def forget(self, key: Key, now_s: float) -> None:
        """A Service is gone."""
        self._release(key, now_s)
        self._waiting.drop(key)
        self.proving.forget(key)
        self._said.pop(key, None)

    def find(self, said: Iterable[Said]) -> None:
        """This is what all speakers have found out about addresses that nobody has."""
        before = self.proving.used
        self.proving.find(said)
        self.inventory.quarantine(self.proving.used)
        for pool, version in product(self.inventory.pools, VERSIONS):
            self._waiting.come(Vacancy(pool, version))
        for version, value in before.keys() - self.proving.used.keys():
            self._waiting.come(This(address_of(version, value)))

    def candidates(self) -> Spans | None:
        """What the speakers are to find out about from now on; None: the same as before."""
        is_new = self.proving.stale and self.proving.ask(self.inventory.ahead(self.proving.share))
        return self.proving.asked if is_new else None

    def turns(self) -> Iterator[Key]:
        """Services that may get now what they have waited for. `converge` each before asking for the next."""
        return self._waiting.turns(self._is_spent)

    def assignment(self, key: Key) -> Assignment | None:
        """What a Service has."""
        held = self._held.get(key)
        return None if held is None else held.assignment

    def services(self) -> Counter[str]:
        """How many Services have an address, by pool."""
        return Counter(held.assignment.pool for held in self._held.values())

    @property
    def waiting(self) -> int:
        """How many Services wait for an address, or for the second one that they would like."""
        return len(self._waiting)

    # -- one Service -------------------------------------------------------------------------------------------------

    def _decide(self, service: Service, now_s: float) -> Decision:
        key, inside = service.key, cluster_ips(service)
        if service.spec.type != "LoadBalancer":
            self._release(key, now_s)
            return Outcome(None), None
        if not self.inventory.pools:
            self._release(key, now_s)
            reason = "there is no IPAddressPool"
            return Outcome(None, (Note("Warning", "AllocationFailed", f"no address for {key}: {reason}"),), reason), ()
        if not inside:
            self._release(key, now_s)
            return Outcome(None, (), "the Service has no cluster IP"), None
        request = Request.of(service)
        wrong = None
        if service.spec.ip_family_policy == "RequireDualStack" and len(inside) < 2:
            reason = "expected two cluster IPs, as ipFamilyPolicy is RequireDualStack, not one"
            wrong = Note("Warning", "not enough clusterips", reason)
        elif not request.families:
            reason = f"expected cluster IPs of different families, not {' and '.join(inside)}"
            wrong = Note("Warning", "noclusterIPsIPFamily", reason)
        if wrong is not None:
            self._release(key, now_s)
            return Outcome(None, (wrong,), wrong.message), None
        kept, notes = self._keep(service, request, now_s)
        if kept is None:
            return self._give(request, notes, now_s)
        will_do = request.prefers_dual_stack or not _families_missing(request, kept)
        if request.fault and will_do:
            notes.append(Note("Warning", "LoadBalancerFailed", f"{request.fault}; {kept} is kept"))
            return Outcome(kept, tuple(notes), request.fault), None
        if request.fault or (request.addresses and set(request.addresses) != set(kept.addresses)):
            self._release(key, now_s)
            return self._give(request, notes, now_s)
        return self._complete(request, kept, notes, now_s)

    def _keep(self, service: Service, request: Request, now_s: float) -> tuple[Assignment | None, list[Note]]:
        """What the Service has and may go on having; what it may not is released."""
        has = _addresses(service)
        held = self._held.get(request.key)
        if not has and held is not None:  # given already, and about to be written
            has = held.assignment.addresses
        kept, note = self._kept(request, has) if has else (None, None)
        if kept is None:
            self._release(request.key, now_s)
        else:
            self._assign(request, kept, now_s)
        return kept, [note] if note else []

    def _kept(self, request: Request, has: tuple[Address, ...]) -> tuple[Assignment | None, Note | None]:
        """What a Service may go on having of what it has, and what is to be said if it may not."""
        if not families_of(has):
            reason = f"expected ingress addresses of different families, not {_listed(has)}"
            return None, Note("Warning", "nolbIPsIPFamily", reason)
        has = tuple(address for address in has if address.version in request.families)
        if not has:
            return None, None
        pool = self.inventory.pool_of(has)
        refusal = self.inventory.refusal(request, pool, has)
        if refusal is not None:
            return None, Note("Normal", "ClearAssignment", f"{_listed(has)} cannot be kept: {refusal}")
        return (Assignment(pool, has), None) if pool is not None and request.pool in ("", pool) else (None, None)

    def _give(self, request: Request, notes: list[Note], now_s: float) -> Decision:
        """Look for addresses for a Service that has none."""
        try:
            assignment = self._explicit(request) if request.addresses or request.fault else self._pick(request, now_s)
        except Unproven as unproven:
            self.proving.wait(request.key, now_s)
            return Outcome(None, tuple(notes), str(unproven)), unproven.wishes
        except Refused as refused:
            reason = str(refused)
            notes.append(Note("Warning", "AllocationFailed", f"no address for {request.key}: {reason}"))
            return Outcome(None, tuple(notes), reason), refused.wishes
        self._assign(request, assignment, now_s)
        notes.append(Note("Normal", "IPAllocated", f"{assignment} assigned"))
        return Outcome(assignment, tuple(notes)), self._missing(request, assignment)

    def _explicit(self, request: Request) -> Assignment:
        """The addresses that it asks for."""
        if request.fault:
            raise Refused(request.fault)
        pool = self.inventory.pool_of(request.addresses)
        if pool is not None and request.pool not in ("", pool):
            reason = (
                f"expected an address of pool {shown(request.pool)}, as is asked for, not {_listed(request.addresses)}"
            )
            raise Refused(f"{reason} of pool {pool}")
        refusal = self.inventory.refusal(request, pool, request.addresses)
        for address in request.addresses:
            if mac := self.proving.used.get((address.version, int(address))):
                refusal = refusal or f"{address}: another host has it, {mac}"
        if pool is None or refusal is not None:
            raise Refused(refusal or "", *map(This, request.addresses))
        return Assignment(pool, request.addresses)

    def _pick(self, request: Request, now_s: float) -> Assignment:
        """The addresses that come next for it."""
        stages = self._stages(request)
        proof = None if self.proving.is_out_of_patience(request.key, now_s) else self.proving.proof()
        assignment, wishes = self._search(request, stages, now_s, proof)
        if assignment is not None:
            return assignment
        if proof is not None and self._search(request, stages, now_s, None)[0] is not None:
            raise Unproven("what comes next is being probed", *wishes)
        if not any(stages):
            raise Refused("no pool that assigns automatically admits it")
        named_pool = f"pool {request.pool} has" if request.pool else "no pool that admits it has"
        raise Refused(f"{named_pool} {'no ' if request.pool else ''}{named(request.families)} left", *wishes)

    def _search(
        self, request: Request, stages: list[list[Pool]], now_s: float, proof: Spans | None
    ) -> tuple[Assignment | None, list[Wish]]:
        """What comes next of pools; if nothing does, what has to come free."""
        wishes: list[Wish] = []
        for pools in stages:
            for families in request.choices:
                for pool in pools:
                    found = self.inventory.next(pool.name, families, request, now_s, proof)
                    addresses = tuple(address for address in found.values() if address is not None)
                    if len(addresses) == len(families):
                        return Assignment(pool.name, addresses), []
                    for version in families:
                        if found[version] is None:
                            wishes += _wishes(pool.name, version, request)
        return None, wishes

    def _stages(self, request: Request) -> list[list[Pool]]:
        """The pools to be tried, in groups: a later one only if no pool of those before has what it takes."""
        pools = self.inventory.pools
        if request.pool:
            if request.pool not in pools:
                raise Refused(f"there is no pool {shown(request.pool)}")
            if not pools[request.pool].admits(request.key.namespace, request.labels):
                raise Refused(f"pool {request.pool} does not admit it, by its serviceAllocation")
            return [[pools[request.pool]]]
        namespace, labels = request.key.namespace, request.labels
        admitting = [pool for pool in pools.values() if pool.auto_assign and pool.admits(namespace, labels)]
        if self._balanced:
            admitting.sort(key=lambda pool: (*rank(pool)[:-1], self.inventory.used(pool.name, request.families)))
        return [[pool for pool in admitting if pool.pinned is pinned] for pinned in (True, False)]

    def _complete(self, request: Request, kept: Assignment, notes: list[Note], now_s: float) -> Decision:
        """Add the address that a Service lacks, of the same pool; without one, look elsewhere or make do."""
        wishes = self._missing(request, kept)
        if wishes is None:
            return Outcome(kept, tuple(notes)), None
        families = _families_missing(request, kept)
        found = self.inventory.next(kept.pool, families, request, now_s)
        added = [address for address in found.values() if address is not None]
        if not added and not request.prefers_dual_stack:
            self._release(request.key, now_s)
            return self._give(request, notes, now_s)
        if not added:
            reason = f"pool {kept.pool} has no {named(families)} left to add to {_listed(kept.addresses)}"
            notes.append(Note("Normal", "AdditionalAssignFailed", reason))
            return Outcome(kept, tuple(notes)), wishes
        both = sorted((*kept.addresses, *added), key=lambda address: address.version)
        assignment = Assignment(kept.pool, tuple(both))
        self._assign(request, assignment, now_s)
        notes.append(Note("Normal", "IPAllocated", f"{assignment} assigned"))
        return Outcome(assignment, tuple(notes)), None

    def _missing(self, request: Request, has: Assignment) -> list[Wish] | None:
        """What a Service waits for that makes do with one address; None if it has all that it wants."""
        families = _families_missing(request, has)
        return [wish for version in families for wish in _wishes(has.pool, version, request)] if families else None

    def _unsaid(self, service: Service, outcome: Outcome) -> Outcome:
        """The same, without what was said last time and still is so."""
        notes = [note for note in outcome.notes if note.reason in ONCE or note not in self._said.get(service.key, ())]
        standing = tuple(note for note in outcome.notes if note.reason not in ONCE)
        if standing:
            self._said[service.key] = standing
        else:
            self._said.pop(service.key, None)
        old = deprecated_annotations(service)
        if old and not is_written(service, outcome.assignment):
            reason = f"expected prefix metallb.io/, not the deprecated one of {', '.join(old)}"
            notes.append(Note("Warning", "deprecatedAnnotation", reason))
        return Outcome(outcome.assignment, tuple(notes), outcome.error)

    # -- what is held ------------------------------------------------------------------------------------------------

    def _assign(self, request: Request, assignment: Assignment, now_s: float) -> None:
        held = Held(assignment, request.sharing, request.ports)
        if self._held.get(request.key) != held:
            self._release(request.key, now_s)
            self._enter(request.key, held)

    def _enter(self, key: Key, held: Held) -> None:
        self._held[key] = held
        self.proving.given(key)
        pool = held.assignment.pool
        for address in held.assignment.addresses:
            self.inventory.enter(pool, address, key, held.sharing, held.ports)
            if held.sharing is not None:
                self._waiting.come(Room(pool, address.version, held.sharing))

    def _release(self, key: Key, now_s: float) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        pool = held.assignment.pool
        self.proving.had(held.assignment.addresses)
        for address in held.assignment.addresses:
            sharing, version = self.inventory.leave(pool, address, key, now_s), address.version
            self._waiting.come(Vacancy(pool, version) if sharing is None else Room(pool, version, sharing))
            self._waiting.come(This(address))

    def _is_spent(self, wish: Wish) -> bool:
        """Whether nobody needs to be tried for this."""
        return isinstance(wish, Vacancy) and self.inventory.is_spent(wish.pool, wish.version, self.proving.proof())


def _families_missing(request: Request, has: Assignment) -> Families:
    return tuple(version for version in request.families if all(one.version != version for one in has.addresses))


def _wishes(pool: str, version: Version, request: Request) -> list[Wish]:
    """What has to come free in a pool for a Service that it has no address of this family for."""
    vacancy = Vacancy(pool, version)
    return [vacancy] if request.sharing is None else [vacancy, Room(pool, version, request.sharing)]


def _addresses(service: Service) -> tuple[Address, ...]:
    """What a Service has by its status."""
    return read(tuple(one.ip for one in service.status.load_balancer.ingress))


def _listed(addresses: Iterable[Address]) -> str:
    return " and ".join(map(str, addresses))
