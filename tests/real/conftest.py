"""What tests on a real kernel share: a lab of their own, or the one line that says why there can be none."""

from collections.abc import Iterator

import pytest

from lab import Lab, obstacle


@pytest.fixture(scope="session")
def _lab_is_possible() -> None:
    if reason := obstacle():
        pytest.skip(reason)


@pytest.fixture
def lab(_lab_is_possible: None) -> Iterator[Lab]:
    """An empty lab that vanishes after the test."""
    with Lab() as lab:
        yield lab
