"""What systemd wants to be told (sd_notify(3)), in the twenty lines that it takes. Without systemd, nothing happens."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Sends states to the manager that started us, if any; never fails, for the daemon works without being heard."""

    def __init__(self) -> None:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC, and take them from the environment of what we might start."""
        path = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if path else None
        meant_for_us = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        watched = self._socket is not None and meant_for_us and microseconds.isdigit()
        self.watchdog_s = int(microseconds) / 1e6 if watched else None
        """Within this time systemd wants to hear `watchdog`; None if it does not care."""

    def ready(self, status: str) -> None:
        """The work has begun, or begun anew after `reloading`."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """All is well."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return  # a manager that cannot be told will find out by its own timer
