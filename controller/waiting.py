"""Services that wait for something that others have: who is tried again when it comes free.

What is waited for is a `Wish`. A release names the wishes that it may fulfil; only who waits for one of these is tried
again, first come, first served, and only until there is nothing left of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arpfast.spans import Address, Version
    from cluster.resources import Key
    from controller.sharing import Sharing


class Vacancy(NamedTuple):
    """An address that nobody has, of a pool and a family."""

    pool: str
    version: Version


class Room(NamedTuple):
    """Room for more of those who share, on some address of a pool and a family."""

    pool: str
    version: Version
    sharing: Sharing


class This(NamedTuple):
    """An address that others have."""

    address: Address


Wish = Vacancy | Room | This


class Waiting:
    """Who waits, and for what."""

    def __init__(self) -> None:
        """Nobody."""
        self._wishes: dict[Key, tuple[Wish, ...]] = {}
        self._by_wish: dict[Wish, dict[Key, None]] = {}
        self._come: dict[Wish, None] = {}

    def __len__(self) -> int:
        return len(self._wishes)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._wishes)

    def set(self, key: Key, wishes: Iterable[Wish]) -> None:
        """Wait for these, in place of any before; for none of them, it is still known to wait."""
        wishes = tuple(dict.fromkeys(wishes))
        if self._wishes.get(key) == wishes:
            return
        self.drop(key)
        self._wishes[key] = wishes
        for wish in wishes:
            self._by_wish.setdefault(wish, {})[key] = None

    def drop(self, key: Key) -> None:
        """Wait no longer."""
        for wish in self._wishes.pop(key, ()):
            waiters = self._by_wish[wish]
            del waiters[key]
            if not waiters:
                del self._by_wish[wish]

    def come(self, wish: Wish) -> None:
        """It may be fulfilled now."""
        if wish in self._by_wish:
            self._come[wish] = None

    def turns(self, is_spent: Callable[[Wish], bool]) -> Iterator[Key]:
        """Those whose turn it is, one by one: deal with each before the next is asked for."""
        while self._come:
            wish = next(iter(self._come))
            del self._come[wish]
            for key in tuple(self._by_wish.get(wish, ())):
                if is_spent(wish):
                    break
                if wish in self._wishes.get(key, ()):
                    yield key
