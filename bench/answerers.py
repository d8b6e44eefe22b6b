"""Who is measured. Each is started on a stage for a pool, and answers when the context is entered.

Not everybody is everywhere: `present` leaves out who is not, with a line that says why. A backend of arpfast counts as
there when `arpfast status` says that it is the one in use, on this machine and this kind of link.

arpfast is the command as a user runs it, with its default settings but for these: no probing, so that it answers at
once; announcing at one frame a second, so that a million addresses that are being announced do not disturb the
measurement (`bench_announce.py` is about that); and no refresh.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

from arpfast.config import Backend
from bench.stage import Pool, staged
from lab import ProcessFailed, peers
from lab.peers.keepalived import Keepalived
from lab.programs import GORESPONDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.ledger import Ledger
    from bench.stage import Stage
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

    def obstacle(self) -> str | None:
        """Why it cannot be measured here, in one line."""

    def on(self, stage: Stage, pool: Pool) -> AbstractContextManager[object]:
        """Start on the stage, and wait until the pool is answered for; a context manager."""


def present(candidates: Iterable[Answerer], ledger: Ledger) -> list[Answerer]:
    """Those that can be measured; the ledger gets a line for each other one."""
    found = []
    for who in candidates:
        if reason := who.obstacle():
            ledger.notes.append(f"{who.name} was not measured: {reason}")
        else:
            found.append(who)
    return found


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

    def obstacle(self) -> str | None:
        """It is there; a backend may be known and yet not work."""
        return None if self.backend in {"auto", "raw"} else _missing(self.backend)

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Run it."""
        process = spawn_arpfast(stage, pool, settings=self.settings, backend=self.backend)
        stage.wait_answered(pool.first)
        stage.settle(process.pid)
        yield process
        assert process.alive, process.output


BACKENDS = tuple(Arpfast(f"arpfast {backend}", backend=backend) for backend in ("xdp", "xdp-generic", "tc"))
"""Those that answer in the kernel, where they are there; the plain `Arpfast()` answers from a raw socket."""


@dataclass(frozen=True)
class Kernel:
    """The kernel's own responder: a local route for IPv4, addresses for IPv6. Answers where it receives."""

    name: str = "kernel"

    def obstacle(self) -> str | None:
        """It is always there."""
        return None

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

    def obstacle(self) -> str | None:
        """Debian's are installed, ours are compiled; what is written in Go needs a Go."""
        if self.name == GORESPONDER.name:
            try:
                GORESPONDER.path()
            except OSError as error:
                return str(error)
        return None

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Run it. farpd learns each address first: for a second it asks whether it is free, and must not be rushed."""
        process: Process = getattr(peers, self.name)(stage.far, _prefix(pool), cpus=stage.cores)
        if self.name == "farpd":
            stage.wait_answered(*pool.each(), deadline_s=60, every_ms=1500)
        else:
            stage.wait_answered(pool.first)
        stage.settle(process.pid)
        yield process
        assert process.alive, process.output


@dataclass(frozen=True)
class Vrrp:
    """keepalived, alone on the link and therefore master: the addresses are the host's, and its kernel answers."""

    name: str = "keepalived"

    def obstacle(self) -> str | None:
        """It is Debian's, and installed."""
        return None

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Run it with the shortest of usual intervals, and wait until it is master."""
        runner = Keepalived(stage.far, pool.each(), priority=100, interval_s=0.1)
        runner.start()
        stage.wait_answered(pool.first, pool.last, deadline_s=30)
        yield runner.process
        assert runner.process.alive, runner.process.output


@dataclass(frozen=True)
class Reflector:
    """The limit: XDP that sends back whatever comes. Answers where it is received."""

    name: str = "reflector"
    generic: bool = False

    def obstacle(self) -> str | None:
        """It takes XDP, as the generator does."""
        return None

    @contextmanager
    def on(self, stage: Stage, pool: Pool) -> Iterator[Process]:
        """Attach it. It answers for everything, also for the pool."""
        process = peers.reflector(stage.far, generic=self.generic)
        stage.wait_answered(pool.first)
        yield process
        assert process.alive, process.output


BOTH: tuple[Answerer, ...] = (
    Arpfast(), *BACKENDS, Kernel(), Other("cloop"), Other("goresponder"), Vrrp(), Reflector()
)  # fmt: skip
"""All who answer ARP and ND."""


@cache
def _missing(backend: str) -> str | None:
    """Why this backend of arpfast is not there."""
    if backend not in get_args(Backend):
        return f"the arpfast that is built here knows no backend {backend}"
    pool = Pool("10.1.0.1")
    with staged() as stage:
        process = spawn_arpfast(stage, pool, backend=backend)
        try:
            stage.wait_answered(pool.first)
            used = in_use(stage)
        except (AssertionError, ProcessFailed) as error:
            return f"it does not answer: {' '.join((process.output or str(error)).splitlines()[-1:])}"
    return None if used == backend else f"arpfast uses {used} in its place"


def in_use(stage: Stage) -> str:
    """Which backend the arpfast on the stage says that it answers by."""
    said = stage.far.host.run([ARPFAST, "status", "--json", "--control", stage.lab.directory / "control.sock"]).stdout
    status = json.loads(said)
    links = [link["backend"] for link in status["links"] if "backend" in link]
    return str(links[0] if links else status["backend"])


def _prefix(pool: Pool) -> str:
    """The pool as a prefix, which it must be."""
    bits = 128 if ":" in pool.first else 32
    assert pool.count & (pool.count - 1) == 0
    return f"{pool.first}/{bits - pool.count.bit_length() + 1}"
