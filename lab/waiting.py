"""Waiting for a condition, with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DEADLINE_S = 20.0
"""For what surely comes, unless said otherwise: it costs nothing while all is well, and a machine may be busy."""


class DeadlineError(AssertionError):
    """What was waited for did not happen in time. An assertion: in a test that is a failure, not an error."""


def wait_until(
    condition: Callable[[], T], deadline_s: float = DEADLINE_S, *, what: str = "the condition", every_ms: int = 2
) -> T:
    """Ask `condition` every few milliseconds until what it returns is true, and return that.

    It is asked at least once, and once more after the deadline. Raises DeadlineError, with `what` and the last answer.
    """
    end_s = time.monotonic() + deadline_s
    nothing = select.poll()
    while True:
        late = time.monotonic() >= end_s
        if answer := condition():
            return answer
        if late:
            raise DeadlineError(f"expected {what} within {deadline_s:g} s; the last answer was {answer!r}")
        nothing.poll(every_ms)


def wait_readable(file: int, deadline_s: float) -> bool:
    """Whether the file descriptor becomes readable before the deadline; returns as soon as it does."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(max(0, round(deadline_s * 1000))))
