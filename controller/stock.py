"""One pool's addresses of one family: who has them, and which comes next.

The next is the lowest, in the order of the pool's spans, that is free or that its users share with who asks. An address
that was given back rests for a while, if there is a cool-down: what clients and caches still believe of it should not
meet another Service. But an address that rests is better than none: when there is no other, the one is given that has
rested longest.

An address that another host is found to have is in quarantine: it is not given, until that is over.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from arpfast.spans import Span, Spans
from controller.free import Free, Numbering
from controller.sharing import Shared, Tenancy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from arpfast.spans import Version
    from cluster.config import Pool
    from cluster.resources import Key
    from controller.request import Request
    from controller.sharing import Port, Sharing

LOOKED_AT = 256
"""So many free addresses are looked at for one that is proven: the lowest are asked about first."""
COUNTED_MAX = (1 << 63) - 1
"""What a counter in a status can hold; larger pools count as having so many."""


class Stock:
    """Nothing of it is in use at first."""

    def __init__(self, pool: Pool, version: Version, cool_down_s: float = 0.0) -> None:
        """The addresses of `pool` that are of one family."""
        spans = [span for span in pool.spans if span.version == version]
        self._numbering = Numbering(spans, avoid_buggy=pool.avoid_buggy_ips)
        self._free = Free(self._numbering.size)
        self._tenancies: dict[int, Tenancy] = {}
        self._shared: dict[Sharing, Shared] = {}
        self._resting: dict[int, float] = {}
        """Since when, the longest rested first."""
        self._quarantined: set[int] = set()
        self._dry: Spans | None = None
        """Nothing of this proof is left. Whatever is given back makes another proof."""
        self._cool_down_s = cool_down_s
        self._version = version

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return self._numbering.size

    @property
    def in_use(self) -> int:
        """How many of them somebody has."""
        return len(self._tenancies)

    def counts(self) -> tuple[int, int]:
        """How many are in use, and how many are left, as a status tells them."""
        return self.in_use, min(self.size, COUNTED_MAX) - self.in_use

    def has(self, value: int) -> bool:
        """Whether it is one of them, in use or not."""
        return self._numbering.number(value) is not None

    def refusal(self, value: int, request: Request) -> str | None:
        """Why this address, which is one of them, cannot be had; None if it can."""
        tenancy = self._tenancies.get(self._number(value))
        return None if tenancy is None else tenancy.refusal(request.key, request.sharing, request.ports)

    def next(self, request: Request, now_s: float, proof: Spans | None = None) -> int | None:
        """The address that comes next, if there is any; `proof` has all that nobody has yet who may be given."""
        self._rise(now_s)
        numbers = [self._free.lowest() if proof is None else self._proven(proof)]
        if request.sharing is not None and (shared := self._shared.get(request.sharing)) is not None:
            numbers.append(shared.lowest(request.ports))
        number = min((number for number in numbers if number is not None), default=None)
        if number is None:
            number = next(iter(self._resting), None)
        return None if number is None else self._numbering.value(number)

    def _proven(self, proof: Spans) -> int | None:
        """The lowest free one that is proven, if it is not far off."""
        if proof is self._dry:
            return None
        for number in islice(self._free.ahead(), LOOKED_AT):
            if proof.find(self._version, self._numbering.value(number)):
                return number
        self._dry = proof
        return None

    def is_dry(self, proof: Spans | None) -> bool:
        """Whether it is known that nothing is left of what is proven."""
        return proof is not None and proof is self._dry

    def ahead(self, most: int) -> Spans:
        """The addresses that nobody has and that come next, at most so many."""
        values = map(self._numbering.value, islice(self._free.ahead(), most))
        return Spans(Span(self._version, value, value) for value in values)

    def quarantine(self, used: AbstractSet[int]) -> None:
        """Other hosts have these addresses, and no others, as far as nobody has been given them."""
        numbers = {number for value in used if (number := self._numbering.number(value)) is not None}
        freed = self._quarantined - numbers
        for number in freed:
            self._free.give_back(number)
        self._quarantined -= freed
        for number in numbers - self._quarantined - self._tenancies.keys() - self._resting.keys():
            self._free.take(number)
            self._quarantined.add(number)

    @property
    def quarantined(self) -> int:
        """How many addresses are left out, since other hosts have them."""
        return len(self._quarantined)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left that is not in use."""
        return self.in_use + self.quarantined >= self.size

    def enter(self, value: int, key: Key, sharing: Sharing | None, ports: frozenset[Port]) -> None:
        """`key`, which is not there, has this address from now on; nothing is asked."""
        number = self._number(value)
        tenancy = self._tenancies.get(number)
        if tenancy is None:
            if number in self._quarantined:
                self._quarantined.remove(number)
            elif self._resting.pop(number, None) is None:
                self._free.take(number)
            tenancy = self._tenancies[number] = Tenancy(sharing)
            if sharing is not None:
                self._shared.setdefault(sharing, Shared()).add(number)
        tenancy.tenants[key] = ports
        fresh = [port for port in ports if port not in tenancy.ports]
        tenancy.ports.update(dict.fromkeys(fresh, key))
        if tenancy.sharing is not None:
            self._shared[tenancy.sharing].use(number, fresh)

    def leave(self, value: int, key: Key, now_s: float) -> Sharing | None:
        """`key` has it no longer. Returns whom the address has more room for: None, if everybody."""
        number = self._number(value)
        tenancy = self._tenancies[number]
        given_up = [port for port in tenancy.tenants.pop(key) if tenancy.ports.get(port) == key]
        for port in given_up:
            del tenancy.ports[port]
        shared = None if tenancy.sharing is None else self._shared[tenancy.sharing]
        if shared is not None:
            shared.disuse(number, given_up)
        if tenancy.tenants:
            return tenancy.sharing
        del self._tenancies[number]
        if shared is not None and tenancy.sharing is not None:
            shared.remove(number)
            if not shared:
                del self._shared[tenancy.sharing]
        if self._cool_down_s > 0:
            self._resting[number] = now_s
        else:
            self._free.give_back(number)
        return None

    def resting(self) -> Iterator[tuple[int, float]]:
        """Addresses that rest, and since when."""
        return ((self._numbering.value(number), since_s) for number, since_s in self._resting.items())

    def lay_to_rest(self, value: int, since_s: float) -> None:
        """This address, which nobody has, was given back then, later than all that rest already."""
        number = self._number(value)
        self._free.take(number)
        self._resting[number] = since_s

    def _rise(self, now_s: float) -> None:
        """Free what has rested for long enough."""
        while self._resting:
            number, since_s = next(iter(self._resting.items()))
            if now_s - since_s < self._cool_down_s:
                return
            del self._resting[number]
            self._free.give_back(number)

    def _number(self, value: int) -> int:
        number = self._numbering.number(value)
        if number is None:
            raise KeyError(value)
        return number
