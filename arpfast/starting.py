"""From the command line to a daemon that runs: what is opened in which order, and when root is given up.

The order matters: whatever takes root (the control socket's directory, a low metrics port) is opened first, and
whatever will be needed is imported, for the interpreter may lie where only root can read; then privileges go, while
there is only one thread; then the responder's thread starts. Interfaces that come later open their packet sockets with
the one capability that is kept.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 (what asyncio.to_thread would import when it is too late)
import contextlib
import os
import platform
import resource
import signal
from typing import TYPE_CHECKING

from arpfast import control, keeping, local, logs, privileges
from arpfast.daemon import SIGNALS, Daemon
from arpfast.inforce import InForce, Place, limit, read
from arpfast.privileges import Capability
from arpfast.responder import Responder

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from arpfast.bpf.backends import Answerer
    from arpfast.bpf.programs import Filter
    from arpfast.config import Config
    from arpfast.privileges import Account
    from arpfast.responder import RateLimit
    from arpfast.ring.seat import Seat


DESCRIPTORS = 65536
"""As many as are wanted: two and more an interface, where a shell allows 1024 to all. As in the systemd unit."""


class CannotStart(Exception):  # noqa: N818
    """What the daemon needs and cannot have, in one line."""


def run(place: Place) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError or CannotStart."""
    # Until the loop can take them: a SIGHUP would kill us, a SIGTERM leave the socket behind
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))
    config = read(place)
    log = logs.logger(config.log.level, config.log.format)
    root = os.geteuid() == 0
    with contextlib.ExitStack() as opened:
        try:
            account = privileges.account(place.user) if root else None
            if Capability.NET_RAW not in privileges.effective():
                need = f"{Capability.NET_RAW} is missing ({privileges.NEEDED_FOR[Capability.NET_RAW]})"
                raise CannotStart(f"{need}; start as root, or see 'arpfast check'")
            listening = control.bind(config.control, account)
            opened.callback(remove, listening)
            serving = None
            if config.metrics is not None:
                # Not needed by most, so not imported by all; here, since later we may not be allowed to read the files
                from arpfast import machine, metrics  # noqa: F401, PLC0415

                if config.ring is not None:
                    from arpfast.ring import numbers  # noqa: F401, PLC0415

                serving = opened.enter_context(machine.listen(config.metrics))
            seat = _seat(config, place.name)
            if config.local is None:
                local.clear(local.mark(config.control))  # what a run before this one may have left
            filtering = filter_(limit(config), log, answers=config.backend != "raw")
            kept = {Capability.NET_RAW}
            if filtering is not None:
                opened.callback(filtering.close)
                kept.add(Capability.BPF)  # a new table is a new map
            if config.local:
                kept.add(Capability.NET_ADMIN)
            answering = None if filtering is None else answerer(config, filtering, account, log)
            if answering is not None:
                opened.callback(answering.close)
                if answering.needs_admin:
                    kept.add(Capability.NET_ADMIN)
            responder = opened.enter_context(
                Responder(
                    rate_per_s=config.announce.rate,
                    limit=limit(config),
                    filter=filtering,
                    answerer=answering,
                    fifo=config.ring is not None,  # who watches others must not be late
                )
            )
            if account is not None and account.uid != 0:
                privileges.drop(account, kept)
            else:
                privileges.confine(kept & privileges.effective())  # CAP_SYS_ADMIN allows eBPF as well
            responder.start()
        except (OSError, privileges.NoSuchUser) as error:
            raise CannotStart(said(error)) from error
        try:
            asyncio.run(_serve(InForce(place, config), responder, log, filtering, answering, listening, serving, seat))
        except OSError as error:  # what goes wrong once it runs comes in a group
            raise CannotStart(said(error)) from error


async def _serve(
    settings: InForce,
    responder: Responder,
    log: logs.Logger,
    filtering: Filter | None,
    answering: Answerer | None,
    listening: socket.socket,
    serving: socket.socket | None,
    seat: Callable[[Daemon], Seat] | None,
) -> None:
    await Daemon(settings, responder, log, filtering, answering, seat).run(listening, serving)


def _seat(config: Config, name: str | None) -> Callable[[Daemon], Seat] | None:
    """What makes this host's seat in the ring, if there is a ring. Raises OSError if the host is no member."""
    if config.ring is None:
        return None
    from arpfast.gossip.keys import Keyring  # noqa: PLC0415 (most have no ring)
    from arpfast.ring.keys import load  # noqa: PLC0415
    from arpfast.ring.seat import Seat  # noqa: PLC0415
    from arpfast.ring.settings import own_address  # noqa: PLC0415

    address, keys = own_address(config.ring.members), load(config.ring)
    if keys:
        Keyring(keys)  # loads the library while it can be read
    name = name or platform.node()

    def make(daemon: Daemon) -> Seat:
        return Seat(
            name,
            address,
            config,
            keys,
            announcer=daemon.announcer,
            responder=daemon.responder,
            report=daemon.report,
            changed=daemon.put_on_lo,
        )

    return make


def said(error: Exception) -> str:
    """In one line."""
    if not isinstance(error, OSError):
        return str(error)
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}"


def remove(listening: socket.socket) -> None:
    """For an end before the control server has taken over; after that, there is nothing left to do."""
    if listening.fileno() >= 0:
        path = listening.getsockname()
        listening.close()
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


def filter_(rates: RateLimit | None, log: logs.Logger, *, answers: bool = False) -> Filter | None:
    """The eBPF filter and guard, where kernel and capabilities allow them; a classic filter does without.

    With `answers` the programs that answer are loaded as well, if they can be.
    """
    try:
        from arpfast.bpf.programs import Filter  # noqa: PLC0415 (needs libbpf, which may be missing)

        return Filter(limit=rates, answers=answers)
    except (ImportError, OSError) as error:
        log.warning("no eBPF filter, a classic one does", why=said(error).partition("\n")[0])
        return None


def answerer(config: Config, filtering: Filter, account: Account | None, log: logs.Logger) -> Answerer | None:
    """What has the kernel answer, where the settings want it to and it can; the thread's sockets do without."""
    from arpfast.bpf.backends import Answerer  # noqa: PLC0415 (there is libbpf)

    keep = None
    try:
        keep = keeping.folder(config.control, account, wanted=config.restart_s is not None)
    except OSError as error:
        if config.restart_s is not None:
            log.warning("nothing is kept for a restart", why=said(error))
    try:
        if config.backend != "raw":
            return Answerer(filtering, config.backend, keep=keep, restart_s=config.restart_s or 0)
        for path in keep.iterdir() if keep is not None else ():
            path.unlink()
    except OSError as error:
        log.warning("the kernel does not answer, the daemon does", why=said(error))
    return None
