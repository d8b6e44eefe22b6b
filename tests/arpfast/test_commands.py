"""Programs that are run with a limit: what they find, what is heard of them, and that nothing of them is left."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

import psutil
import pytest

from arpfast import commands
from arpfast.commands import Ended
from lab import wait_until

LIMIT_S = 60.0
"""Never reached: what is run here ends by itself."""
_serial = itertools.count(1)


def run(*command: str, limit_s: float = LIMIT_S, given: bytes = b"") -> Ended:
    return asyncio.run(commands.run(command, limit_s, given))


def python(code: str, given: bytes = b"") -> Ended:
    return run(sys.executable, "-I", "-c", code, given=given)


def marked() -> str:
    """A time to `sleep` that no other process has."""
    return f"86{next(_serial):03}.{os.getpid()}"


def alive(mark: str) -> list[int]:
    """Who sleeps for that time."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.cmdline() and process.name() == "sleep":
                found.append(process.pid)
        except psutil.NoSuchProcess:
            pass
    return found


def gone(mark: str) -> None:
    wait_until(lambda: not alive(mark), 20, what=f"no 'sleep {mark}'", every_ms=20)


def test_status_and_last_words() -> None:
    assert run("sh", "-c", "echo one; echo two >&2; echo; exit 3") == Ended(3, None, "two")
    assert run("true") == Ended(0, None, "")
    assert run("true").well
    assert not run("false").well
    assert str(run("sh", "-c", "echo broken; exit 3")) == "exit status 3: broken"
    assert str(run("sh", "-c", "kill -TERM $$")) == "ended by SIGTERM"


def test_last_words_are_short_and_printable() -> None:
    assert python("print('x' * 1000)").said == "x" * 197 + "..."
    assert python(r"print('a\x1b[31mb\x00c')").said == "a [31mb c"
    assert python(r"import os; os.write(1, b'caf\xe9\n')").said == "caf\ufffd"


def test_a_flood_of_words_is_passed_over() -> None:
    assert run("sh", "-c", "yes | head -c 3000000; echo; echo end").said == "end"


def test_what_is_given_is_read_or_not() -> None:
    assert run("cat", given=b'{"a": 1}\n').said == '{"a": 1}'
    assert run("wc", "-c", given=b"x" * 3_000_000).said == "3000000"
    assert run("true", given=b"x" * 3_000_000).well
    assert run("cat") == Ended(0, None, "")


def test_what_it_finds() -> None:
    said = python("import os; print(sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid())").said
    assert said == "['LANG', 'PATH'] / True"
    descriptors = python("import os; print(len(os.listdir('/proc/self/fd')))", given=b"x").said
    assert descriptors == "4", "the three standard ones, and that of the directory"


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run("/nowhere/at/all")
    with pytest.raises(PermissionError):
        run(str(tmp_path))


def test_children_are_killed_with_it_when_it_takes_too_long() -> None:
    mark = marked()
    ended = run("sh", "-c", f"sleep {mark} & (sleep {mark} & sleep {mark}) & trap '' TERM; sleep {mark}", limit_s=0.5)
    assert ended == Ended(-9, 0.5, "")
    assert str(ended) == "took longer than 0.5 s and was killed"
    gone(mark)


def test_children_that_it_leaves_behind_are_killed_too() -> None:
    mark = marked()
    assert run("sh", "-c", f"sleep {mark} & echo started") == Ended(0, None, "started")
    gone(mark)


def test_when_cancelled_it_is_killed_first() -> None:
    mark = marked()

    async def main() -> None:
        running = asyncio.create_task(commands.run(["sh", "-c", f"sleep {mark} & sleep {mark}"], LIMIT_S))
        await asyncio.to_thread(wait_until, lambda: len(alive(mark)) == 2, 20, every_ms=20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    gone(mark)


def descriptors() -> list[Path]:
    return sorted(Path("/proc/self/fd").iterdir())


def test_nothing_is_left_open() -> None:
    async def main() -> None:
        await commands.run(["true"], LIMIT_S)  # the loop has opened what it needs
        before = descriptors()
        await commands.run(["cat"], LIMIT_S, b"x")
        await commands.run(["sleep", marked()], 0.1)
        with pytest.raises(FileNotFoundError):
            await commands.run(["/nowhere"], LIMIT_S, b"x")
        assert descriptors() == before

    asyncio.run(main())


def test_many_at_once() -> None:
    async def main() -> None:
        ended = await asyncio.gather(*(commands.run(["sh", "-c", f"echo {n}"], LIMIT_S) for n in range(30)))
        assert [one.said for one in ended] == [str(n) for n in range(30)]

    asyncio.run(main())
