"""What it costs to decide who owns each of 10 000 addresses among 100 hosts, by pytest-benchmark; the goal is 50 ms.

Each time the whole of it: from what the hosts hold to what they own, as spans that a table can be made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from arpfast.election import Candidate, Method, elect
from arpfast.spans import Span
from arpfast.units import Units

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ADDRESSES = Span.parse("10.0.0.0-10.0.39.15")
HOSTS = [Candidate(f"host-{index}") for index in range(100)]


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("held_by", [0, 1, 99, 100])
def test_electing(benchmark: BenchmarkFixture, method: Method, held_by: int) -> None:
    units = Units([ADDRESSES])
    held = elect(method, units, HOSTS[:held_by], {}).owners
    owners = benchmark(lambda: elect(method, units, HOSTS, held).owners)
    assert sum(spans.size for spans in owners.values()) == ADDRESSES.size


@pytest.mark.parametrize("method", Method)
def test_preparing_for_a_loss(benchmark: BenchmarkFixture, method: Method) -> None:
    ballot = elect(method, Units([ADDRESSES]), HOSTS, {})
    assert benchmark(ballot.succession, "host-7").heirs
