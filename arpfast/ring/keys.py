"""The secrets of the ring, from their files. Nothing here says what they are."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from arpfast.gossip.keys import Key, metallb, sha256

if TYPE_CHECKING:
    from arpfast.ring.settings import RingSettings

SECRET_MAX = 4096


class KeyFileError(ValueError):
    """A key file that cannot be used, and why."""


def load(settings: RingSettings) -> tuple[Key, ...]:
    """The keys in their order. White space around a secret is not part of it. Raises KeyFileError."""
    rule = metallb if settings.key_rule == "metallb" else sha256
    return tuple(rule(secret(Path(path))) for path in settings.key_files)


def secret(path: Path, *, private: bool = False) -> bytes:
    """What a file holds. Raises KeyFileError, also if others can read it, unless the path is `private`, as in a Pod."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            found = file.read(SECRET_MAX + 1).strip()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if mode & stat.S_IRWXO and not private:
        raise KeyFileError(f"{path}: expected a file that others cannot read (chmod o= {path}), not mode {mode:04o}")
    if not found:
        raise KeyFileError(f"{path}: expected a secret, not an empty file")
    if len(found) > SECRET_MAX:
        raise KeyFileError(f"{path}: expected a secret of at most {SECRET_MAX} bytes")
    return found
