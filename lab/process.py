"""Programs inside a host: started, listened to, measured and ended by their pid, with all that they started.

One thread a program reads what it says, so that nothing ever blocks on a full pipe and every line has its moment;
standard output and error are one stream, as a person would see them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from lab.waiting import DEADLINE_S, DeadlineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end."""

    command: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class ProcessFailed(AssertionError):  # noqa: N818 (what happened, not which kind of error)
    """A program ended with a status other than 0, or too early."""

    def __init__(self, finished: Finished) -> None:
        """Tell all that it said."""
        super().__init__(f"{' '.join(finished.command)}: status {finished.status}\n{finished.stdout}{finished.stderr}")
        self.finished = finished


class Process:
    """A running program; `Host.spawn` makes one."""

    def __init__(self, command: tuple[str, ...], popen: subprocess.Popen[str]) -> None:
        """Not for callers."""
        self.command = command
        self.pid = popen.pid
        self._popen = popen
        self._lines: list[str] = []
        self._ended = False
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"reads {command[0]}", daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        command: Sequence[str | os.PathLike[str]],
        *,
        environment: Mapping[str, str] | None,
        cpus: Iterable[int] | None,
        stdin: int,
    ) -> Self:
        """Start it where the calling thread is: its namespace, and the CPUs that it is to be pinned to."""
        told = tuple(os.fspath(word) for word in command)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)  # of this thread only; the child inherits it before its first instruction
        popen = subprocess.Popen(
            told, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )  # fmt: skip
        return cls(told, popen)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                with self._heard:
                    self._lines.append(line.rstrip("\n"))
                    self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    @property
    def lines(self) -> list[str]:
        """All complete lines that it has said so far."""
        with self._heard:
            return list(self._lines)

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, deadline_s: float = DEADLINE_S, *, after: int = 0) -> re.Match[str]:
        """Wait for a line in which the pattern is found, said before or from now on; `after` skips as many lines.

        Raises DeadlineError when it is late, ProcessFailed when the program ended without having said it.
        """
        expression = re.compile(pattern)
        end_s = time.monotonic() + deadline_s
        with self._heard:
            seen = after
            while True:
                for line in self._lines[seen:]:
                    if found := expression.search(line):
                        return found
                seen = max(seen, len(self._lines))
                if self._ended:
                    break
                if not self._heard.wait(max(0.0, end_s - time.monotonic())) and time.monotonic() >= end_s:
                    said = "\n".join(self._lines)
                    raise DeadlineError(f"expected {pattern!r} from {' '.join(self.command)}, not\n{said}")
        raise ProcessFailed(
            Finished(self.command, self.wait(deadline_s), f"never said {pattern!r}:\n{self.output}", "")
        )

    @property
    def status(self) -> int | None:
        """Its exit status (minus the signal that ended it); None while it runs."""
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.status is None

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for its end and return the status. Raises DeadlineError."""
        try:
            return self._popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"expected {' '.join(self.command)} to end within {deadline_s:g} s\n{self.output}"
            ) from None

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        self._popen.send_signal(number)

    def stop(self, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end (SIGTERM), kill it and its children if they are late, and return its status."""
        tree = self._tree()
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._end(tree)

    def kill(self) -> int:
        """Kill it and its children, and return its status."""
        tree = self._tree()
        self._popen.kill()
        status = self._popen.wait()
        self._end(tree)
        return status

    def close(self) -> None:
        """End it if it still runs."""
        if self.alive:
            self.kill()
        self._reader.join(5)

    def _tree(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True) if self.alive else []
        except psutil.NoSuchProcess:
            return []

    @staticmethod
    def _end(tree: list[psutil.Process]) -> None:
        for child in tree:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def cpu_s(self) -> float:
        """CPU time that it and its children have used, user and system."""
        total = 0.0
        for process in (psutil.Process(self.pid), *self._tree()):
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def rss_bytes(self) -> int:
        """Resident memory of it and its children."""
        return sum(int(process.memory_info().rss) for process in (psutil.Process(self.pid), *self._tree()))

    def wakeups(self) -> int:
        """How often its threads have gone to sleep so far (voluntary context switches); constant while it is idle."""
        words = "voluntary_ctxt_switches:"  # psutil counts those of the first thread only
        return sum(
            int(line.split()[1])
            for status in Path(f"/proc/{self.pid}/task").glob("*/status")
            for line in status.read_text().splitlines()
            if line.startswith(words)
        )
