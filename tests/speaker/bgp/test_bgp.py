"""The shell around it: what it costs, and what it does while there is no daemon, or an old one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from cluster.config import Peer
from speaker.bgp import messages
from speaker.bgp.bgp import TOO_OLD, Bgp
from speaker.bgp.protobuf import encode
from speaker.bgp.wish import Attributes, Neighbour, Wish
from tests.arpfast.virtual import passing, virtually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOR = Peer(name="tor", my_asn=64512, asn=64513, address="192.0.2.1", nodes=frozenset())


class Log:
    """Says when it was warned."""

    def __init__(self) -> None:
        self.warned = asyncio.Event()

    def debug(self, event: str, **facts: Any) -> None: ...

    info = debug

    def warning(self, event: str, **facts: Any) -> None:
        self.warned.set()


@asynccontextmanager
async def running(socket: Path, log: Log | None = None) -> AsyncIterator[tuple[Bgp, asyncio.Event]]:
    changed = asyncio.Event()
    bgp = Bgp(str(socket), node="n1", log=log or Log(), changed=changed.set)
    bgp.interfaces({})
    task = asyncio.create_task(bgp.run())
    try:
        yield bgp, changed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_grpc_is_not_loaded_before_there_is_a_peer() -> None:
    code = "import sys, speaker.bgp.bgp, speaker.bgp.refusals; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_nothing_is_looked_for_without_peers(tmp_path: Path) -> None:
    async def tell() -> None:
        async with running(tmp_path / "api.sock") as (bgp, _):
            bgp.want(Wish())
            await passing(60)
            assert bgp.statistics().failures == 0
            assert not bgp.sessions()
            assert bgp.trouble == ""

    virtually(tell())


def test_what_an_earlier_one_has_left_is_seen_to(tmp_path: Path) -> None:
    """There is a mark, so there may be peers that nobody wants any more."""

    async def tell() -> None:
        (tmp_path / "api.sock.spoken").touch()
        log = Log()
        async with running(tmp_path / "api.sock", log) as (bgp, _), asyncio.timeout(20):
            bgp.want(Wish())
            await log.warned.wait()
            assert bgp.statistics().failures == 1
            assert bgp.trouble == "", "nobody misses it"

    asyncio.run(tell())


def test_a_daemon_that_is_not_there_is_said_of_every_session(tmp_path: Path) -> None:
    async def tell() -> None:
        async with running(tmp_path / "api.sock") as (bgp, changed), asyncio.timeout(20):
            bgp.want(Wish({"tor": Neighbour(TOR)}))
            assert bgp.sessions()["tor"].state == "idle"
            await changed.wait()
            assert "unavailable" in bgp.trouble
            assert bgp.sessions()["tor"].why == bgp.trouble
            await bgp.leave()  # there is nobody to tell

    asyncio.run(tell())


def test_an_old_daemon_is_said_so(tmp_path: Path) -> None:
    """One that has never heard of this API."""

    async def tell() -> None:
        server: Any = grpc.aio.server()
        server.add_insecure_port(f"unix:{tmp_path / 'api.sock'}")
        await server.start()
        try:
            async with running(tmp_path / "api.sock") as (bgp, changed), asyncio.timeout(20):
                bgp.want(Wish({"tor": Neighbour(TOR)}))
                while TOO_OLD not in bgp.trouble:
                    changed.clear()
                    await changed.wait()
        finally:
            await server.stop(None)

    asyncio.run(tell())


def test_a_wish_that_cannot_be_written_is_said_so_and_the_next_one_counts(tmp_path: Path) -> None:
    """It must not end in silence, nor end those who answer ARP."""

    async def tell() -> None:
        server: Any = grpc.aio.server()
        server.add_generic_rpc_handlers((Swallowing(),))
        server.add_insecure_port(f"unix:{tmp_path / 'api.sock'}")
        await server.start()
        try:
            async with running(tmp_path / "api.sock") as (bgp, changed), asyncio.timeout(20):
                bgp.want(Wish({"tor": Neighbour(TOR)}, {"foo": {"tor": Attributes()}}))
                while "'foo' does not appear to be" not in bgp.trouble:
                    changed.clear()
                    await changed.wait()
                bgp.want(Wish({"tor": Neighbour(TOR)}, {"192.0.2.9/32": {"tor": Attributes()}}))
                await bgp.wait_settled()
                assert bgp.statistics().routes == 1
                while bgp.trouble:
                    changed.clear()
                    await changed.wait()
        finally:
            await server.stop(None)

    asyncio.run(tell())


class Swallowing(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A daemon that takes everything, and remembers nothing."""

    def service(self, call: Any) -> Any:
        name = call.method.rpartition("/")[2]
        if name == "WatchEvent":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        if name.startswith("List"):
            return grpc.unary_stream_rpc_method_handler(self._list)
        if name == "AddPathStream":
            return grpc.stream_unary_rpc_method_handler(self._feed)
        return grpc.unary_unary_rpc_method_handler(self._get if name == "GetBgp" else self._take)

    async def _watch(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b""
        await asyncio.Event().wait()

    async def _list(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        for nothing in tuple[bytes, ...]():
            yield nothing

    async def _feed(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        async for _ in requests:
            pass
        return b""

    async def _get(self, _: bytes, context: Any) -> bytes:
        return encode(messages.GetBgpResponse(messages.Global(64512, "192.0.2.100")))

    async def _take(self, _: bytes, context: Any) -> bytes:
        return b""
