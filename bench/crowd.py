"""Many light members of a gossip in one process: they answer, probe and pass on, and have nothing to say of themselves.

python bench/crowd.py JOIN ADDRESS...      # a member on each address, which looks for the others at JOIN
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from arpfast.gossip.node import Node
from arpfast.gossip.settings import Settings
from arpfast.ring.standing import META

if TYPE_CHECKING:
    from arpfast.gossip.members import Member, State


class Indifferent:
    """Wants to know nothing."""

    def changed(self, member: Member, before: State | None) -> None:
        """See `Listener`."""

    def conflict(self, member: Member, address: str, port: int) -> None:
        """See `Listener`."""

    def refused(self, target: str, why: str) -> None:
        """See `Listener`."""

    def heard(self, payload: bytes) -> None:
        """See `Listener`."""

    def state(self) -> bytes:
        """See `Listener`."""
        return b""

    def merge(self, state: bytes, join: bool) -> None:
        """See `Listener`."""


async def _main(join: str, *addresses: str) -> None:
    nodes = [Node(Settings(address, address, join=(join,), meta=META), Indifferent()) for address in addresses]
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(node.run())
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
