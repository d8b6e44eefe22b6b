"""Waiting: what is returned, and what is told when it was in vain."""

import pytest

from lab.waiting import DeadlineError, wait_until


def test_returns_the_answer() -> None:
    answers = iter([0, "", None, "yes"])
    assert wait_until(lambda: next(answers)) == "yes"


def test_tells_what_was_expected() -> None:
    with pytest.raises(DeadlineError, match=r"expected a miracle within 0.01 s; the last answer was \[\]"):
        wait_until(list, 0.01, what="a miracle")
