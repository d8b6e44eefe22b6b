"""Streams that we open: one request, one answer or none, each within its deadline, and not too many at once."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from arpfast.gossip.endpoints import family_of
from arpfast.gossip.messages import Ack, Cause, Err, Ping, WireError, encode
from arpfast.gossip.outgoing import Delivery, Exchange, StreamPing
from arpfast.gossip.streams import PushPull, Reading, StreamMessage, framed, user

if TYPE_CHECKING:
    from collections.abc import Callable

    from arpfast.gossip.members import Endpoint
    from arpfast.gossip.outgoing import Dial
    from arpfast.gossip.protocol import Protocol
    from arpfast.gossip.settings import Listener

DIALS_AT_MOST = 64
CHUNK = 1 << 16


class Dialler:
    """Carries out the protocol's dials, as tasks of the event loop."""

    def __init__(self, protocol: Protocol, listener: Listener, tcp_timeout_s: float, turn: Callable[[], None]) -> None:
        """`turn` is called when the protocol may have something new to say."""
        self._protocol, self._listener = protocol, listener
        self._tcp_timeout_s = tcp_timeout_s
        self._turn = turn
        self._tasks: dict[asyncio.Task[None], Dial] = {}

    def start(self, dial: Dial) -> None:
        """Begin. One more than DIALS_AT_MOST, or the same exchange once more, is not begun: it counts as failed."""
        if len(self._tasks) >= DIALS_AT_MOST or (isinstance(dial, Exchange) and dial in self._tasks.values()):
            self._protocol.counts.dials_refused += 1
            return
        task = asyncio.create_task(self._dial(dial))
        self._tasks[task] = dial
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = {"message": "dialling a member", "exception": error, "task": task}
            asyncio.get_running_loop().call_exception_handler(message)

    async def close(self) -> None:
        """Hang up on everybody."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dial(self, dial: Dial) -> None:
        protocol = self._protocol
        try:
            if isinstance(dial, Exchange):
                await self.exchange(dial.endpoint, join=False)
            elif isinstance(dial, StreamPing):
                ping = encode(Ping(dial.sequence, dial.name, source_node=protocol.me.name))
                told = await self._converse(dial.endpoint, ping, dial.within_s)
                if isinstance(told, Ack) and told.sequence == dial.sequence:
                    protocol.answered(dial.sequence, asyncio.get_running_loop().time())
                    self._turn()
            elif isinstance(dial, Delivery):
                await self._converse(dial.endpoint, user(dial.payload), self._tcp_timeout_s, answer=False)
        except (OSError, TimeoutError, WireError) as error:
            protocol.counts.streams_failed += 1
            if isinstance(error, WireError):
                protocol.refuse(error)

    async def exchange(self, endpoint: Endpoint, *, join: bool) -> None:
        """Exchange the whole view with who is there. Raises OSError, TimeoutError or WireError, and counts that."""
        protocol = self._protocol
        try:
            mine = protocol.state_message(self._listener.state(), join=join)
            told = await self._converse(endpoint, mine, self._tcp_timeout_s)
            if isinstance(told, Err):
                raise OSError(f"refused by the other side: {told.error!r:.200}")
            if not isinstance(told, PushPull):
                raise WireError(Cause.MALFORMED, f"expected the other side's view, not {type(told).__name__}")
        except (OSError, TimeoutError, WireError):
            protocol.counts.exchanges_failed += 1
            raise
        protocol.counts.exchanges += 1
        take_over(protocol, self._listener, told, asyncio.get_running_loop().time(), join=join)
        self._turn()

    async def _converse(
        self, endpoint: Endpoint, message: bytes, within_s: float, *, answer: bool = True
    ) -> StreamMessage | None:
        wire = self._protocol.wire
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s):
            with socket.socket(family_of(endpoint[0]), socket.SOCK_STREAM) as connection:
                connection.setblocking(False)
                await loop.sock_connect(connection, endpoint)
                await loop.sock_sendall(connection, framed(wire, message))
                if not answer:
                    return None
                reading = Reading(wire, reply=True)
                while True:
                    chunk = await loop.sock_recv(connection, CHUNK)
                    if not chunk and not reading.held:
                        raise ConnectionResetError("the other side hung up without an answer")
                    if (told := reading.feed(chunk)) is not None:
                        return told


def take_over(protocol: Protocol, listener: Listener, theirs: PushPull, now: float, *, join: bool) -> None:
    """Learn from the other half of an exchange, and have the listener learn."""
    if protocol.merge(theirs, now) and theirs.user_state:
        listener.merge(theirs.user_state, join)
