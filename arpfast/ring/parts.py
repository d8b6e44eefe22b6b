"""How long the parts of a take-over took, as histograms: where an outage was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BEGINS = {"member suspect": "suspected", "silent on the wire": "silent"}
"""The events that begin a part, and what it is called."""
ENDS = ("silent on the wire", "inherited", "took over")


class Parts:
    """From suspicion to silence, from silence to the take-over; of every member that was succeeded."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self._begun: dict[str, tuple[str, float]] = {}
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def note(self, event: str, member: str, now: float) -> None:
        """An event of the ring about a member."""
        if event in ENDS and member in self._begun:
            part, since_s = self._begun.pop(member)
            counts = self._counts.setdefault(part, [0] * (len(BUCKETS_S) + 1))
            counts[sum(now - since_s > most_s for most_s in BUCKETS_S)] += 1
            self._sums[part] = self._sums.get(part, 0.0) + now - since_s
        if event in BEGINS:
            self._begun[member] = BEGINS[event], now
        elif event == "member alive":
            self._begun.pop(member, None)

    def histograms(self) -> Iterator[tuple[str, list[tuple[str, float]], float]]:
        """Each part with its buckets, as Prometheus has them (cumulative, by upper bound), and its sum in seconds."""
        for part, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            yield part, buckets, self._sums[part]
