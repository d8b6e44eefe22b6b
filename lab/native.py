"""The lab's own small C programs, compiled when first wanted into `build/lab/`, under a key made of their content.

Nothing is compiled twice, and no stale program is ever run: sources, headers, flags and the compiler are the key.
"""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from lab.building import built, run

HERE = Path(__file__).parent
CACHE = HERE.parent / "build" / "lab"
USER = ("clang", "-std=gnu11", "-O2", "-Wall", "-Wextra")
KERNEL = ("-g", "--target=bpf", "-mcpu=v3", "-c")


@cache
def _compiler() -> bytes:
    return subprocess.run([USER[0], "--version"], capture_output=True, check=True).stdout


@cache
def compiled(source: str) -> Path:
    """The program that `source` (a path below lab/) compiles to: an object when it is for the kernel (.bpf.c).

    Raises OSError when there is no compiler, CalledProcessError (whose stderr is the compiler's) when it refuses.
    """
    path = HERE / source
    for_kernel = source.endswith(".bpf.c")
    flags = [*USER]
    if for_kernel:  # clang would look for <asm/types.h> below the name of its target
        flags += [*KERNEL, *(f"-I{include}" for include in Path("/usr/include").glob("*-linux-gnu"))]
    libraries = () if for_kernel or "libbpf.h" not in path.read_text() else ("-lbpf",)
    key = hashlib.sha256(_compiler() + repr((flags, libraries)).encode())
    for part in (path, *sorted({*path.parent.glob("*.h"), *HERE.glob("*.h")})):
        key.update(part.read_bytes())
    target = CACHE / f"{path.stem}-{key.hexdigest()[:16]}"
    return built(target, lambda fresh: run([*flags, path, "-o", fresh, *libraries]))
