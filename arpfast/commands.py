"""Programs of the operator's: run with a time limit, listened to a little, and ended with all that they started.

Each gets a session, and so a process group, of its own; no shell, no controlling terminal, none of our descriptors, a
minimal environment, `/` as its directory, and the user that we have become, without our capabilities (`privileges`
sees to that). When it ends or its time is up, the whole group is killed: before the leader is reaped, since until then
its number can not have passed to somebody else. A process that leaves the group (setsid) escapes.

Runs on the event loop, without threads: the end is told by a pidfd. Starting one costs the loop the millisecond of
fork and exec; a thread would not help, since Python keeps its lock over that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SAID_AT_MOST = 200
_TAIL = 4096
_CHUNK = 65536
_CHUNKS_AT_END = 16  # a pipe holds 64 KiB, or what an administrator allows
_REAP_S = 2.0


class Ended(msgspec.Struct, frozen=True):
    """How it ended."""

    status: int
    """Exit status; minus the number of the signal that ended it."""
    limit_s: float | None
    """The limit that it exceeded, if it did."""
    said: str
    """The last line of what it wrote to standard output or error, cut short."""

    def __str__(self) -> str:
        """How, in words, with what it said."""
        if self.limit_s is not None:
            how = f"took longer than {self.limit_s:g} s and was killed"
        elif self.status < 0:
            how = f"ended by {_name(-self.status)}"
        else:
            how = f"exit status {self.status}"
        return f"{how}: {self.said}" if self.said else how

    @property
    def well(self) -> bool:
        """In time, and with status 0."""
        return self.status == 0 and self.limit_s is None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def run(command: Sequence[str], limit_s: float, given: bytes = b"") -> Ended:
    """Run a program with its arguments, `given` on its standard input, for at most `limit_s` seconds.

    Raises OSError if it cannot be started. When cancelled, kills it first.
    """
    with contextlib.ExitStack() as opened:
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        opened.callback(os.close, ours)
        with contextlib.ExitStack() as passed:
            passed.callback(os.close, theirs)
            os.set_blocking(theirs, True)  # each end has flags of its own: this leaves ours as it is
            child = _start(command, passed.enter_context(_file_of(given)), theirs)
        try:
            gone = os.pidfd_open(child.pid)
        except OSError:
            _kill(child)
            child.wait()
            raise
        opened.callback(os.close, gone)
        return await _follow(child, gone, ours, limit_s)


@contextlib.contextmanager
def _file_of(given: bytes) -> Iterator[int]:
    """A file to read `given` from: unlike a pipe, one that nobody need read for us to go on."""
    file = os.memfd_create("input", os.MFD_CLOEXEC) if given else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        written = 0
        while written < len(given):
            written += os.pwrite(file, given[written:], written)
        yield file
    finally:
        os.close(file)


def _start(command: Sequence[str], stdin: int, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 (whoever writes the settings is trusted)
        command, stdin=stdin, stdout=output, stderr=output, env=ENVIRONMENT, cwd="/", start_new_session=True
    )


async def _follow(child: subprocess.Popen[bytes], gone: int, ours: int, limit_s: float) -> Ended:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    listener = _Listener(loop, ours)
    loop.add_reader(gone, ended.set)
    exceeded = False
    try:
        try:
            async with asyncio.timeout(limit_s):
                await ended.wait()
        except TimeoutError:
            exceeded = True
        finally:
            _kill(child)
            # At once, but for a process that is stuck in the kernel; that one is left to `subprocess`
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REAP_S):
                    await ended.wait()
        status = child.poll()
    finally:
        loop.remove_reader(gone)
        child.poll()
        said = listener.close()
    return Ended(-signal.SIGKILL if status is None else status, limit_s if exceeded else None, said)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill it and all of its group. It must not have been reaped."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


class _Listener:
    """Reads what is said for as long as it is said, so that nobody blocks, and remembers the end of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, file: int) -> None:
        self._loop, self._file = loop, file
        self._tail = b""
        loop.add_reader(file, self._take)

    def _take(self) -> bool:
        try:
            chunk = os.read(self._file, _CHUNK)
        except BlockingIOError:
            return False
        self._tail = (self._tail + chunk)[-_TAIL:]
        if not chunk:
            self._loop.remove_reader(self._file)
        return bool(chunk)

    def close(self) -> str:
        """Take what is left. The last line said."""
        for _ in range(_CHUNKS_AT_END):
            if not self._take():
                break
        self._loop.remove_reader(self._file)
        lines = self._tail.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        shown = "".join(one if one.isprintable() else " " for one in last)
        return shown if len(shown) <= SAID_AT_MOST else shown[: SAID_AT_MOST - 3] + "..."
