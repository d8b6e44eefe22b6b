"""The compile cache: what is compiled, and when again."""

import subprocess
from pathlib import Path

import pytest

from lab import native


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(native, "HERE", tmp_path)
    monkeypatch.setattr(native, "CACHE", tmp_path / "cache")
    (tmp_path / "it.h").write_text("#define STATUS 3\n")
    (tmp_path / "it.c").write_text('#include "it.h"\nint main(void) { return STATUS; }\n')
    native.compiled.cache_clear()
    return tmp_path / "it.c"


def test_a_changed_header_is_another_program(source: Path) -> None:
    first = native.compiled("it.c")
    assert subprocess.run([first], check=False).returncode == 3
    native.compiled.cache_clear()
    assert native.compiled("it.c") == first
    source.with_suffix(".h").write_text("#define STATUS 4\n")
    native.compiled.cache_clear()
    second = native.compiled("it.c")
    assert second != first
    assert subprocess.run([second], check=False).returncode == 4


def test_what_does_not_compile_tells_the_compilers_words(source: Path) -> None:
    source.write_text("int main(void) { return NOTHING; }\n")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        native.compiled("it.c")
    assert "NOTHING" in caught.value.stderr
    assert not list((source.parent / "cache").iterdir())
