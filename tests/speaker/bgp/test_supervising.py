"""A daemon as our child: one that is not there, and one that does not last. The real one is tried in tests/real."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any

import pytest

from speaker.bgp.supervising import Daemon

if TYPE_CHECKING:
    from pathlib import Path


class Log:
    """Counts warnings, and says when there were enough."""

    def __init__(self, enough: int) -> None:
        self.warnings: list[dict[str, Any]] = []
        self.enough, self._most = asyncio.Event(), enough

    def debug(self, event: str, **facts: Any) -> None: ...

    info = debug

    def warning(self, event: str, **facts: Any) -> None:
        self.warnings.append(facts)
        if len(self.warnings) == self._most:
            self.enough.set()


def test_a_program_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "gobgpd", str(tmp_path / "api.sock"), log=Log(1))
    with pytest.raises(FileNotFoundError, match="gobgpd"):
        asyncio.run(daemon.run())


def test_one_that_does_not_last_is_started_again_and_ever_later(tmp_path: Path) -> None:
    program = tmp_path / "gobgpd"
    program.write_text('#!/bin/sh\necho "$@" >>"$0.said"\nexit 7\n')
    program.chmod(stat.S_IRWXU)
    socket = tmp_path / "private" / "api.sock"

    async def tell() -> tuple[Daemon, Log]:
        log = Log(3)
        daemon = Daemon(program, str(socket), log=log)
        task = asyncio.create_task(daemon.run())
        async with asyncio.timeout(30):
            await log.enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return daemon, log

    daemon, log = asyncio.run(tell())
    assert daemon.starts == 3
    assert daemon.pid is None
    assert [each["why"] for each in log.warnings] == ["status 7"] * 3
    assert log.warnings[2]["again_s"] >= log.warnings[0]["again_s"]
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert len((tmp_path / "gobgpd.said").read_text().splitlines()) == 3
    assert f"--api-hosts unix://{socket}" in (tmp_path / "gobgpd.said").read_text()
