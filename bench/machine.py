"""What was measured on: figures without it say nothing. Read when a ledger is saved; no name of the machine is kept.

And the one thing of it that has to be otherwise: the kernel's neighbour table has room for 1024 entries of a family, of
all network namespaces together. Beyond half of that it forgets what was not confirmed within five seconds, and beyond
all of it a router cannot ask. With a thousand addresses that would be measured, and not who answers for them.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = {"gc_thresh3": 1 << 16, "gc_thresh2": 1 << 15, "gc_thresh1": 1 << 14}
"""Neighbours of a family: at most, forgotten after a while beyond, never forgotten below."""
OF = "ipv4", "ipv6"


class Machine(msgspec.Struct, frozen=True):
    """The machine and what runs on it, as far as it matters to speed."""

    processor: str
    cores: int
    memory_gib: float
    virtual: str
    """Which hypervisor, as the processor tells; empty on bare metal."""
    kernel: str
    preemption: str
    distribution: str
    python: str
    load: float
    """Of the last minute: what else, or what before, kept it busy."""


@cache
def _constant() -> dict[str, str | int | float]:
    cpu = Path("/proc/cpuinfo").read_text()
    version = re.search(r"SMP (\S+)", platform.version())
    return {
        "processor": _field(r"^model name\s*: (.*)$", cpu) or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "virtual": _virtual(cpu),
        "kernel": platform.release(),
        "preemption": version[1] if version and version[1].startswith("PREEMPT") else "none",
        "distribution": platform.freedesktop_os_release()["PRETTY_NAME"],
        "python": platform.python_version(),
    }


def here() -> Machine:
    """This machine, now."""
    return msgspec.convert({**_constant(), "load": os.getloadavg()[0]}, Machine)


@contextmanager
def room_for_neighbours() -> Iterator[None]:
    """Have the kernel's neighbour tables large enough meanwhile."""
    limits = {Path(f"/proc/sys/net/{of}/neigh/default/{name}"): most for name, most in ROOM.items() for of in OF}
    before = {path: path.read_text() for path in limits if path.exists()}  # a namespace has none of its own
    try:
        for path, text in before.items():
            path.write_text(str(max(int(text), limits[path])))
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)


def _virtual(cpu: str) -> str:
    if "hypervisor" not in _field(r"^flags\s*: (.*)$", cpu).split():
        return ""
    told = Path("/sys/hypervisor/type")
    product = Path("/sys/class/dmi/id/product_name")
    found = next((path.read_text().strip() for path in (told, product) if path.exists()), "")
    return found or "a hypervisor"


def _field(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else ""
