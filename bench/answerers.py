"""Who is measured. Each is started on a stage for a pool, and answers when the context is entered.

arpfast is the command as a user runs it, with its default settings but for these: no probing, so that it answers at
once; announcing at one frame a second, so that a million addresses that are being announced do not disturb the
measurement (`bench_announce.py` is about that); and no refresh.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lab import peers
from lab.generator import Flood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.stage import Pool, Stage
    from lab import Process

ARPFAST = Path(sys.executable).with_name("arpfast")

QUIET = "announce: {probe: off, refresh: off, rate: 1, repeat: 1}"
GUARDED = f"{QUIET}\nrate_limit: {{per_mac: 1000, burst: 50}}"
LOUD = "announce: {probe: off, refresh: off}"


class Answerer(Protocol):
    """Somebody who answers."""

    @property
    def name(self) -> str:
        """As in the tables."""

    def on(self, stage: Stage, pool: Pool) -> AbstractContextManager[object]:
        """Start on the stage, and wait until the pool is answered for; a context manager."""


def spawn_arpfast(stage: Stage, *pools: Pool, settings: str = QUIET, backend: str = "raw") -> Process:
    """Start `arpfast run` on the stage; it answers soon, not yet."""
    path = settings_file(stage, *pools, settings=settings)
    return stage.far.host.spawn(
        [ARPFAST, "run", "-c", path, "-i", stage.far.name, "--backend", backend], cpus=stage.cores
    )


def settings_file(stage: Stage, *pools: Pool, settings: str = QUIET) -> Path:
    """Write the settings for these pools, anew if there are some."""
    path = stage.lab.directory / "arpfast.yaml"
    addresses = ", ".join(f"'{pool.addresses}'" for pool in pools)
    path.write_text(f"addresses: [{addresses}]\ncontrol: {stage.lab.directory}/control.sock\n{settings}\n")
    path.chmod(0o644)
    stage.lab.directory.chmod(0o755)  # arpfast reads the file again as nobody
    return path


@dataclass(frozen=True)
class Arpfast:
    """The real command."""

    name: str = "arpfast"
    settings: str = QUIET
    backend: str = "raw"

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Run it."""
        process = spawn_arpfast(stage, pool, settings=self.settings, backend=self.backend)
        stage.wait_answered(pool.first)
        stage.settle(process.pid)
        yield process
        assert process.alive, process.output


@dataclass(frozen=True)
class Kernel:
    """The kernel's own responder: a local route for IPv4, addresses for IPv6. Answers where it receives."""

    name: str = "kernel"

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[None]:
        """Give it the addresses."""
        peers.kernel(stage.far, _prefix(pool))
        stage.wait_answered(pool.first)
        yield


@dataclass(frozen=True)
class Other:
    """A program from `lab.peers`."""

    name: str

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Run it. farpd is let learn first: for a second it asks whether an address is free, and must not be rushed."""
        process: Process = getattr(peers, self.name)(stage.far, _prefix(pool), cpus=stage.cores)
        if self.name == "farpd":
            Flood.start(stage.near, pool.first, pool.count, rate_per_s=1024, seconds=pool.count / 1024 + 0.2).wait()
            time.sleep(1.5)
        else:
            stage.wait_answered(pool.first)
        stage.settle(process.pid)
        yield process
        assert process.alive, process.output


def _prefix(pool: Pool) -> str:
    """The pool as a prefix, which it must be."""
    bits = 128 if ":" in pool.first else 32
    assert pool.count & (pool.count - 1) == 0
    return f"{pool.first}/{bits - pool.count.bit_length() + 1}"
