"""Whether anything has become slower than it may: the ratios of `bounds.toml`, in less than five minutes.

It says what has broken, not how fast things are: short measurements, many rounds, each in random order, and ratios
within a round. Unlike the questions, it fails. Who cannot be measured here is left out with a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bench.answerers import BACKENDS, Arpfast, Kernel, Other, Reflector, spawn_arpfast
from bench.bench_answer import compiled_answer
from bench.bounds import judge, read
from bench.stage import ANSWERER, Pool, staged
from lab import Process
from lab.generator import time_lone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.answerers import Answerer
    from bench.conftest import Rounds
    from bench.ledger import Ledger

POOLS = {"ARP": Pool.of("10.16.0.0/28"), "ND": Pool.of("2001:db8::100/124")}
MANY = ", 1048576 addresses"
EVERYBODY: tuple[Answerer, ...] = (
    Arpfast(), *BACKENDS, Kernel(), Other("cloop"), Other("goresponder"), Reflector()
)  # fmt: skip
ANSWERERS = {who.name: who for who in EVERYBODY}


def _found(who: str, family: str) -> tuple[Answerer, Pool]:
    """Who it is, and for which pool: `arpfast, 1048576 addresses` is arpfast with a larger one."""
    name, many, _ = who.partition(MANY)
    return ANSWERERS[name], Pool(POOLS[family].first, 1 << 20) if many else POOLS[family]


def _flooded(who: str, family: str) -> float:
    answerer, pool = _found(who, family)
    with staged() as stage, answerer.on(stage, pool):
        return stage.flood(pool, seconds=0.4).replies_per_s


def _lone(who: str, family: str) -> float:
    answerer, pool = _found(who, family)
    with staged() as stage, answerer.on(stage, pool), stage.receiving():
        return time_lone(stage.near, pool.first, pool.count, asks=400, cpus={ANSWERER}).median_ns / 1e3


def _memory(who: str) -> float:
    answerer, pool = _found(who, "ARP")
    with staged() as stage, answerer.on(stage, pool) as process:
        assert isinstance(process, Process)
        return process.rss_bytes() / 2**20


def _started(who: str) -> float:
    began_s = time.monotonic()
    if who == "python":
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
        return time.monotonic() - began_s
    with staged() as stage:
        began_s = time.monotonic()
        spawn_arpfast(stage, POOLS["ARP"])
        stage.wait_answered(POOLS["ARP"].first, every_ms=1)
        return time.monotonic() - began_s


def _answered(who: str) -> float:
    return float(subprocess.check_output([compiled_answer(), *who.split()]))


MEASURES: dict[str, tuple[Callable[[str], float], str]] = {
    "flood, ARP": (partial(_flooded, family="ARP"), "1/s"),
    "flood, ND": (partial(_flooded, family="ND"), "1/s"),
    "lone, ARP": (partial(_lone, family="ARP"), "us"),
    "lone, ND": (partial(_lone, family="ND"), "us"),
    "answer": (_answered, "ns"),
    "memory": (_memory, "MiB"),
    "start": (_started, "s"),
}
"""What can be measured of somebody, and in what; `micro` comes besides, of all at once."""


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines to be shown when all is done, whatever came of it."""
    lines: list[str] = []
    yield lines
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + "\n".join(lines))


def test_check(ledger: Ledger, rounds: Rounds, table: list[str], tmp_path: Path) -> None:
    ratios = read()
    obstacles = {name: who.obstacle() for name, who in ANSWERERS.items()}
    there = [
        ratio for ratio in ratios if not any(obstacles.get(who.removesuffix(MANY)) for who in (ratio.of, ratio.over))
    ]  # fmt: skip
    wanted = {(ratio.measure, who) for ratio in there for who in (ratio.of, ratio.over)}
    cases = sorted(pair for pair in wanted if pair[0] != "micro")
    for measure, who in rounds(cases, ": ".join):
        take, unit = MEASURES[measure]
        ledger.add(measure, who, take(who), unit)
    values = {(series.case, series.who): series.values for series in ledger.series}
    micro = sorted(who for measure, who in wanted if measure == "micro")
    values |= {("micro", name): [value] for name, value in _micro(micro, tmp_path / "micro.json").items()}
    broken = []
    row = "{:<12} {:<95} {:>7} {:>17}  {:<8} {}".format
    for ratio in ratios:
        name = f"{ratio.of} / {ratio.over}"
        verdict = judge(ratio, values)
        if verdict is None:
            table.append(row(ratio.measure, name, "-", "", ratio.bound, "not measured"))
            continue
        span = f"{verdict.low:.2f} - {verdict.high:.2f}"
        told = "kept" if verdict.kept else f"BROKEN: {ratio.why}"
        table.append(row(ratio.measure, name, f"{verdict.median:.2f}", span, ratio.bound, told))
        if not verdict.kept:
            broken.append(f"{ratio.measure}: {name} is {verdict.median:.2f}, expected {ratio.bound}: {ratio.why}")
    table.extend(f"{name} was not measured: {reason}" for name, reason in obstacles.items() if reason)
    assert not broken, "\n".join(broken)


def _micro(names: list[str], path: Path) -> dict[str, float]:
    """The shortest time of each micro-benchmark, by pytest-benchmark, in seconds."""
    command = [
        sys.executable, "-P", "-m", "pytest", "-q", f"--benchmark-json={path}", "--benchmark-max-time=0.3",
        "--benchmark-min-rounds=5", "--benchmark-warmup=off", *(f"bench/{name}" for name in names),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    benchmarks = json.loads(path.read_text())["benchmarks"]
    return {one["fullname"].removeprefix("bench/"): one["stats"]["min"] for one in benchmarks}
