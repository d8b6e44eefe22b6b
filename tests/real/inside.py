"""An event loop inside a host of the lab, in a thread of its own; and what stands between a client and its server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from lab.control_plane import ADDRESS, PORT, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from lab.control_plane import ControlPlane
    from lab.host import Host

T = TypeVar("T")
DEADLINE_S = 60.0


class Inside:
    """A loop whose sockets are a host's. `close` cancels what is under way and waits for it."""

    def __init__(self, host: Host) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = host.submit(self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def begin(self, what: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin this there; `end` ends it."""
        return self.call(lambda: self._loop.create_task(what))

    def end(self, task: asyncio.Task[Any]) -> None:
        """Cancel what was begun, and wait until it has ended."""

        async def ending() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.do(ending())

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        """Do this there, and wait for what comes of it."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(DEADLINE_S)

    def call(self, what: Callable[[], T]) -> T:
        """Call this there."""

        async def calling() -> T:
            return what()

        return self.do(calling())

    def close(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()  # TLS would first have its peer agree to close, and it may be dead or stalled
            await asyncio.sleep(0)

        self.do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._ended.result(DEADLINE_S)


class Meddler:
    """A proxy before the API server that cuts, stalls and refuses."""

    def __init__(self, inside: Inside, control: ControlPlane) -> None:
        self._inside, self._control = inside, control
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusal = b""
        self._flowing = asyncio.Event()
        self._cutting: asyncio.TimerHandle | None = None
        self.accepted = 0
        certificate, key = control.authority.sign(control.directory / "meddler", ["127.0.0.1"])
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._server_tls = ssl.create_default_context(cafile=str(control.authority.path))
        self.port = inside.do(self._open())

    async def _open(self) -> int:
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    def kubeconfig(self, of: Path) -> Path:
        """The same as another one, by way of this proxy."""
        whole = json.loads(of.read_text())
        assert whole["clusters"][0]["cluster"]["server"] == SERVER
        whole["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        path = of.with_suffix(".meddled")
        path.touch(mode=0o600)
        path.write_text(json.dumps(whole))
        return path

    def cut(self) -> None:
        """Cut every connection that there is."""
        self._inside.call(self._cut)

    def cut_every(self, seconds: float) -> None:
        """Cut every connection that there is, again and again, until it is to behave."""

        def again() -> None:
            self._cut()
            self._cutting = asyncio.get_running_loop().call_later(seconds, again)

        self._inside.call(again)

    def refuse(self, code: int, **headers: str) -> None:
        """Answer every request by this code, from now on, on connections old and new."""
        lines = [f"HTTP/1.1 {code} Refused", "Content-Length: 2", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._refusal = "\r\n".join([*lines, "", "{}"]).encode()
        self.cut()

    def stall(self) -> None:
        """Pass nothing on, and say nothing."""
        self._inside.call(self._flowing.clear)

    def behave(self) -> None:
        """Pass everything on."""
        self._refusal = b""
        self._inside.call(self._behave)

    def _behave(self) -> None:
        self._flowing.set()
        if self._cutting is not None:
            self._cutting.cancel()

    def close(self) -> None:
        """Stop listening."""

        def end() -> None:
            self._behave()
            self._server.close()
            self._cut()

        self._inside.call(end)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._refusal:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._refusal)
                await writer.drain()
            else:
                await self._pass(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(ADDRESS, PORT, ssl=self._server_tls)
        self._writers.add(ours)
        try:
            ends = [asyncio.ensure_future(self._pump(*each)) for each in ((reader, ours), (theirs, writer))]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        finally:
            self._writers.discard(ours)
            ours.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
