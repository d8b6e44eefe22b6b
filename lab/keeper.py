"""Clears a lab away once its creator is gone, however it went: a program of its own, started by every `Lab`.

Standard input is a socket to the creator. Each message names one thing to clear away; the end of the stream, which the
kernel sends also when the creator was killed, is the order to do so:

    namespace           with its descriptor attached: every process in it is killed
    name PATH           a namespace's name under /run/netns: unmounted and removed
    directory PATH      removed with all that is in it

A namespace without a process or a descriptor is removed by the kernel, and its interfaces with it. The keeper holds
the descriptors, so that no inode number is given to a stranger's namespace before it has looked through /proc.
Parent-death signals would not do instead: the kernel forgets them as soon as a process changes its credentials, which
a daemon that drops root does. Only the standard library, so that it starts in a few milliseconds (`python -I -S`).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

MNT_DETACH = 2


def listen(creator: socket.socket) -> tuple[list[int], list[str], list[str]]:
    """All that the creator has named until its end of the stream closed: descriptors, names, directories."""
    namespaces: list[int] = []
    names: list[str] = []
    directories: list[str] = []
    while True:
        message, descriptors, _, _ = socket.recv_fds(creator, 4096, 4)
        if not message:
            return namespaces, names, directories
        word, _, argument = message.decode().partition(" ")
        namespaces += descriptors
        if word == "name":
            names.append(argument)
        elif word == "directory":
            directories.append(argument)


def inhabitants(inodes: set[int]) -> list[int]:
    """The processes whose network namespace is one of these."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):  # it ended while we looked, or it is a zombie
                if os.stat(f"/proc/{entry.name}/ns/net").st_ino in inodes:  # noqa: PTH116 (pathlib doubles the start-up)
                    found.append(int(entry.name))
    return found


def clear(namespaces: list[int], names: list[str], directories: list[str]) -> None:
    """Kill, unmount and remove."""
    inodes = {os.fstat(namespace).st_ino for namespace in namespaces}
    give_up_s = time.monotonic() + 10
    while (alive := inhabitants(inodes)) and time.monotonic() < give_up_s:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    libc = ctypes.CDLL(None)
    for name in names:
        libc.umount2(name.encode(), MNT_DETACH)
        Path(name).unlink(missing_ok=True)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # whoever ends the creator with these has not ended its work yet
    with socket.socket(fileno=0) as stream:
        clear(*listen(stream))
