"""How long to wait before what failed is tried again. Pure, but for the dice."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_S, MOST_S = 0.1, 10.0
"""After an outage, so long at most goes by until what is new is known."""
RETRY_AFTER_AT_MOST_S = 120.0
"""A server may ask for more; it is asked again nevertheless."""


class Backoff:
    """Twice as long after each failure in a row, and never the same for two of us: after an outage all come at once."""

    def __init__(
        self, least_s: float = LEAST_S, most_s: float = MOST_S, dice: Callable[[], float] = random.random
    ) -> None:
        """`dice` gives numbers from 0 to 1."""
        self._least_s, self._most_s, self._dice = least_s, most_s, dice
        self.failures = 0
        """In a row."""

    def well(self) -> None:
        """It went well."""
        self.failures = 0

    def failed(self, retry_after_s: float = 0.0) -> float:
        """It failed; how long to wait. Not less than the server asked for."""
        ceiling_s = min(self._most_s, self._least_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        asked_s = min(max(0.0, retry_after_s), RETRY_AFTER_AT_MOST_S)
        return asked_s + ceiling_s * (0.5 + 0.5 * self._dice())
