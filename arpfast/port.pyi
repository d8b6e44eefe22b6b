from typing import Self

__all__ = ["Port", "alive"]

VERSIONS: tuple[int, int]

def alive() -> int: ...

class Port:
    def __new__(cls, ifindex: int, name: str) -> Self: ...
