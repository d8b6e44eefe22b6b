"""The command as it is used, on a lab host: `arpfast run` started, asked, changed and ended; nothing of its inside.

Tests look at it as its users do: at the wire, through `arpfast … --json` or the control socket, and in its log.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.control import Client, Request
from lab import Captured, Host, Lab, Link, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.process import Finished

ARPFAST = Path(sys.executable).parent / "arpfast"
DEADLINE_S = 20.0
"""Generous: a loaded machine of two cores must not fail a test that waits for what surely comes."""


class Daemon:
    """`arpfast run` in a host. Settings that come as a mapping are written to a file, and can be changed."""

    def __init__(
        self, host: Host, *arguments: str, settings: Mapping[str, Any] | None = None, name: str = "arpfast"
    ) -> None:
        """Start it and wait until it says so."""
        self.host = host
        directory = host.lab.directory / f"{name}-{host.number}"
        host.lab.directory.chmod(0o755)  # the daemon is nobody by the time it reads its file again
        directory.mkdir(exist_ok=True)
        self.control = str(directory / "run" / "control.sock")
        self.path = directory / "arpfast.yaml"
        self._arguments = [*arguments]
        if settings is not None:
            self.write(settings)
            self._arguments += ["-c", str(self.path)]
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        command: list[str | Path] = [
            ARPFAST,
            "run",
            "--control",
            self.control,
            "--log-format",
            "json",
            *self._arguments,
        ]
        self.process = self.host.spawn(command)
        self.process.wait_for_line('"started"', DEADLINE_S)

    def write(self, settings: Mapping[str, Any] | str) -> None:
        """Write the settings file, whole at once. JSON is YAML."""
        new = self.path.with_suffix(".new")
        new.write_text(settings if isinstance(settings, str) else json.dumps(settings))
        new.chmod(0o644)
        new.rename(self.path)

    def change(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Write the settings and have them applied; what the daemon says about that."""
        self.write(settings)
        applied: dict[str, Any] = self.ask("reload")
        return applied

    def ask(self, command: str, address: str = "") -> Any:
        """What the control socket says. Raises Refused and Unreachable."""
        with Client(self.control) as client:
            return client.ask(msgspec.convert({"command": command, "address": address}, Request))

    def run(self, *arguments: str, check: bool = True) -> Finished:
        """Run one of the other commands against this daemon."""
        return self.host.run([ARPFAST, *arguments, "--control", self.control], timeout_s=DEADLINE_S, check=check)

    def explain(self, address: str) -> dict[str, Any]:
        """All about one address."""
        explained: dict[str, Any] = self.ask("explain", address)
        return explained

    def on(self, address: str, interface: str = "eth0") -> dict[str, Any]:
        """What `explain` says about the address on one interface; empty if the interface is unknown."""
        return next((link for link in self.explain(address)["links"] if link["interface"] == interface), {})

    def wait_phase(self, address: str, phase: str = "answering", interface: str = "eth0") -> dict[str, Any]:
        """Wait until the address is in this phase."""
        wait_until(
            lambda: self.on(address, interface).get("phase") == phase,
            DEADLINE_S,
            what=f"{address} to be {phase} on {interface}",
            every_ms=10,
        )
        return self.on(address, interface)

    def link(self, interface: str = "eth0") -> dict[str, Any]:
        """What `status` says about one interface; empty if it is not used."""
        return next((link for link in self.ask("status")["links"] if link["interface"] == interface), {})

    def verdicts(self, interface: str = "eth0") -> dict[str, int]:
        """How many frames of this interface met which verdict."""
        counted: dict[str, int] = self.link(interface).get("verdicts", {})
        return counted

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of the log about this, with these fields."""
        lines = [json.loads(line) for line in self.process.lines if line.startswith("{")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def wait_event(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for such a line."""
        return wait_until(lambda: self.events(event, **fields), DEADLINE_S, what=f"{event!r} in the log")[0]

    def reload(self) -> None:
        """As an administrator does: SIGHUP."""
        self.process.signal(signal.SIGHUP)

    def stop(self) -> int:
        """As systemd does: SIGTERM. Its exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def sent(kind: type | tuple[type, ...], **fields: object) -> Callable[[Captured], bool]:
    """Holds of a frame that left by the captured interface, is of this kind, and has these fields."""
    return _such(kind, fields, outgoing=True)


def received(kind: type | tuple[type, ...], **fields: object) -> Callable[[Captured], bool]:
    """Holds of a frame that came in by the captured interface, is of this kind, and has these fields."""
    return _such(kind, fields, outgoing=False)


def _such(kind: type | tuple[type, ...], fields: Mapping[str, object], *, outgoing: bool) -> Callable[[Captured], bool]:
    def holds(frame: Captured) -> bool:
        said = frame.decoded
        return (
            frame.outgoing is outgoing
            and isinstance(said, kind)
            and all(getattr(said, name) == value for name, value in fields.items())
        )

    return holds


def pair(lab: Lab) -> tuple[Link, Link]:
    """A peer, which is a real kernel with addresses of its own, and the host for arpfast, on one cable."""
    peer, host = lab.host("peer"), lab.host("arpfast")
    near = peer.link(
        host, addresses=["192.0.2.1/24", "2001:db8::1/64"], peer_addresses=["192.0.2.2/24", "2001:db8::2/64"]
    )
    assert near.peer
    return near, near.peer
