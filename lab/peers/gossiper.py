"""One member of a gossip by arpfast, as a program: the twin of `tools/memberlist/main.go`, for the same hands.

It says as a line of JSON what it sees, does what lines on its standard input tell it, and ends with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict, replace

from arpfast.gossip import timing
from arpfast.gossip.keys import Key
from arpfast.gossip.node import Node
from arpfast.gossip.settings import Settings

if TYPE_CHECKING:
    from arpfast.gossip.members import Member, State


def say(event: str, **fields: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps({"event": event, **fields}, default=str) + "\n")
    sys.stdout.flush()


class Speaker:
    """Says what a ring tells."""

    def __init__(self, state: str) -> None:
        """`state` is what to tell in exchanges."""
        self._state = state.encode()

    def changed(self, member: Member, before: State | None) -> None:
        """See `Listener`."""
        fields = asdict(member) | {
            "meta": member.meta.decode(),
            "state": member.state.name,
            "versions": member.versions.hex(),
        }
        say("changed", before=before and before.name, **fields)

    def conflict(self, member: Member, address: str, port: int) -> None:
        """See `Listener`."""
        say("conflict", name=member.name, address=address, port=port)

    def refused(self, target: str, why: str) -> None:
        """See `Listener`."""
        say("refused", target=target, why=why)

    def heard(self, payload: bytes) -> None:
        """See `Listener`."""
        say("heard", bytes=len(payload), payload=payload[:100].decode())

    def state(self) -> bytes:
        """See `Listener`."""
        return self._state

    def merge(self, state: bytes, join: bool) -> None:
        """See `Listener`."""
        say("merged", state=state.decode(), join=join)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _settings() -> tuple[Settings, str]:
    parser = argparse.ArgumentParser()
    for name, default in (("name", ""), ("bind", "0.0.0.0"), ("label", ""), ("keys", ""), ("join", ""), ("state", "")):
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--advertise")
    parser.add_argument("--port", type=int, default=7946)
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--timing", default="RING", help="which of those that there are, then what differs")
    parser.add_argument("--set", default="", help="fields of the timing: probe_interval_s=0.2,…")
    said = parser.parse_args()
    chosen: timing.Timing = getattr(timing, said.timing)
    for assignment in _listed(said.set):
        field, _, value = assignment.partition("=")
        chosen = replace(chosen, **{field: type(getattr(chosen, field) or 0.0)(value)})
    keys = tuple(Key(bytes.fromhex(key)) for key in _listed(said.keys))
    settings = Settings(
        said.name, said.bind, said.port, said.advertise, None, _listed(said.join), keys, said.label, chosen,
        said.compress,
    )  # fmt: skip
    return settings, said.state


async def _obey(node: Node, command: str, *words: str) -> None:
    if command == "leave":
        say("left", in_time=await node.leave(5.0))
    elif command == "meta":
        node.set_meta(words[0].encode())
    elif command == "broadcast":
        node.broadcast(words[0], words[0].encode())
    elif command == "send":
        say("sent", known=node.send(words[1].encode(), words[0]))
    elif command == "condemn":
        say("condemned", was=node.condemn(words[0]))
    elif command == "exchange":
        say("exchanging", known=node.exchange(words[0]))
    elif command == "keys":
        node.set_keys(Key(bytes.fromhex(key)) for key in _listed(words[0]))
    elif command == "join":
        node.set_join(_listed(words[0] if words else ""))
    elif command == "show":
        members = {member.name: member.state.name for member in node.members()}
        missing = {missing.target: missing.why for missing in node.missing()}
        say("shown", members=members, missing=missing, **asdict(node.statistics().counts))


async def _main() -> None:
    settings, state = _settings()
    node = Node(settings, Speaker(state))
    await node.open()
    say("ready", port=node.me.port, address=node.me.address)
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command, *words = line.decode().strip().split(" ", 2)
        await _obey(node, command, *words)
        say("done", command=command)
    await node.close()


if __name__ == "__main__":
    asyncio.run(_main())
