"""What `check` needs to know of this machine, gathered once: interfaces, sysctls, users, paths. Changes nothing.

All of it belongs to the network namespace and the user that `check` runs in, which is why it must run where the daemon
would. /proc/sys shows the sysctls of the reader's own network namespace, unlike /sys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from arpfast import control, privileges
from arpfast.following import Watch

if TYPE_CHECKING:
    from arpfast.config import Config
    from arpfast.interfaces import Interface
    from arpfast.listen import Listen
    from arpfast.privileges import Account, Capability


class Machine(msgspec.Struct, frozen=True):
    """A picture of where the daemon would run."""

    interfaces: tuple[Interface, ...]
    capabilities: frozenset[Capability]
    root: bool
    account: Account | None
    """Who the daemon would become; None if there is no such user."""
    sysctls: dict[str, int]
    """By path below /proc/sys/net; those that the kernel lacks are missing."""
    control_holder: int | None = None
    """pid of the daemon that answers on the control socket."""
    control_problem: str = ""
    metrics_problem: str = ""
    unreadable: str = ""
    """Why the settings file could not be read again after the change of user; empty if it could."""
    filter_refused: str = ""
    """Why the eBPF filter cannot be loaded here, which was tried; empty if it can."""
    guard: bool = True
    """Whether the guard can be loaded besides."""
    answers: bool = True
    """Whether the programs can be loaded that answer."""
    harms: dict[str, str] = {}
    """Why XDP in the driver would do harm, by interface; it does none where there is nothing."""

    def sysctl(self, family: str, interface: str, name: str) -> int:
        """The value in force for an interface: of `all` and its own, the kernel takes the higher."""
        return max(self.sysctls.get(f"{family}/conf/{scope}/{name}", 0) for scope in ("all", interface))


_IPV4 = ("arp_ignore", "arp_announce", "rp_filter", "proxy_arp", "forwarding")
_IPV6 = ("disable_ipv6", "proxy_ndp", "forwarding")


def look(config: Config, path: str | None, user: str | None) -> Machine:
    """Look at this machine, with the eyes of somebody who would run `config` read from `path` as `user`."""
    interfaces = asyncio.run(_interfaces())
    sysctls: dict[str, int] = {}
    for family, names in (("ipv4", _IPV4), ("ipv6", _IPV6)):
        for scope in ("all", *(interface.name for interface in interfaces)):
            for name in names:
                with contextlib.suppress(OSError, ValueError):
                    key = f"{family}/conf/{scope}/{name}"
                    sysctls[key] = int(Path("/proc/sys/net", key).read_text(encoding="ascii"))
    root = os.geteuid() == 0
    try:
        account = privileges.account(user)
    except privileges.NoSuchUser:
        account = None
    holder, control_problem = _control(config.control)
    filter_refused, guard, answers = _filter()
    return Machine(
        interfaces=interfaces,
        capabilities=privileges.effective(),
        root=root,
        account=account,
        sysctls=sysctls,
        control_holder=holder,
        control_problem=control_problem,
        metrics_problem="" if config.metrics is None or holder is not None else _metrics(config.metrics),
        unreadable=_unreadable(Path(path).absolute(), account) if path and root and account else "",
        filter_refused=filter_refused,
        guard=guard,
        answers=answers,
        harms=_harms(interfaces) if answers else {},
    )


async def _interfaces() -> tuple[Interface, ...]:
    watch = Watch()
    try:
        return tuple((await anext(watch)).values())
    finally:
        watch.close()


def _harms(interfaces: tuple[Interface, ...]) -> dict[str, str]:
    from arpfast.bpf.backends import harm  # noqa: PLC0415 (needs libbpf, which is there by now)

    found = {}
    for interface in interfaces:
        with contextlib.suppress(OSError):
            found[interface.name] = harm(interface.index)
    return found


def _filter() -> tuple[str, bool, bool]:
    """Why the kernel would not take our filter, and whether it takes guard and answers. It is all let go at once.

    Only trying tells: capabilities, libbpf, the kernel's version and its lockdown all have a say. CAP_BPF is needed
    even where unprivileged_bpf_disabled is 0, since the map of askers is an LRU map.
    """
    try:
        from arpfast.bpf.programs import Filter  # noqa: PLC0415 (needs libbpf, which may be missing)

        loaded = Filter(answers=True)
    except (ImportError, OSError) as error:
        said = (error.strerror or "") if isinstance(error, OSError) else str(error)
        return said.partition("\n")[0], False, False
    with contextlib.closing(loaded):
        return "", loaded.guard_program() >= 0, loaded.answer_program(True) >= 0


def _control(path: str) -> tuple[int | None, str]:
    """Who listens there, and why we could not."""
    try:
        holder = control.holder(path)
        if holder is not None:
            return holder, ""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                return None, f"{path} exists and is no socket"
        parent = Path(path).parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            return None, f"{parent} is no directory"
        if not os.access(parent, os.W_OK | os.X_OK):
            return None, f"{parent} is not writable"
    except OSError as error:
        return None, f"{path}: {(error.strerror or str(error)).lower()}"
    return None, ""


def listen(where: Listen) -> socket.socket:
    """A listening TCP socket, non-blocking. With no address: all of both families. Raises OSError."""
    family = socket.AF_INET if "." in where.address else socket.AF_INET6
    if not where.address and not Path("/proc/net/if_inet6").exists():
        family = socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if where.address else 0)
        listening.bind((where.address, where.port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"serving metrics on {where}: {(error.strerror or '').lower()}") from None
    return listening


def _metrics(where: Listen) -> str:
    try:
        listen(where).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unreadable(path: Path, account: Account) -> str:
    """By mode bits: what keeps the user from reading the file, if anything does."""
    for step in [*reversed(path.parents), path]:
        try:
            found = step.stat()
        except OSError as error:
            return f"{step}: {(error.strerror or '').lower()}"
        bits = stat.S_IMODE(found.st_mode)
        bits = bits >> 6 if found.st_uid == account.uid else bits >> 3 if found.st_gid == account.gid else bits
        if not bits & (4 if step == path else 1):
            return f"{step} may not be {'read' if step == path else 'entered'} by {account.name}"
    return ""
