from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Self

from arpfast.spans import Span, Spans

UNITS_AT_MOST: int

class Fitness(IntEnum):
    ABLE = 0
    STANDBY = 1
    HOLDING = 2
    DRAINED = 3
    UNHEALTHY = 4
    DRAINED_AND_UNHEALTHY = 5
    REFUSED = 6

class Roll:
    def __new__(cls, runs: tuple[Span, ...], wholes: dict[int, Span]) -> Self: ...
    def __len__(self) -> int: ...
    def ranges(self, spans: Spans) -> list[tuple[int, int]]: ...
    def gather(self, labels: bytes, count: int) -> list[tuple[list[Span], list[int]]]: ...

class Poll:
    def __new__(
        cls,
        roll: Roll,
        names: Sequence[str],
        weights: Sequence[int],
        grades: Sequence[int],
        fitnesses: Sequence[bytes],
        segments: Sequence[tuple[int, int]],
    ) -> Self: ...
    def holders(self, claims: Iterable[tuple[int, Spans]]) -> bytes: ...
    def balanced(self, holders: bytes, gone: bytes) -> bytes: ...
    def first(self, columns: Sequence[bytes], holders: bytes, gone: bytes) -> bytes: ...
    def fitness(self, unit: int, candidate: int) -> Fitness: ...
    def fitness_of(self, owners: bytes) -> bytes: ...
