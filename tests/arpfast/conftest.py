"""What tests of the thread's parts share: the parts, compiled on their own."""

import ctypes
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RETURNS = {
    ctypes.c_void_p: ("parts_facts", "parts_asked", "parts_lease", "parts_watch", "parts_askers"),
    ctypes.c_uint64: (
        "parts_lost",
        "parts_find",
        "parts_pace",
        "parts_sleep_ns",
        "parts_freezes",
        "parts_due_ns",
        "parts_asker",
    ),
}


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """`parts.c` as a library; it says itself what takes 64 bits, but for what it returns."""
    library = tmp_path_factory.mktemp("parts") / "parts.so"
    headers = HERE.parents[1] / "arpfast"
    subprocess.run(
        ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-Wno-unused-function", "-fPIC", "-shared",
         f"-I{headers}", "-o", library, HERE / "parts.c"],
        check=True,
    )  # fmt: skip
    loaded = ctypes.CDLL(str(library))
    for kind, names in RETURNS.items():
        for name in names:
            getattr(loaded, name).restype = kind
    return loaded
