"""`Checks` in virtual time, with attempts that do as they are told: when they come, and what they lead to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from arpfast import checks as under_test
from arpfast.checks import SLOTS, SPREAD_S, Checks
from arpfast.health import Check, Endpoint, State
from arpfast.seconds import Seconds
from arpfast.spans import Spans, address_of
from tests.arpfast.virtual import passing, virtually

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from arpfast.inspection import Event


class World:
    """What stands behind each port, and who asked when."""

    def __init__(self) -> None:
        self.failures: dict[int, str] = {}
        self.takes_s = 0.01
        self.asked: defaultdict[int, list[float]] = defaultdict(list)
        self.at_once = self.most_at_once = 0
        self.reports: list[Event] = []
        self.changes = 0

    async def attempt(self, check: Check) -> str:
        assert isinstance(check.tcp, Endpoint)
        self.asked[check.tcp.port].append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await passing(self.takes_s)
        finally:
            self.at_once -= 1
        return self.failures.get(check.tcp.port, "")

    def changed(self) -> None:
        self.changes += 1

    def checks(self, *checks: Check) -> Checks:
        return Checks(checks, self.changed, self.reports.append)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(under_test, "attempt", world.attempt)
    return world


async def answered(world: World, times: int) -> None:
    """Let time pass until each port has answered as many times more; in between, none answers more often than that
    and once.
    """
    for _ in range(times):
        before = {port: len(asked) for port, asked in world.asked.items()}
        while any(len(world.asked[port]) == count for port, count in before.items()) or world.at_once:
            await passing(0.02)


def check(port: int, *addresses: str, **settings: float) -> Check:
    times = {name: Seconds(value) if name.endswith("_s") else value for name, value in settings.items()}
    spans = Spans.parse(*addresses or [f"192.0.2.{port}"])
    return Check(addresses=spans, tcp=Endpoint("127.0.0.1", port), **times)  # type: ignore[arg-type]


def during(checks: Checks, what: Coroutine[None, None, None]) -> None:
    async def main() -> None:
        running = asyncio.create_task(checks.run())
        await what
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtually(main())


def test_what_fails_and_what_passes_again(world: World) -> None:
    checks = world.checks(check(1), check(2, "192.0.2.2", "2001:db8::/64"))
    assert checks.undecided() == Spans.parse("192.0.2.1-192.0.2.2", "2001:db8::/64")
    assert not checks.failing()
    world.failures = {2: "connection refused"}

    async def do() -> None:
        await passing(SPREAD_S + 1)
        assert not checks.undecided()
        assert checks.failing() == Spans.parse("192.0.2.2", "2001:db8::/64")
        (told,) = checks.explain(6, int(address_of(6, 0x20010DB8 << 96)))
        assert (told.check, told.state, told.last_failure) == ("tcp 127.0.0.1:2", State.FAILING, "connection refused")
        world.failures = {}
        await answered(world, 2)
        assert checks.failing() == Spans()
        world.failures = {1: "no answer within 1s"}
        await answered(world, 1)
        assert checks.failing() == Spans(), "a bad answer is not three"
        await answered(world, 3)
        assert checks.failing() == Spans.parse("192.0.2.1")

    during(checks, do())
    assert [report.event for report in world.reports] == ["check fails", "check passes again", "check fails"]
    assert world.changes == 4, "two first answers, and two changes of what fails"
    assert world.reports[2].fields == {"check": "tcp 127.0.0.1:1", "why": "no answer within 1s"}
    counted = checks.statistics()
    assert (counted.passing, counted.failing, counted.changes) == (1, 1, 2)


def test_an_address_of_two_checks_needs_both(world: World) -> None:
    checks = world.checks(check(1, "192.0.2.7"), check(2, "192.0.2.0/28"))
    world.failures = {1: "no"}

    async def do() -> None:
        await passing(1)
        assert checks.failing() == Spans.parse("192.0.2.7")
        assert [one.state for one in checks.explain(4, 0xC0000207)] == [State.FAILING, State.PASSING]
        assert not checks.explain(4, 1)

    during(checks, do())


def test_they_come_soon_and_then_spread_at_their_interval(world: World) -> None:
    checks = world.checks(*(check(port, "192.0.2.1", interval_s=2) for port in range(1, 201)))

    async def do() -> None:
        await passing(100)

    during(checks, do())
    assert world.most_at_once <= SLOTS
    firsts = sorted(asked[0] for asked in world.asked.values())
    assert firsts[-1] - 1000.0 < SPREAD_S + 200 * world.takes_s / SLOTS + 0.1
    for asked in world.asked.values():
        assert 100 / 2.2 - 2 <= len(asked) <= 100 / 1.8 + 2
    fiftieths = sorted(asked[30] for asked in world.asked.values())
    assert fiftieths[-1] - fiftieths[0] > 1, "what began together has spread"
    assert checks.statistics().late == 0


def test_hanging_checks_share_what_slots_there_are(world: World) -> None:
    checks = world.checks(*(check(port, "192.0.2.1", interval_s=1) for port in range(1, 3 * SLOTS + 1)))
    world.takes_s = 1.0

    async def do() -> None:
        await passing(60)

    during(checks, do())
    assert world.most_at_once == SLOTS
    assert {len(asked) > 15 for asked in world.asked.values()} == {True}
    assert checks.statistics().late > 0


def test_a_reload_leaves_alone_what_asks_the_same(world: World) -> None:
    checks = world.checks(check(1), check(2), check(3))
    world.failures = {1: "no", 3: "no"}

    async def do() -> None:
        await passing(1)
        since_s = checks.explain(4, 0xC0000201)[0].since_unix_s
        world.changes = 0
        checks.want([check(1, "192.0.2.1", "192.0.2.100"), check(2), check(4)])
        assert checks.failing() == Spans.parse("192.0.2.1", "192.0.2.100"), "more addresses, same state; one check less"
        assert checks.undecided() == Spans.parse("192.0.2.4")
        assert world.changes == 1
        assert checks.explain(4, 0xC0000264)[0].since_unix_s == since_s
        checks.want([check(1, "192.0.2.1", "192.0.2.100"), check(2), check(4)])
        assert world.changes == 1
        asked = len(world.asked[3])
        await passing(10)
        assert len(world.asked[3]) == asked
        assert checks.undecided() == Spans()
        checks.want([check(1, interval_s=10), check(2)])
        asked = len(world.asked[1])
        await passing(100)
        assert 9 <= len(world.asked[1]) - asked <= 13, "another interval holds at once"
        assert checks.failing() == Spans.parse("192.0.2.1")
        checks.want([])
        assert checks.failing() == Spans()
        await passing(10)

    during(checks, do())
    assert checks.statistics().passing == 0


def test_other_thresholds_hold_from_the_next_answer_on(world: World) -> None:
    checks = world.checks(check(1, fall=50))

    async def do() -> None:
        await passing(1)
        world.failures = {1: "no"}
        await answered(world, 8)
        assert checks.failing() == Spans()
        checks.want([check(1, fall=2)])
        await answered(world, 1)
        assert checks.failing() == Spans.parse("192.0.2.1")

    during(checks, do())


def test_the_same_question_twice_is_two_checks(world: World) -> None:
    checks = world.checks(check(1, "192.0.2.1", fall=1), check(1, "192.0.2.2", fall=100))

    async def do() -> None:
        await passing(1)
        world.failures = {1: "no"}
        await passing(10)
        assert checks.failing() == Spans.parse("192.0.2.1")

    during(checks, do())
    assert checks.statistics().passing == checks.statistics().failing == 1


def test_it_can_be_stopped_and_run_again(world: World) -> None:
    checks = world.checks(check(1))

    async def do() -> None:
        await passing(1)

    during(checks, do())
    asked = len(world.asked[1])
    checks.want([check(1), check(2)])
    assert len(world.asked[1]) == asked
    during(checks, do())
    assert len(world.asked[1]) > asked
    assert checks.undecided() == Spans()
