"""Serving a few clients on a stream socket, none of whom is trusted: the floor under control and metrics.

Each client is one task on the event loop that reads up to a delimiter, within a size and a deadline, and writes within
a deadline. There are at most so many clients; one more is told so and hung up on. Closing ends them all at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

WRITE_S = 5.0
_NO_DESCRIPTORS_S = 0.5


class TooLong(Exception):  # noqa: N818
    """A client sent more than it may before the delimiter."""


class Stream:
    """One client's connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Serve `connection`, which is non-blocking."""
        self._connection = connection
        self._waiting = bytearray()

    async def read_until(self, delimiter: bytes, most: int, within_s: float) -> bytes | None:
        """What came up to and with `delimiter`; None at the end. Raises TooLong, TimeoutError or OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s):
            while (at := self._waiting.find(delimiter)) < 0:
                if len(self._waiting) > most:
                    raise TooLong
                chunk = await loop.sock_recv(self._connection, 4096)
                if not chunk:
                    return None
                self._waiting += chunk
        if at > most:
            raise TooLong
        taken = bytes(self._waiting[: at + len(delimiter)])
        del self._waiting[: at + len(delimiter)]
        return taken

    async def read(self) -> bytes:
        """The next bytes that come; none at the end. Raises OSError; the deadline is the caller's."""
        return await asyncio.get_running_loop().sock_recv(self._connection, 1 << 16)

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises TimeoutError or OSError."""
        async with asyncio.timeout(WRITE_S):
            await asyncio.get_running_loop().sock_sendall(self._connection, data)


class Listener:
    """Accepts clients on a bound, listening, non-blocking socket, which it owns from now on."""

    def __init__(
        self, listening: socket.socket, serve: Callable[[Stream], Awaitable[None]], clients_max: int, turned_away: bytes
    ) -> None:
        """Run `serve` for each client; OSError and TimeoutError out of it are the client's own affair."""
        self._listening = listening
        self._serve = serve
        self._clients_max = clients_max
        self._turned_away = turned_away
        self._clients: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._loop.add_reader(listening, self._accept)

    async def close(self) -> None:
        """Hang up on everybody; once this returns, nothing is left open."""
        self._loop.remove_reader(self._listening)
        if self._retry is not None:
            self._retry.cancel()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        self._listening.close()

    # A plain callback: a coroutine that is cancelled while it accepts would lose the connection it has just accepted
    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # out of descriptors or memory: trying again at once would only spin
            self._loop.remove_reader(self._listening)
            self._retry = self._loop.call_later(_NO_DESCRIPTORS_S, self._loop.add_reader, self._listening, self._accept)
            return
        connection.setblocking(False)
        if len(self._clients) >= self._clients_max:
            with contextlib.suppress(OSError), connection:
                connection.send(self._turned_away)
            return
        client = asyncio.create_task(self._client(connection))
        self._clients.add(client)
        client.add_done_callback(partial(self._gone, connection))

    def _gone(self, connection: socket.socket, client: asyncio.Task[None]) -> None:
        """Not at the end of `_client`: a task that is cancelled before its first step never runs its body."""
        self._clients.discard(client)
        connection.close()
        if not client.cancelled() and (error := client.exception()) is not None:
            self._loop.call_exception_handler({"message": "serving a client", "exception": error, "task": client})

    async def _client(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await self._serve(Stream(connection))
