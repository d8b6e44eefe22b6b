"""What is fetched of a table some frames ahead is what answering a frame then reads."""

import ctypes
import random
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from arpfast.answer import Link, Table, probe
from arpfast.spans import Span, Spans

HERE = Path(__file__).parent
ASKER = Link(bytes.fromhex("020000000099"))


@pytest.fixture(scope="session")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("fetching") / "fetching.so"
    headers = HERE.parents[1] / "arpfast"
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-Wall", "-Werror", "-Wno-unused-function", "-fPIC", "-shared",
         f"-I{headers}", "-o", library, HERE / "fetching.c"],
        check=True,
    )  # fmt: skip
    loaded = ctypes.CDLL(str(library))
    loaded.fetching_missed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_uint32]
    loaded.fetching_missed.restype = ctypes.c_uint32
    return loaded


def scattered(version: int, first: str, spread: int, count: int) -> Spans:
    """`count` single addresses, none next to another, among `spread` from `first` on."""
    base = int(ip_address(first))
    chosen = random.Random(count).sample(range(0, spread, 2), count)
    return Spans(Span(version, base + at, base + at) for at in chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "own",
    [
        scattered(4, "10.0.0.0", 1 << 16, 1),
        scattered(4, "10.0.0.0", 1 << 24, 2_000),  # some eight ranges a block
        scattered(4, "10.0.0.0", 1 << 16, 64),
        scattered(4, "10.0.0.0", 1 << 16, 4_000),  # a bitmap
        scattered(6, "2001:db8::", 1 << 16, 64),
        scattered(6, "2001:db8::", 1 << 40, 2_000),
    ],
    ids=["one", "IPv4 blocks", "ranges", "bitmap", "IPv6 ranges", "IPv6 blocks"],
)
def test_nothing_of_the_table_is_waited_for(fetching: ctypes.CDLL, own: Spans) -> None:
    words = Table(own=own).words()
    missed = []
    for version, target, _ in random.Random(1).sample(own.spans, min(len(own.spans), 200)):
        frame = probe(ASKER, ip_address(target.to_bytes(4 if version == 4 else 16, "big")))
        missed.append(fetching.fetching_missed(words, len(words), frame, len(frame)))
    assert missed.count(0) >= 0.6 * len(missed), "but for keys that others pushed far from home"
    assert max(missed) <= 3 * 16
