"""Members of one gossip in the lab's hosts: ours and hashicorp/memberlist's, started and asked in one way.

The Go programs are built when first wanted, each version from its own go.mod and one source, into the cache of
`native.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from lab.golang import TOOLS, Program, system_version
from lab.native import CACHE, HERE
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.host import Host
    from lab.process import Process

SOURCE = TOOLS / "memberlist" / "main.go"
METALLB = "0.5.1"
"""The version that MetalLB pins."""
DEADLINE_S = 30.0


def newest() -> str:
    """The newest version of memberlist that the system's Go can build, of those below tools/. Raises OSError."""
    versions = [module.parent.name.removeprefix("memberlist-") for module in TOOLS.glob("memberlist-*/go.mod")]
    usable = [version for version in versions if _program(version).needs <= system_version()]
    return max(usable, key=lambda version: tuple(map(int, version.split("."))))


def _program(version: str) -> Program:
    return Program("memberlist", f"memberlist-{version}", sources=(SOURCE,), folder=CACHE)


@cache
def memberlist(version: str) -> Path:
    """The program for this version. Raises OSError when there is no Go, CalledProcessError when it refuses."""
    return _program(version).path()


class Gossiper:
    """One member that runs in a host; `ours` and `theirs` make one."""

    def __init__(self, host: Host, name: str, command: Sequence[str | Path], *, go: bool) -> None:
        """Start it, and wait until it says so."""
        self.host, self.name, self.go = host, name, go
        reading, self._commands = os.pipe()
        try:
            self.process: Process = host.spawn(command, stdin=reading)
        finally:
            os.close(reading)
        self.process.wait_for_line('"ready"', DEADLINE_S)

    def tell(self, *words: str) -> None:
        """Have it do something, and wait until it is done."""
        before = len(self.events("done"))
        os.write(self._commands, (" ".join(words) + "\n").encode())
        what = f"{self.name} to {words[0]}"
        wait_until(lambda: len(self.events("done")) > before, DEADLINE_S, what=what, every_ms=10)

    def close(self) -> None:
        """End it without a word."""
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1
        self.process.kill()

    kill = close

    def freeze(self) -> None:
        """As SIGSTOP does."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """As SIGCONT does."""
        self.process.signal(signal.SIGCONT)

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it has said, of one kind or all."""
        lines = [json.loads(line) for line in self.process.lines if line.startswith("{")]
        return [line for line in lines if event in {None, line["event"]}]

    def states(self) -> dict[str, str]:
        """What it believes of each other member by now: ALIVE, SUSPECT, DEAD or LEFT; Go has the last two as one."""
        states: dict[str, str] = {}
        for event in self.events():
            if event["event"] in {"changed", "join", "leave", "update"}:
                states[event["name"]] = "DEAD" if event["event"] == "leave" else event.get("state") or "ALIVE"
        return {
            name: state if isinstance(state, str) else "ALIVE" for name, state in states.items() if name != self.name
        }

    def addresses(self) -> dict[str, str]:
        """By name, as it has last said."""
        return {event["name"]: event["address"] for event in self.events() if "address" in event and "name" in event}

    def wait_states(self, wanted: dict[str, str]) -> None:
        """Wait until it believes this of these."""
        wait_until(
            lambda: wanted.items() <= self.states().items(), DEADLINE_S, every_ms=20,
            what=f"{self.name} to see {wanted}",
        )  # fmt: skip

    def wait_event(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for it to say something with these fields."""

        def such() -> list[dict[str, Any]]:
            return [said for said in self.events(event) if fields.items() <= said.items()]

        return wait_until(such, DEADLINE_S, every_ms=20, what=f"{self.name} to say {event} with {fields}")[-1]

    def show(self) -> dict[str, Any]:
        """Ask one of ours for its view and what it counts."""
        self.tell("show")
        return self.events("shown")[-1]


def ours(host: Host, name: str, *options: str) -> Gossiper:
    """One of arpfast's, with the options of `gossiper.py`."""
    command = [sys.executable, "-P", str(HERE / "peers" / "gossiper.py"), "--name", name, *options]
    return Gossiper(host, name, command, go=False)


def theirs(host: Host, name: str, version: str, *options: str) -> Gossiper:
    """One of hashicorp/memberlist's, with the options of `main.go`."""
    return Gossiper(host, name, [memberlist(version), "-name", name, *options], go=True)
