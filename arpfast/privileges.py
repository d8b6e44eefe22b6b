"""From root down to what the work needs, once, before the responder's thread starts.

Capabilities are a property of the *thread* in Linux: capset(2) changes the caller alone, so it must happen while there
is only one. What stays is permitted and effective, not inheritable and not ambient: nothing that we might ever execute
would get it, and PR_SET_NO_NEW_PRIVS says so to the kernel as well. Everything else leaves the bounding set.

A packet socket for an interface that is plugged in later still opens afterwards: that takes CAP_NET_RAW, not root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_USERS = ("arpfast", "nobody")

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two 32-bit words each
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_EINVAL = 22


class Capability(IntEnum):
    """Those that arpfast can have a use for; values of <linux/capability.h>."""

    NET_ADMIN = 12
    NET_RAW = 13
    BPF = 39

    def __str__(self) -> str:
        return f"CAP_{self.name}"


NEEDED_FOR = {
    Capability.NET_RAW: "packet sockets: to hear requests and answer them, also on interfaces that come later",
    Capability.BPF: "the eBPF filter, which lets frames that are not ours die in the kernel",
    Capability.NET_ADMIN: "what answers in the kernel, the guard that stops floods in tc ingress, and addresses on lo",
}


class Account(msgspec.Struct, frozen=True):
    """Who to become."""

    name: str
    uid: int
    gid: int


class NoSuchUser(Exception):  # noqa: N818
    """The user to drop to does not exist."""


def account(name: str | None) -> Account:
    """The user called `name`, else the first there is of `arpfast` and `nobody`. Raises NoSuchUser."""
    for one in [name] if name else DEFAULT_USERS:
        try:
            found = pwd.getpwnam(one)
        except KeyError:
            continue
        return Account(found.pw_name, found.pw_uid, found.pw_gid)
    raise NoSuchUser(f"no such user: {name or ' or '.join(DEFAULT_USERS)}")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, doing: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{doing}: {os.strerror(error).lower()}")


def _prctl(option: int, *values: int) -> int:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return int(_libc().prctl(option, *padded))


def effective() -> frozenset[Capability]:
    """Which of the capabilities that matter here the calling thread has."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            mask = int(line.split()[1], 16)
            return frozenset(one for one in Capability if mask >> one & 1)
    raise AssertionError("/proc/thread-self/status has no CapEff")


def drop(to: Account, keep: Iterable[Capability]) -> None:
    """Become `to` for good and keep nothing but `keep` (what of it we have). Needs root and a process of one thread.

    Raises OSError, saying which step failed; the process must then end, for it may be half way down.
    """
    kept = frozenset(keep) & effective()
    for number in range(64):
        if number not in kept and _prctl(_PR_CAPBSET_DROP, number) != 0:
            if ctypes.get_errno() == _EINVAL:
                break  # beyond the last one that this kernel knows
            _checked(-1, f"dropping capability {number} from the bounding set")
    _checked(_prctl(_PR_SET_KEEPCAPS, 1), "keeping capabilities over the change of user")
    os.setgroups([])
    os.setresgid(to.gid, to.gid, to.gid)
    os.setresuid(to.uid, to.uid, to.uid)
    confine(kept)


def confine(keep: Iterable[Capability]) -> None:
    """Keep nothing but `keep` in this thread, and gain nothing by execve(2). Needs no root.

    Raises OSError for what we do not have.
    """
    permitted = [0, 0]
    for one in keep:
        permitted[one // 32] |= 1 << one % 32
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)(*(_Data(word, word, 0) for word in permitted))
    _checked(_libc().capset(ctypes.byref(header), data), "setting capabilities")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "forswearing new privileges")
