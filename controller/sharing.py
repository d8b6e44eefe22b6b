"""Who may share an address with whom, and the lowest address that has room for one more.

An address is shared by Services that agree on a sharing key and on who serves them, and that have no port in common.
`Tenancy` is what is known of one address in use. `Shared` finds the lowest address of those that agree where given
ports are unused, without trying each: the addresses where a port is used are some of all, both lists are in order, so
the place where they part is found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.resources import Key

Port = tuple[str, int]
"""Protocol and port."""


class Sharing(NamedTuple):
    """What Services have to agree on to share an address."""

    key: str
    """Of the annotation; never empty."""
    backend: str
    """Empty where any node may pass traffic on to any endpoint; else the selector, as text."""


class Tenancy:
    """One address in use."""

    __slots__ = ("ports", "sharing", "tenants")

    def __init__(self, sharing: Sharing | None) -> None:
        """Nobody has it yet; who comes has to agree with `sharing`, None being agreed with by nobody."""
        self.sharing = sharing
        self.tenants: dict[Key, frozenset[Port]] = {}
        self.ports: dict[Port, Key] = {}

    def refusal(self, who: Key, sharing: Sharing | None, ports: Iterable[Port]) -> str | None:
        """Why `who` may not have this address (too); None if it may."""
        one = next((tenant for tenant in self.tenants if tenant != who), None)
        if one is None:
            return None
        if self.sharing is None:
            return f"it is in use by {one}, which does not share it"
        if sharing is None:
            return f"it is in use by {one}; expected annotation metallb.io/allow-shared-ip, as that one has it"
        if sharing.key != self.sharing.key:
            return f"it is in use by {one}, which has another sharing key"
        if sharing.backend != self.sharing.backend:
            return f"it is in use by {one}, whose externalTrafficPolicy or selector differs"
        for port in ports:
            user = self.ports.get(port)
            if user not in (None, who):
                return f"port {port[1]}/{port[0]} is in use by {user}"
        return None


class Shared:
    """The addresses, by number, of which all users agree on one `Sharing`, and where which port is used."""

    def __init__(self) -> None:
        """There is none yet."""
        self._numbers: list[int] = []
        self._using: dict[Port, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def add(self, number: int) -> None:
        """An address more."""
        insort(self._numbers, number)

    def remove(self, number: int) -> None:
        """No longer this one, of which no port is used any more."""
        _remove(self._numbers, number)

    def use(self, number: int, ports: Iterable[Port]) -> None:
        """These ports of an address are used from now on."""
        for port in ports:
            insort(self._using.setdefault(port, []), number)

    def disuse(self, number: int, ports: Iterable[Port]) -> None:
        """And these are no longer."""
        for port in ports:
            using = self._using[port]
            _remove(using, number)
            if not using:
                del self._using[port]

    def lowest(self, ports: Iterable[Port]) -> int | None:
        """The lowest address where none of these ports is used."""
        busy = [self._using[port] for port in ports if port in self._using]
        at = 0
        while at < len(self._numbers):
            beyond = max((self._end_of_run(using, at) for using in busy), default=at)
            if beyond == at:
                return self._numbers[at]
            at = beyond
        return None

    def _end_of_run(self, using: list[int], at: int) -> int:
        """The first place from `at` on whose address is not in `using`."""
        start = bisect_left(using, self._numbers[at])
        most = min(len(using) - start, len(self._numbers) - at)
        return at + bisect_left(range(most), 1, key=lambda step: using[start + step] != self._numbers[at + step])


def _remove(numbers: list[int], number: int) -> None:
    del numbers[bisect_left(numbers, number)]
