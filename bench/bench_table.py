"""What tables cost in Python's hands, by pytest-benchmark: building one of 100 000 addresses, finding one in it.

The price of replacing a table is mostly that of building it; `bench_replace.py` shows it in place.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import pytest

from arpfast.answer import Link, Table, answer
from arpfast.spans import Span, Spans
from bench.stage import question

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

COUNT = 100_000
FIRST = {4: int(IPv4Address("10.0.0.0")), 6: int(ip_address("2001:db8::"))}
STRIDES = {"contiguous": 1, "every other": 2, "strewn": 1_009}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def _spans(version: int, stride: int) -> Spans:
    assert version in {4, 6}
    first = FIRST[version]
    return Spans(Span(4 if version == 4 else 6, at, at) for at in range(first, first + COUNT * stride, stride))


@VERSIONS
@pytest.mark.parametrize("spread", STRIDES)
def test_building(benchmark: BenchmarkFixture, version: int, spread: str) -> None:
    spans = _spans(version, STRIDES[spread])
    table = benchmark(lambda: Table(own=spans))
    benchmark.extra_info["bytes_an_address"] = table.nbytes / COUNT


@VERSIONS
def test_finding_from_python(benchmark: BenchmarkFixture, version: int) -> None:
    table = Table(own=_spans(version, 2))
    address = ip_address(FIRST[version] + COUNT)
    assert benchmark(table.find, address) is not None


@VERSIONS
def test_answering_from_python(benchmark: BenchmarkFixture, version: int) -> None:
    table, link = Table(own=_spans(version, 2)), Link(b"\x02\0\0\0\0\1")
    frame = question(ip_address(FIRST[version] + COUNT))
    assert benchmark(answer, table, link, frame).reply
