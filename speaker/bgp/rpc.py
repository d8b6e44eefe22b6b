"""One connection to GoBGP's daemon: its RPCs, each with a deadline, on the caller's event loop.

Loaded with the first peer, for gRPC is large. A unix socket stands for the right to speak: whoever may enter its
directory may. What is asked is never repeated in an error: it may hold a password.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from speaker.bgp.failure import DaemonError
from speaker.bgp.messages import Empty
from speaker.bgp.protobuf import Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

M = TypeVar("M", bound=Message)

SERVICE = "/api.GoBgpService/"
DEADLINE_S = 5.0
LIST_DEADLINE_S = 30.0
"""For what grows with the number of routes."""
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # no connection, and no backoff, of the one before
)
_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Connection:
    """To the daemon behind a socket; there need not be one yet."""

    def __init__(self, socket: str) -> None:
        """`socket`: a path."""
        self._channel: Any = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._channel.close()

    async def tell(self, rpc: str, request: Message, *, deadline_s: float = DEADLINE_S) -> None:
        """One request, one answer that says no more than that. Raises DaemonError."""
        await self.ask(rpc, request, Empty, deadline_s=deadline_s)

    async def ask(self, rpc: str, request: Message, kind: type[M], *, deadline_s: float = DEADLINE_S) -> M:
        """One request, one answer. Raises DaemonError."""
        call = self._channel.unary_unary(SERVICE + rpc, request_serializer=encode)
        with _saying(rpc):
            return decode(kind, await call(request, timeout=deadline_s))

    async def feed(self, rpc: str, requests: Iterable[Message], *, deadline_s: float) -> None:
        """Many requests, one answer. Raises DaemonError, and what making the requests raises; then some may have been
        carried out.
        """
        call = self._channel.stream_unary(SERVICE + rpc, request_serializer=encode)
        failed: list[Exception] = []

        def whole() -> Iterator[Message]:
            try:
                yield from requests
            except Exception as error:  # noqa: BLE001 (it is raised below: here it would look like a cancellation)
                failed.append(error)

        with _saying(rpc):
            await call(whole(), timeout=deadline_s)
        if failed:
            raise failed[0]

    async def each(
        self, rpc: str, request: Message, kind: type[M], *, deadline_s: float | None = LIST_DEADLINE_S
    ) -> AsyncIterator[M]:
        """One request, many answers, as they come. Raises DaemonError."""
        call = self._channel.unary_stream(SERVICE + rpc, request_serializer=encode)(request, timeout=deadline_s)
        answers = aiter(call)
        try:
            while True:
                with _saying(rpc):
                    answer = await anext(answers, None)
                    if answer is None:
                        return
                    told = decode(kind, answer)
                yield told
        finally:
            call.cancel()


@contextmanager
def _saying(rpc: str) -> Iterator[None]:
    """Whatever goes wrong with an RPC is a DaemonError; that the caller is cancelled is not wrong."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise DaemonError(rpc, "CANCELLED", "", lost=True) from None
    except ValueError as error:
        raise DaemonError(rpc, "", f"an answer that cannot be read: {error}", lost=False) from None
    except grpc.aio.AioRpcError as error:
        raise _told(rpc, error) from None


def _told(rpc: str, error: grpc.aio.AioRpcError) -> DaemonError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = "the BGP daemon does not answer"
    elif code is grpc.StatusCode.UNAVAILABLE:  # whose text is long, with what the system says at its end
        details = details.rpartition("error: ")[2]
    return DaemonError(rpc, code.name, details, lost=code in _LOST)
