"""Compiles a module's BPF programs when the module itself is built, so that no user needs a compiler.

`pyproject.toml` names `BuildExt` as the build_ext command. For an extension from `NAME.pyx` with a `NAME.bpf.c` beside
it, clang makes the BPF object, and `NAME.bpf.h` in the build folder holds it as the array `NAME_object`: the module
carries the programs within itself, and nothing generated lies in the source tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from setuptools.command.build_ext import build_ext

if TYPE_CHECKING:
    from setuptools import Extension

# BTF (-g) describes the maps to libbpf. v2: no 32-bit jumps, which older verifiers follow less well.
FLAGS = ["-target", "bpf", "-mcpu=v2", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-function", "-ffreestanding"]


class BuildExt(build_ext):
    """build_ext that knows `.bpf.c`."""

    def build_extension(self, ext: Extension) -> None:
        """Build the BPF object first, if the module has one."""
        for source in (Path(name).with_suffix(".bpf.c") for name in ext.sources):
            if source.exists():
                ext.include_dirs.append(str(self.compile_bpf(source)))
        super().build_extension(ext)

    def compile_bpf(self, source: Path) -> Path:
        """Compile one file; the folder of the header that holds the object."""
        clang = shutil.which("clang")
        if clang is None:
            raise SystemExit(f"arpfast: clang is needed to build {source}: see deploy/packages.txt")
        folder = Path(self.build_temp) / source.parent
        folder.mkdir(parents=True, exist_ok=True)
        name = source.name.removesuffix(".bpf.c")
        target = folder / f"{name}.bpf.o"
        # <asm/…> lies in Debian's multiarch folder, where clang does not look for this target
        multiarch = sysconfig.get_config_var("MULTIARCH") or ""
        command = [clang, *FLAGS, "-idirafter", f"/usr/include/{multiarch}", "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True)  # noqa: S603
        content = ",".join(map(str, target.read_bytes()))
        header = f"static const unsigned char {name}_object[] __attribute__((aligned(8))) = {{{content}}};\n"
        (folder / f"{name}.bpf.h").write_text(header)
        return folder
