"""All pools of a cluster with what of them is in use, found by address, by pool and by family."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from arpfast.spans import address_of
from controller.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from arpfast.spans import Address, Spans, Version
    from cluster.config import Pool
    from cluster.resources import Key
    from controller.request import Families, Request
    from controller.sharing import Port, Sharing

_LAST = "\U0010ffff"
"""Behind any name."""


class Inventory:
    """These pools, for good: other pools make another inventory."""

    def __init__(self, pools: Mapping[str, Pool], cool_down_s: float = 0.0) -> None:
        """Nothing is in use yet."""
        self.pools = {pool.name: pool for pool in sorted(pools.values(), key=rank)}
        """In the order in which they are tried."""
        self._spans = sorted((span.version, span.first, pool.name) for pool in pools.values() for span in pool.spans)
        self._stocks = {
            (pool.name, version): Stock(pool, version, cool_down_s)
            for pool in pools.values()
            for version in sorted({span.version for span in pool.spans})
        }

    def counts(self, pool: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many addresses of a pool are in use, and how many are not: of IPv4, then of IPv6."""
        four, six = self._stocks.get((pool, 4)), self._stocks.get((pool, 6))
        return four.counts() if four else (0, 0), six.counts() if six else (0, 0)

    def pool_of(self, addresses: Iterable[Address]) -> str | None:
        """The one pool that may give all of these addresses, by name."""
        names = {self._pool_of(address) for address in addresses}
        return names.pop() if len(names) == 1 else None

    def refusal(self, request: Request, name: str | None, addresses: tuple[Address, ...]) -> str | None:
        """Why a Service cannot have these addresses, which are of that pool; None if it can."""
        if name is None:
            return f"there is no pool that may give {' and '.join(map(str, addresses))}"
        if not self.pools[name].admits(request.key.namespace, request.labels):
            return f"pool {name} does not admit it, by its serviceAllocation"
        for address in addresses:
            refusal = self._stocks[name, address.version].refusal(int(address), request)
            if refusal is not None:
                return f"{address}: {refusal}"
        return None

    def next(
        self, pool: str, families: Families, request: Request, now_s: float, proof: Spans | None = None
    ) -> dict[Version, Address | None]:
        """The address of each family that a pool would give next; of what nobody has, only what `proof` has."""
        found: dict[Version, Address | None] = {}
        for version in families:
            stock = self._stocks.get((pool, version))
            value = None if stock is None else stock.next(request, now_s, proof)
            found[version] = None if value is None else address_of(version, value)
        return found

    def enter(self, pool: str, address: Address, key: Key, sharing: Sharing | None, ports: frozenset[Port]) -> None:
        """`key` has this address of this pool from now on."""
        self._stocks[pool, address.version].enter(int(address), key, sharing, ports)

    def leave(self, pool: str, address: Address, key: Key, now_s: float) -> Sharing | None:
        """`key` has it no longer. Returns whom the address has more room for: None, if everybody."""
        return self._stocks[pool, address.version].leave(int(address), key, now_s)

    def is_spent(self, pool: str, version: Version, proof: Spans | None = None) -> bool:
        """Whether a pool has nothing left of a family that is not in use, or of what is proven."""
        stock = self._stocks.get((pool, version))
        return stock is None or stock.is_spent or stock.is_dry(proof)

    def ahead(self, share: Callable[[int], int]) -> dict[tuple[str, Version], Spans]:
        """What each pool would give next of each family; `share` says how many, of as many pools and families."""
        most = share(len(self._stocks))
        return {which: stock.ahead(most) for which, stock in self._stocks.items()}

    def quarantine(self, used: Iterable[tuple[Version, int]]) -> None:
        """Other hosts have these addresses, and no others."""
        values: dict[Version, set[int]] = {4: set(), 6: set()}
        for version, value in used:
            values[version].add(value)
        for (_, version), stock in self._stocks.items():
            stock.quarantine(values[version])

    def quarantined(self, pool: str) -> int:
        """How many addresses of a pool are left out, since other hosts have them."""
        return sum(stock.quarantined for (name, _), stock in self._stocks.items() if name == pool)

    def used(self, pool: str, families: Families) -> float:
        """How much of a pool is in use, from 0 to 1, of that family of which more is."""
        stocks = [self._stocks.get((pool, version)) for version in families]
        return max((stock.in_use / stock.size for stock in stocks if stock is not None and stock.size), default=1.0)

    def resting(self) -> Iterator[tuple[float, Address]]:
        """Addresses that rest, and since when, the longest rested first."""
        resting = [
            (since_s, address_of(version, value))
            for (_, version), stock in self._stocks.items()
            for value, since_s in stock.resting()
        ]
        return iter(sorted(resting, key=lambda one: one[0]))

    def lay_to_rest(self, address: Address, since_s: float) -> None:
        """This address, which nobody has, was given back then, later than all that rest already."""
        name = self._pool_of(address)
        if name is not None:
            self._stocks[name, address.version].lay_to_rest(int(address), since_s)

    def _pool_of(self, address: Address) -> str | None:
        at = bisect_right(self._spans, (address.version, int(address), _LAST)) - 1
        if at < 0 or self._spans[at][0] != address.version:
            return None
        name = self._spans[at][2]
        return name if self._stocks[name, address.version].has(int(address)) else None


def rank(pool: Pool) -> tuple[bool, bool, int, str]:
    """Pools are tried in this order."""
    return not pool.pinned, pool.priority == 0, pool.priority, pool.name
