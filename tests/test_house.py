"""The layout that CONTRIBUTING.md promises, as asserts."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["arpfast", "cluster", "controller", "speaker"]


def test_tests_hide_no_package() -> None:
    """A `tests/x/__init__.py` would stand in for the package x."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_the_repositorys(package: str) -> None:
    assert Path(importlib.import_module(package).__file__ or "").parent == ROOT / package


def test_protocols_name_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/protocols.md").read_text()))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert {name for name in named if f"def {name}(" not in sources} == set()


TOO_LONG = {"arpfast/responder.pyx", "arpfast/bpf/programs.pyx"}
"""Longer than they should be; no other may join them."""


def test_a_file_has_one_subject_and_at_most_400_lines() -> None:
    sources = [path for pattern in ("*.py", "*.pyx", "*.h", "*.c", "*.md") for path in tracked(pattern)]
    assert len(sources) > 100
    long = {str(path.relative_to(ROOT)) for path in sources if len(path.read_text().splitlines()) > 400}
    assert long - TOO_LONG == set()


def tracked(pattern: str) -> list[Path]:
    """Files of the project of one kind, without what is built or installed."""
    folders = ("arpfast", "bench", "cluster", "controller", "docs", "lab", "speaker", "tests")
    found = [path for folder in folders for path in (ROOT / folder).rglob(pattern)]
    return [path for path in found if not (path.suffix == ".c" and path.with_suffix(".pyx").exists())]
