"""The compiled half of arpfast; everything else that a build needs stands in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-Wno-unused-function", "-fno-strict-aliasing"]


def extension(module: str) -> Extension:
    """One `.pyx`. It is rebuilt when any header changes: headers include each other, and distutils does not look.

    A `.bpf.c` beside it is compiled too and carried within (deploy/bpf_object.py).
    """
    headers = [str(path) for pattern in ("*.h", "*.pxd", "*.bpf.c") for path in sorted(Path("arpfast").rglob(pattern))]
    return Extension(
        module,
        [module.replace(".", "/") + ".pyx"],
        depends=headers,
        include_dirs=["arpfast"],
        libraries=LIBRARIES.get(module, []),
        extra_compile_args=FLAGS,
    )


LIBRARIES = {"arpfast.bpf.answering": ["bpf"], "arpfast.bpf.programs": ["bpf"]}
NAMES = ("answer", "bpf.answering", "bpf.programs", "gossip.lzw", "port", "rendezvous", "responder", "succession")
MODULES = [f"arpfast.{name}" for name in NAMES]

setup(ext_modules=cythonize([extension(module) for module in MODULES], language_level=3))
