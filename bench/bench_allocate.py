"""What it costs to give a Service its address, by pytest-benchmark, in pools of any size and however many there are.

Each time a batch of new Services at the end of those that are there; the goal is 50 µs a Service, flat in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from arpfast.spans import Span
from cluster.config import Pool
from cluster.resources import Metadata, Service, ServicePort, ServiceSpec
from controller.allocator import Allocator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

BATCH = 1000
KEY = {"metallb.io/allow-shared-ip": "key"}


def services(first: int, count: int, annotations: dict[str, str] | None = None) -> list[Service]:
    spec = ServiceSpec(type="LoadBalancer", cluster_ips=("10.96.0.1",), ports=(ServicePort(80),))
    return [
        Service(Metadata(name=f"s{number}", namespace="shop", annotations=annotations or {}), spec)
        for number in range(first, first + count)
    ]


def allocator(text: str, there: list[Service], **settings: bool) -> Allocator:
    made = Allocator(**settings)
    made.set_pools({"pool": Pool(name="pool", spans=(Span.parse(text),), avoid_buggy_ips=True)})
    for one in there:
        made.converge(one, 0.0)
    return made


def give(made: Allocator, new: list[Service]) -> None:
    for one in new:
        made.converge(one, 0.0)


def measure(benchmark: BenchmarkFixture, made: Callable[[], Allocator], new: list[Service]) -> None:
    benchmark.pedantic(give, setup=lambda: ((made(), new), {}), rounds=3)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("there", [0, 10_000, 100_000])
@pytest.mark.parametrize("text", ["10.0.0.0/14", "0.0.0.0/0"])
def test_giving(benchmark: BenchmarkFixture, text: str, there: int) -> None:
    old, new = services(0, there), services(there, BATCH)
    measure(benchmark, lambda: allocator(text, old), new)


@pytest.mark.parametrize("there", [0, 10_000])
def test_giving_to_those_who_share_and_use_the_same_port(benchmark: BenchmarkFixture, there: int) -> None:
    old, new = services(0, there, KEY), services(there, BATCH, KEY)
    measure(benchmark, lambda: allocator("10.0.0.0/14", old), new)


@pytest.mark.parametrize("there", [1000, 10_000])
def test_asking_again(benchmark: BenchmarkFixture, there: int) -> None:
    """As each change of a Service does that has what it needs."""
    old = services(0, there)
    made = allocator("10.0.0.0/14", old)
    benchmark(give, made, old[:BATCH])
