"""A minute of fuzzing with every run of the tests, and the corpus against the reference; `make fuzz` takes longer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from arpfast.answer import answer
from tests.arpfast import reference
from tests.arpfast.scene import ADDRESSES, INTERFACE, LINK, TABLE

HERE = Path(__file__).parent
CORPUS = sorted(path.name for path in (HERE / "corpus").iterdir())


@pytest.mark.parametrize("name", CORPUS)
def test_corpus_means_the_same_to_the_reference(name: str) -> None:
    frame = (HERE / "corpus" / name).read_bytes()[1:]
    outcome = answer(TABLE, LINK, frame, capacity=2048)
    got = reference.Answered(outcome.verdict.name, *outcome[1:])
    assert got == reference.answer(ADDRESSES, INTERFACE, frame)


@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")
@pytest.mark.timeout(300)
def test_a_minute_of_fuzzing_finds_nothing() -> None:
    ran = subprocess.run([HERE / "run", "60"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
