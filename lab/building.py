"""Programs that are made from source when first wanted, into a cache, under a key of all that they are made of.

Nothing is made twice, not even by two processes at once, and nobody ever finds half of one.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


def built(target: Path, build: Callable[[Path], None]) -> Path:
    """The target, which `build` makes at the path that it is given unless it is there. What it raises is raised."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            if not target.exists():
                fresh = Path(scratch) / "out"
                build(fresh)
                os.replace(fresh, target)  # noqa: PTH105 (atomic)
    return target


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a compiler or the like; CalledProcessError has what it said."""
    told = [os.fspath(word) for word in command]
    done = subprocess.run(
        told, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, told, done.stdout, done.stderr)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from building there. The folder itself is the lock: nothing is left behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
