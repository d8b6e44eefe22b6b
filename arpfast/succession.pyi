from collections.abc import Iterable
from typing import Self

from arpfast.crossing import Estate, Watch

__all__ = ["HeldEstate", "HeldWatch", "Watches", "alive"]

LARGEST_SPAN: int
INTERVALS_MS: tuple[int, int]
MISSES: tuple[int, int]

def alive() -> tuple[int, int]: ...

class HeldEstate:
    wish: Estate
    def __new__(cls, wish: Estate) -> Self: ...

class HeldWatch:
    wish: Watch
    def __new__(cls, wish: Watch, estate: HeldEstate | None) -> Self: ...

class Watches:
    def __new__(cls, wishes: Iterable[Watch] = (), before: Watches | None = None) -> Self: ...
