"""`arpfast run` as a member of a ring, on a host of the scene: started, drained, ended and asked as its user does it.

Every member has the same settings; each finds itself among the members by its own address. Its file and its control
socket are in a directory of its own below the lab's, since the hosts share one file system.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.control import Client, Request
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.host import Host
    from lab.process import Process
    from lab.ring import Ring

ARPFAST = Path(sys.executable).with_name("arpfast")
START_S = 60.0


@cache
def knows_ring() -> bool:
    """Whether the arpfast that is built here takes part in rings at all."""
    schema = json.loads(subprocess.run([ARPFAST, "schema"], capture_output=True, check=True).stdout)
    return "ring" in schema["properties"]


class Member:
    """One daemon; `start` it."""

    def __init__(
        self,
        ring: Ring,
        host: Host,
        *,
        options: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`options` go to the section `ring` of the file (profile, election, quorum…), `settings` beside it."""
        self.host = host
        directory = ring.lab.directory / f"member-{host.name}"
        directory.mkdir(exist_ok=True)
        ring.lab.directory.chmod(0o755)  # the daemon is nobody by the time that it reads its file again
        self.path, self.control = directory / "arpfast.yaml", directory / "run" / "control.sock"
        self._members = [ring.gossip_address(other) for other in ring.hosts]
        self._addresses = list(ring.addresses)
        self.name = host.name
        self.write(options or {}, settings or {})
        self.process: Process

    def write(self, options: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Write the file anew, whole at once. JSON is YAML."""
        whole = {
            "addresses": self._addresses, "interfaces": ["eth0"],
            "ring": {"members": self._members, **options}, **settings,
        }  # fmt: skip
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(whole, indent=1))
        new.chmod(0o644)
        new.rename(self.path)

    def start(self) -> None:
        """Start it (again) and wait until it says so."""
        self.begin()
        self.process.wait_for_line('"started"', START_S)

    def begin(self) -> None:
        """Start it (again), and do not wait."""
        name, control = ("--name", self.name), ("--control", self.control)
        self.process = self.host.spawn([ARPFAST, "run", "-c", self.path, *name, *control, "--log-format", "json"])

    def stop(self) -> None:
        """Ask it to end, as systemd does, and wait until it has."""
        self.process.signal(signal.SIGTERM)
        self.process.wait(START_S)

    def kill(self) -> None:
        """Kill it where it stands."""
        self.process.kill()

    def drain(self) -> None:
        """Have it give its addresses away, and take none."""
        self.run("drain")

    def undrain(self) -> None:
        """Let it take addresses again."""
        self.run("drain", "--undo")

    def run(self, *arguments: str) -> str:
        """Run one of the other commands against it; what it says."""
        return self.host.run([ARPFAST, *arguments, "--control", self.control], timeout_s=START_S).stdout

    def ask(self, command: str, address: str = "") -> Any:
        """What its control socket says. Raises Refused and Unreachable."""
        with Client(str(self.control)) as client:
            return client.ask(msgspec.convert({"command": command, "address": address}, Request))

    def change(self, options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None) -> Any:
        """Write the file anew and have it applied; what the daemon says about that."""
        self.write(options or {}, settings or {})
        return self.ask("reload")

    def view(self) -> dict[str, dict[str, Any]]:
        """The members of the ring, by their names, as they are seen from here."""
        return {member["name"]: member for member in self.ask("status")["ring"]["members"]}

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of its log about this, with these fields."""
        lines = [json.loads(line) for line in self.process.lines if line.startswith("{")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def wait_event(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for such a line."""
        return wait_until(lambda: self.events(event, **fields), START_S, what=f"{event!r} in the log", every_ms=10)[0]


def start(members: Iterable[Member]) -> None:
    """Start them side by side, and wait until each says that it has."""
    members = list(members)
    for member in members:
        member.begin()
    for member in members:
        member.process.wait_for_line('"started"', START_S)
