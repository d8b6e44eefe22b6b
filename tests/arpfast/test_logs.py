import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arpfast import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_when_nobody_looks() -> None:
    stream = io.StringIO()
    log = logs.logger("info", "auto", stream)
    log.info("address answered", address="192.0.2.1", after_ms=3)
    log.debug("unheard")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {"level": "info", "event": "address answered", "address": "192.0.2.1", "after_ms": 3}


def test_people_get_lines_with_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    logs.logger("debug", "auto", stream).warning("address is taken", mac="02:00:00:00:00:01", why="a b\n")
    assert "\x1b[33mwarning" in stream.getvalue()
    assert stream.getvalue().endswith(" address is taken  mac=02:00:00:00:00:01 why='a b\\n'\n")


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.logger("info", "human", stream).error("gone")
    assert "\x1b" not in stream.getvalue()
    assert "error   gone" in stream.getvalue()


def test_exceptions_are_told() -> None:
    stream = io.StringIO()
    log = logs.logger("info", "json", stream)
    try:
        raise ValueError("so it is")
    except ValueError:
        log.error("failed", exc_info=True)
    assert "ValueError: so it is" in json.loads(stream.getvalue())["exception"]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reader first."""
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def test_nobody_who_stands_still_is_waited_for_and_what_was_lost_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = logs.logger("info", "json", logs.Outlet(writer))
    for number in range(1000):
        log.info("x" * 500, number=number)
    written = os.read(reader, 1 << 20).splitlines()
    assert 0 < len(written) < 1000
    log.info("heard again")
    log.info("and again")
    told, after = (json.loads(line) for line in os.read(reader, 1 << 16).splitlines())
    assert told["lines_lost"] == 1000 - len(written)
    assert "lines_lost" not in after


def test_nobody_who_has_left_is_missed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    outlet = logs.Outlet(writer)
    log = logs.logger("info", "human", outlet)
    log.error("unheard")
    os.close(writer)
    log.error("unheard")
    assert outlet.lost == 2


def test_a_long_line_is_written_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        logs.logger("info", "json", logs.Outlet(file.fileno())).info("x", text="y" * 100_000)
    assert json.loads((tmp_path / "log").read_bytes())["text"] == "y" * 100_000


def test_rich_stays_out_of_the_process() -> None:
    code = (
        "import sys; from arpfast import logs; logs.logger('info', 'human').info('x'); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
    after = "import rich; from arpfast import logs; logs.logger('info', 'human').info('x'); import rich.table"
    assert subprocess.run([sys.executable, "-P", "-c", after], check=False).returncode == 0
