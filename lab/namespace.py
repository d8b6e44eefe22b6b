"""A network namespace that nobody names: made by a thread, and gone with the last process and descriptor in it.

`unshare` and `setns` change the calling *thread*. So every namespace has a thread of its own that stays inside (the
*resident*: it owns the rtnetlink socket, and one call runs after the other), and anything else that must run inside
gets a thread for just that call. The caller's own thread never moves.
"""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, attempted: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{attempted}: {os.strerror(number)}")


class Namespace:
    """One network namespace, `file` open on it. `close()` lets go of it."""

    def __init__(self) -> None:
        """Make a new, empty namespace. Raises PermissionError without CAP_SYS_ADMIN."""
        self._resident = ThreadPoolExecutor(max_workers=1, thread_name_prefix="namespace")
        self._netlink: Any = None
        try:
            self.file = self._resident.submit(self._enter_new).result()
        except BaseException:
            self._resident.shutdown()
            raise
        self.inode = os.fstat(self.file).st_ino

    def _enter_new(self) -> int:
        _check(_libc.unshare(CLONE_NEWNET), "cannot make a network namespace")
        self._netlink = IPRoute()
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def netlink(self, verb: str, /, *arguments: object, **fields: object) -> list[Any]:
        """Ask rtnetlink in the namespace, as `IPRoute.<verb>` does; OSError says what was attempted."""

        def ask() -> list[Any]:
            try:
                return list(getattr(self._netlink, verb)(*arguments, **fields) or ())
            except NetlinkError as error:
                told = " ".join(str(word) for word in (verb, *arguments, fields))
                raise OSError(error.code, f"{told}: {os.strerror(error.code)}") from None

        return self._resident.submit(ask).result()

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Run the function in the namespace, in a new thread; the future has what it returns or raises."""
        future: Future[T] = Future()

        def inside() -> None:
            try:
                _check(_libc.setns(self.file, CLONE_NEWNET), "cannot enter the network namespace")
                future.set_result(function(*arguments, **named))
            except BaseException as error:  # noqa: BLE001 (it is raised where the result is asked for)
                future.set_exception(error)

        threading.Thread(target=inside, name="inside", daemon=True).start()
        return future

    def call(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Run the function in the namespace, in a new thread, and wait for what it returns."""
        return self.submit(function, *arguments, **named).result()

    def write_sysfs(self, texts: Mapping[str, str]) -> None:
        """Write files below /sys as it is in the namespace: what is mounted there shows the caller's interfaces."""

        def write() -> None:
            _check(_libc.unshare(CLONE_NEWNS), "cannot make a mount namespace")  # this thread's, and gone with it
            _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "cannot keep mounts to ourselves")
            _check(_libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None), "cannot mount sysfs")
            for path, text in texts.items():
                Path("/sys", path).write_text(text)

        self.call(write)

    def name(self, path: Path) -> None:
        """Give it a name that `ip netns` finds."""
        path.parent.mkdir(exist_ok=True)
        path.touch(exist_ok=False)
        source = f"/proc/self/fd/{self.file}".encode()
        _check(_libc.mount(source, str(path).encode(), None, MS_BIND, None), f"cannot name a namespace {path}")

    def close(self) -> None:
        """Let go of it: the kernel removes it when no process and no other descriptor is left."""
        if self.file >= 0:
            self._resident.submit(self._netlink.close).result()
            self._resident.shutdown()
            os.close(self.file)
            self.file = -1
