"""Commands that are told of events: in order, one at a time, and nobody waits for them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from arpfast.config import Hook
from arpfast.hooks import QUEUED_AT_MOST, Hooks
from arpfast.seconds import Seconds
from lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from arpfast.inspection import Event

DEADLINE_S = 60.0


def hook(script: str, *arguments: str, timeout_s: float = DEADLINE_S) -> Hook:
    return Hook(("/bin/sh", "-c", script, "sh", *arguments), Seconds(timeout_s))


def during(hooks: Hooks, do: Callable[[], Awaitable[None]]) -> None:
    """Do something while the commands are run."""

    async def main() -> None:
        running = asyncio.create_task(hooks.run())
        try:
            await do()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_events_are_told_in_order_to_each_command_in_turn(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hooks = Hooks([hook("cat >> $1; echo -n 'then ' >> $1", str(told)), hook("echo second >> $1", str(told))])

    async def do() -> None:
        for number in range(20):
            hooks.put({"event": "owner", "number": number, "addresses": ["192.0.2.1"]})
        assert await hooks.drain(DEADLINE_S)

    during(hooks, do)
    lines = told.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines[::2]] == [*range(20)]
    assert lines[1::2] == ["then second"] * 20
    counted = hooks.statistics()
    assert (counted.run, counted.failed, counted.dropped, counted.queued, counted.running) == (40, 0, 0, 0, "")


def test_too_many_events_push_out_the_oldest(tmp_path: Path) -> None:
    told = tmp_path / "told"
    reports: list[Event] = []
    hooks = Hooks([hook("grep -o '[0-9]*' | head -1 >> $1", str(told))], reports.append)
    for number in range(QUEUED_AT_MOST + 7):
        hooks.put({"number": number})
    assert (hooks.statistics().queued, hooks.statistics().dropped) == (QUEUED_AT_MOST, 7)
    assert [report.event for report in reports] == ["on_change commands are too slow, events are dropped"]

    async def do() -> None:
        hooks.want([])
        hooks.put({"number": "nobody is there to be told"})
        assert await hooks.drain(DEADLINE_S)

    during(hooks, do)
    assert not told.exists(), "commands that are wanted no more are not run"


def test_the_newest_are_kept(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hooks = Hooks([hook("cat >> $1", str(told))])
    for number in range(QUEUED_AT_MOST + 7):
        hooks.put({"number": number})
    hooks.want([hook("head -c 12 > $1; exec sleep 86400", str(told))])

    async def do() -> None:
        await asyncio.to_thread(_wait_for, told)
        assert not await hooks.drain(0.01)
        assert hooks.statistics().running == "/bin/sh"

    during(hooks, do)
    assert told.read_text() == '{"number":7}'


def _wait_for(path: Path) -> None:
    wait_until(lambda: path.exists() and path.read_text(), DEADLINE_S, what=f"something in {path}", every_ms=10)


def test_a_command_that_hangs_or_fails_is_told_of_and_passed(tmp_path: Path) -> None:
    told = tmp_path / "told"
    reports: list[Event] = []
    hooks = Hooks(
        [
            hook("exec sleep 86400", timeout_s=0.2),
            hook("echo not today >&2; exit 4", "--password", "secret"),
            Hook(("/nowhere/at/all",)),
            hook("cat >> $1", str(told)),
        ],
        reports.append,
    )

    async def do() -> None:
        hooks.put({"event": "owner"})
        hooks.put({"event": "drain"})
        assert await hooks.drain(DEADLINE_S)

    during(hooks, do)
    assert told.read_text() == '{"event":"owner"}\n{"event":"drain"}\n'
    assert [(report.level, report.fields["command"], report.fields["how"]) for report in reports] == [
        ("warning", "/bin/sh", "took longer than 0.2 s and was killed"),
        ("warning", "/bin/sh", "exit status 4: not today"),
        ("warning", "/nowhere/at/all", "cannot be run: no such file or directory"),
        ("debug", "/bin/sh", "exit status 0"),
    ] * 2
    counted = hooks.statistics()
    assert (counted.run, counted.failed, counted.timed_out) == (8, 6, 2)
    assert "secret" not in str(reports)


def test_without_commands_nothing_is_queued() -> None:
    hooks = Hooks([])
    hooks.put({"event": "owner"})
    assert hooks.statistics().queued == 0
    assert asyncio.run(hooks.drain(0))


def test_drain_gives_up() -> None:
    hooks = Hooks([hook("exec sleep 86400")])

    async def do() -> None:
        hooks.put({"event": "owner"})
        assert not await hooks.drain(0.01)

    during(hooks, do)
