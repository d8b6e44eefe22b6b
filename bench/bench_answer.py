"""What answer() costs by itself, in nanoseconds a frame, by number and spread of the addresses.

`answer.c` compiled as the extension is, alone; a million requests for random addresses of the table.
"""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from lab.building import built, run
from lab.native import CACHE

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

HERE = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O3", "-fno-strict-aliasing", "-Wno-unused-function")
CASES = list(product((4, 6), ("contiguous", "scattered"), (1, 1_000_000)))


@cache
def compiled_answer() -> Path:
    """The measuring program, compiled once a run."""
    sources = [HERE / "answer.c", *sorted((HERE.parent / "arpfast").glob("*.h"))]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    command = ["cc", *FLAGS, f"-I{HERE.parent / 'arpfast'}", str(sources[0]), "-o"]
    return built(CACHE / f"answer-{key}", lambda fresh: run([*command, str(fresh)]))


def test_answer(ledger: Ledger, rounds: Rounds) -> None:
    program = compiled_answer()
    for family, spread, count in rounds(CASES, lambda one: f"IPv{one[0]}, {one[2]:,} {one[1]}"):
        told = subprocess.run([program, str(family), spread, str(count)], check=True, capture_output=True, text=True)
        ledger.add(f"IPv{family}, {spread}", f"{count:,}", float(told.stdout), "ns")
    for family, spread in product((4, 6), ("contiguous", "scattered")):
        case = f"IPv{family}, {spread}"
        ledger.judge(case, "a million addresses", ledger.of(case, "1,000,000").values, "ns", at_most=40)
