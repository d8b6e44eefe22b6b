"""The bounds of `bounds.toml`, and what keeping them means: pure, so that it is tested without measuring anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.ledger import interval, reduce

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = Path(__file__).with_name("bounds.toml")


class Ratio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of two things, and where it is out of bounds."""

    measure: str
    of: str
    over: str
    why: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """There is one bound, in one direction."""
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.measure}, {self.of} / {self.over}: expected one of at_least and at_most")

    @property
    def bound(self) -> str:
        """As the table has it."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


class Verdict(msgspec.Struct, frozen=True):
    """What a ratio came to over the rounds."""

    ratio: Ratio
    median: float
    low: float
    high: float

    @property
    def kept(self) -> bool:
        """Whether some of the interval is within the bound: noise does not break it, a regression does."""
        if self.ratio.at_least is not None:
            return self.high >= self.ratio.at_least
        assert self.ratio.at_most is not None
        return self.low <= self.ratio.at_most


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ratio: list[Ratio]


def read(path: Path = PATH) -> list[Ratio]:
    """All of them. Raises msgspec.ValidationError, saying which field is wrong."""
    return msgspec.toml.decode(path.read_bytes(), type=_File).ratio


def judge(ratio: Ratio, values: Mapping[tuple[str, str], Sequence[float]]) -> Verdict | None:
    """The verdict by what was measured of whom, one value a round; None where one of them was not, or was nothing."""
    of, over = (values.get((ratio.measure, who), ()) for who in (ratio.of, ratio.over))
    ratios = [one / other for one, other in zip(of, over, strict=True) if other] if of and over else []
    if not ratios:
        return None
    low, high, _ = interval(ratios)
    return Verdict(ratio, reduce(ratios, "median"), low, high)
