"""What every compiler must be able to make of the BPF programs, not only the one that is here."""

import importlib
import subprocess
import sysconfig
from pathlib import Path

import pytest

import arpfast.bpf

FLAGS = importlib.import_module("deploy.bpf_object").FLAGS  # setuptools brings no types
SOURCES = sorted(Path(arpfast.bpf.__path__[0]).glob("*.bpf.c"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_function_of_more_than_five_arguments_depends_on_being_inlined(source: Path, tmp_path: Path) -> None:
    multiarch = sysconfig.get_config_var("MULTIARCH")
    where = ["-idirafter", f"/usr/include/{multiarch}", "-c", str(source), "-o", str(tmp_path / "object")]
    made = subprocess.run(["clang", *FLAGS, "-fno-inline", *where], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
