"""The lab as a whole: it makes hosts and switches, and takes everything down again.

A lab needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN), and nothing of the machine is changed but, for a named lab, some
files in /run/netns. How things vanish, also when the creator is killed, is told in `keeper.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab.host import Host
from lab.switch import Switch

if TYPE_CHECKING:
    from types import TracebackType

NAMES = Path("/run/netns")


def obstacle() -> str | None:
    """Why this machine or user can have no lab, in one line; None if nothing is in the way."""
    if sys.platform != "linux":
        return f"a lab needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "a lab needs root, to make network namespaces"
    try:
        with Lab() as lab:
            lab.host().link(lab.host())
    except OSError as error:
        return f"a lab needs network namespaces and veth pairs: {error}"
    return None


class Lab:
    """A network of one's own; a context manager.

    `named` gives each host a name that people can use (`ip netns exec NAME…`): as it is called, so only one such lab
    with the same names can exist at a time.
    """

    def __init__(self, *, named: bool = False) -> None:
        """An empty lab."""
        self.named = named
        self.hosts: list[Host] = []
        self._indexes = count(101)
        self._links = count(1)
        self._directory: Path | None = None
        self._keeper_socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = str(Path(__file__).with_name("keeper.py"))
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", program], stdin=theirs.fileno(), start_new_session=True
            )

    def host(self, name: str | None = None) -> Host:
        """A new host, linked to nothing."""
        host = Host(self, name or f"host{len(self.hosts)}", len(self.hosts) + 1)
        return self._keep(host)

    def switch(self, name: str | None = None, *, snooping: bool = False, querier: bool = False) -> Switch:
        """A new switch. `snooping` alone floods groups still; with a `querier` only ports that joined get them."""
        switch = Switch(
            self, name or f"switch{len(self.hosts)}", len(self.hosts) + 1, snooping=snooping, querier=querier
        )
        self._keep(switch)
        return switch

    def _keep(self, host: Host) -> Host:
        self.hosts.append(host)
        socket.send_fds(self._keeper_socket, [b"namespace"], [host.namespace.file])
        if self.named:
            path = NAMES / host.name
            self._keeper_socket.send(f"name {path}".encode())
            host.namespace.name(path)
        return host

    @property
    def directory(self) -> Path:
        """A directory that vanishes with the lab: control sockets, logs, configuration."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="lab-"))
            self._keeper_socket.send(f"directory {self._directory}".encode())
        return self._directory

    def new_index(self) -> int:
        """An interface index that no other cable of this lab has."""
        return next(self._indexes)

    def new_mac(self, host: Host) -> str:
        """A MAC that tells the host's number and counts the lab's cable ends."""
        number = next(self._links)
        return f"02:00:00:{host.number:02x}:{number >> 8:02x}:{number & 255:02x}"

    def close(self) -> None:
        """Take everything down; waits until the last process of it is gone."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._keeper.wait)
            stack.callback(self._keeper_socket.close)
            for host in self.hosts:
                stack.callback(host.close)
        self.hosts.clear()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take everything down."""
        self.close()
