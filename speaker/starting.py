"""From the settings to a speaker that runs: what is opened in which order.

Unlike `arpfast run` it stays who it is, for it is alone in its Pod and has to read its rotated token again; what it may
do is cut down to what answering takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from arpfast import control, logs, machine, privileges
from arpfast.gossip.keys import Key, Keyring, metallb
from arpfast.privileges import Capability
from arpfast.responder import Responder
from arpfast.ring.keys import KeyFileError, secret
from arpfast.starting import DESCRIPTORS, filter_, remove, said
from speaker.following import Kubernetes, NoWay
from speaker.speaking import SIGNALS, Cluster, Speaker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from arpfast.bpf.backends import Answerer
    from arpfast.bpf.programs import Filter
    from speaker.settings import Settings


class CannotStart(Exception):  # noqa: N818
    """What the speaker needs and cannot have, in one line."""


def run(settings: Settings, cluster: Callable[[Settings, logs.Logger], Cluster] = Kubernetes) -> None:
    """Run until SIGTERM or SIGINT. Raises CannotStart."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))
    log = logs.logger(settings.log_level, settings.log_format)
    with contextlib.ExitStack() as opened:
        try:
            have = privileges.effective()
            if Capability.NET_RAW not in have:
                raise CannotStart(f"{Capability.NET_RAW} is missing ({privileges.NEEDED_FOR[Capability.NET_RAW]})")
            keys = _keys(settings, log)
            listening = control.bind(settings.control, None)
            opened.callback(remove, listening)
            serving = [
                opened.enter_context(machine.listen(where))
                for where in (settings.metrics, settings.health)
                if where is not None
            ]
            kept = {Capability.NET_RAW, Capability.BPF}
            filtering = filter_(None, log, answers=settings.backend != "raw")
            if filtering is not None:
                opened.callback(filtering.close)
            answering = None if filtering is None else _answerer(settings, filtering, log)
            if answering is not None:
                opened.callback(answering.close)
                if answering.needs_admin:
                    kept.add(Capability.NET_ADMIN)
            responder = opened.enter_context(
                Responder(
                    rate_per_s=settings.announce.rate, limit=None, filter=filtering, answerer=answering, fifo=True
                )
            )
            privileges.confine(kept & have)
            responder.start()
        except (OSError, KeyFileError) as error:
            raise CannotStart(said(error)) from error
        made = cluster(settings, log)
        try:
            asyncio.run(_serve(settings, keys, made, responder, log, filtering, listening, serving))
        except* (OSError, NoWay) as errors:
            raise CannotStart("; ".join(said(error) for error in _leaves(errors))) from errors


async def _serve(
    settings: Settings,
    keys: tuple[Key, ...],
    cluster: Cluster,
    responder: Responder,
    log: logs.Logger,
    filtering: Filter | None,
    listening: socket.socket,
    serving: list[socket.socket],
) -> None:
    await Speaker(settings, keys, cluster, responder, log, filtering).run(listening, serving)


def _answerer(settings: Settings, filtering: Filter, log: logs.Logger) -> Answerer | None:
    """What has the kernel answer, where it can; the speaker's own sockets do without."""
    if settings.backend == "raw":
        return None
    from arpfast.bpf.backends import Answerer  # noqa: PLC0415 (there is libbpf)

    try:
        return Answerer(filtering, settings.backend)
    except OSError as error:
        log.warning("the kernel does not answer, the speaker does", why=said(error))
    return None


def _keys(settings: Settings, log: logs.Logger) -> tuple[Key, ...]:
    """The ring's key, by MetalLB's rule. Raises KeyFileError."""
    if not settings.secrets:
        log.warning("the ring is not encrypted", why="there is no directory with a key: see --ml-secret-key-path")
        return ()
    keys = (metallb(secret(Path(settings.secrets, "secretkey"), private=True)),)
    Keyring(keys)  # loads the library
    return keys


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
