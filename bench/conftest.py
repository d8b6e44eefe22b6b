"""What the questions share: rounds in random order with a line of progress, a ledger each, the report at the end."""

from __future__ import annotations

import os
import random
import re
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from bench import figure as figures
from bench.ledger import RESULTS, Ledger, table
from bench.machine import room_for_neighbours
from bench.picture import draw
from lab import obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

LEDGERS = pytest.StashKey[list[Ledger]]()


class Rounds(Protocol):
    """`for case in rounds(cases)`: every case once a round, in another order each time."""

    def __call__(self, cases: Sequence[T], name: Callable[[T], str]) -> Iterator[T]:
        """Yield a case after the other, saying which."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    parser.addoption("--trials", type=int, default=30, help="how often hosts fail in each way (default: 30)")
    parser.addoption("--seconds", type=float, default=600.0, help="how long a ring is watched (default: 600)")
    parser.addoption("--resume", action="store_true", help="add to the results that are there")
    parser.addoption("--only", default="", help="measure only cases whose line of progress matches this expression")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGERS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(0))  # how long it takes is up to the number of rounds


@pytest.fixture(scope="session", autouse=True)
def _possible() -> Iterator[None]:
    if reason := obstacle():
        pytest.exit(f"bench: {reason}", 1)
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.exit("bench: needs two cores, 0 and 1", 1)
    with room_for_neighbours():
        yield


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """The ledger of the question that the file asks; it is kept when the question has been answered, or given up."""
    module = request.module
    new = Ledger.resumed if request.config.getoption("--resume") else Ledger
    ledger = new(module.__name__.rpartition("bench_")[2], module.__doc__.splitlines()[0])
    yield ledger
    if ledger.series or ledger.curves:
        ledger.save()
        request.config.stash[LEDGERS].append(ledger)


@pytest.fixture
def rounds(request: pytest.FixtureRequest, ledger: Ledger) -> Rounds:
    """See `Rounds`; how many there are, and of which cases, are options."""
    return _rounds(request, ledger, "--rounds")


@pytest.fixture
def trials(request: pytest.FixtureRequest, ledger: Ledger) -> Rounds:
    """The same, where a measurement has many."""
    return _rounds(request, ledger, "--trials")


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long to watch what should not happen."""
    return float(request.config.getoption("--seconds"))


def _rounds(request: pytest.FixtureRequest, ledger: Ledger, how_many: str) -> Rounds:
    many, only = int(request.config.getoption(how_many)), str(request.config.getoption("--only"))
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    order = random.Random(time.time_ns())

    def run(cases: Sequence[T], name: Callable[[T], str]) -> Iterator[T]:
        chosen = [case for case in cases if re.search(only, name(case))]
        for number in range(1, many + 1):
            for case in order.sample(chosen, len(chosen)):
                with capture.global_and_fixture_disabled():
                    print(f"\n{ledger.question} {number}/{many}: {name(case)} ", end="", flush=True)
                yield case

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledgers = config.stash[LEDGERS]
    if not ledgers:
        return
    terminalreporter.section("what came of it")
    for line in table(ledgers):
        terminalreporter.write_line(line)
    path = RESULTS / "answers.svg"
    path.write_text(draw(ledgers))
    for ledger in ledgers:
        for figure in dict.fromkeys(curve.figure for curve in ledger.curves):
            name = f"{ledger.question}-{re.sub('[^a-z]+', '-', figure.lower()).strip('-')}.svg"
            (RESULTS / name).write_text(figures.draw([curve for curve in ledger.curves if curve.figure == figure]))
    terminalreporter.write_line("")
    terminalreporter.write_line(f"the same as pictures: {RESULTS}/*.svg; as JSON: {RESULTS}/*.json")
