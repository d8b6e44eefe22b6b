"""Where the kernel keeps what is to go on answering over a restart: links, pinned in the BPF file system.

A folder for each control socket and network namespace, so that one daemon never takes another's programs for its own;
it belongs to the user that the daemon becomes. Where nobody has mounted the file system, root does, as `bpftool` and
`tc` do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from arpfast.local import mark

if TYPE_CHECKING:
    from arpfast.privileges import Account

MOUNTED = Path("/sys/fs/bpf")


def is_mounted() -> bool:
    """Whether the BPF file system is where it belongs."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.split()[1:3] == [str(MOUNTED), "bpf"] for line in mounts)


def _mount() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(MOUNTED), b"bpf", 0, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"could not mount the BPF file system: {os.strerror(number).lower()}", str(MOUNTED))


def clear() -> None:
    """Remove links that have lost their interface, of whatever daemon, and folders that are empty."""
    from arpfast.bpf.answering import pinned  # noqa: PLC0415 (needs libbpf)

    for place in MOUNTED.glob("arpfast/*"):
        with contextlib.suppress(OSError):
            for path in place.iterdir():
                link, ifindex = pinned(path)
                os.close(link)
                if ifindex == 0:
                    path.unlink()
            place.rmdir()


def folder(control: str, account: Account | None, *, wanted: bool) -> Path | None:
    """The folder of the daemon with this control socket, made if it is `wanted`; None if there is none. Raises OSError.

    Open for the rest of the process's life, and named by its descriptor: what is above it only root may enter.
    `account` is whom the daemon becomes, None if it stays who it is.
    """
    if not is_mounted():
        if not wanted:
            return None
        _mount()
    clear()
    place = MOUNTED / "arpfast" / f"{mark(control):x}-{Path('/proc/thread-self/ns/net').stat().st_ino}"
    if wanted:
        place.mkdir(0o700, parents=True, exist_ok=True)
        if account is not None:
            os.chown(place, account.uid, account.gid)
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return Path(f"/proc/self/fd/{descriptor}")
