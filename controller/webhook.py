"""The validating webhook: the API server asks over HTTPS whether a change of the configuration may be made.

    API server --AdmissionReview--> Webhook --list--> API server            judged by `admission.py`, which is pure
                                       ^ certificate (`trust.py`)

The objects of the configuration are listed at each question, so that what was written just before is known; nodes,
whose labels change seldom, are watched. A question that cannot be judged, since the API server does not answer us, is
answered by 503: what then becomes of the change is for the `failurePolicy` of the manifest to say.

Nobody who asks is trusted: so many connections, so many bytes, so many questions at once, so much time. Certificates
come and go without a restart: each TLS handshake shows what was last given, by way of a file in memory, for a
container's own files cannot be written, and a key has no business there.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any

import msgspec

from cluster import kinds
from cluster.backoff import Backoff
from cluster.client import ApiError
from cluster.custom import Objects
from cluster.gathering import FIELDS
from cluster.resources import Struct
from cluster.watch import watch
from cluster.watching import Watching
from controller.admission import PATHS, answer, judge, read
from controller.certificates import expiry
from controller.trust import Trust

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from arpfast.logs import Logger
    from cluster.client import Client
    from cluster.kinds import Kind
    from cluster.resources import Node
    from cluster.watching import Changed
    from controller.certificates import Material
    from controller.settings import Settings

BODY_AT_MOST = 8 << 20
"""A review has two versions of an object, each as long as a request to the API server may be: 3 MiB."""
CONNECTIONS_AT_MOST = 64
AT_ONCE = 4
HANDSHAKE_S = BODY_S = 5.0
IDLE_S = 30.0
AGAIN_S = 0.5
FINISH_S = 1.0
"""Also for who has connected, and does not ask."""
JUDGE_S = 8.0
"""Less than the API server waits."""
JSON = "application/json"


class _Listed(Struct, frozen=True):
    """A list, whose objects are decoded one by one: one that is not understood is not in force, either."""

    items: tuple[msgspec.Raw, ...] | None = ()


class Webhook:
    """Serves while `run` runs."""

    def __init__(self, client: Client, settings: Settings, log: Logger) -> None:
        """Nothing is served yet."""
        self._client, self._namespace, self._log = client, settings.namespace, log
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.trust = Trust(
            client, namespace=settings.namespace, secret=settings.webhook_secret, service=settings.webhook_service,
            deployment=settings.deployment, serve=self._show, log=log,
        )  # fmt: skip
        self._nodes: Watching[Node, Mapping[str, str]] = Watching(kinds.NODE, _labels)
        self._shown = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.expires_unix_s = 0.0
        """When the certificate does that is shown; 0: there is none."""
        self.reviews = {"allowed": 0, "refused": 0, "failed": 0}
        self.turned_away = 0

    async def run(self, listen: Callable[[], socket.socket]) -> None:
        """Until cancelled, on what `listen` makes, which may raise OSError: it is tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.trust.run())
            tasks.create_task(watch(self._client, self._nodes, _nothing, self._log))
            await self._shown.wait()
            with await self._opened(listen) as listening:
                await self._serve(listening)

    async def _opened(self, listen: Callable[[], socket.socket]) -> socket.socket:
        backoff = Backoff()
        while True:
            try:
                return listen()
            except OSError as error:
                wait_s = backoff.failed()
                self._log.warning("webhook not served", error=str(error), again_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)

    def _show(self, material: Material) -> None:
        """Show this certificate from now on."""
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, material.key + material.certificate)
            self._tls.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        self.expires_unix_s = expiry(material).timestamp()
        self._shown.set()

    async def _serve(self, listening: socket.socket) -> None:
        from aiohttp import web  # noqa: PLC0415 (a tenth of a second, which only who serves need take)

        loop = asyncio.get_running_loop()

        def made(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_AT_MOST)

        server = web.Server(
            self._handle, request_factory=made, keepalive_timeout=IDLE_S, lingering_time=BODY_S, access_log=None
        )
        self._log.info("webhook serves", port=listening.getsockname()[1])
        try:
            async with asyncio.TaskGroup() as handshakes:
                await self._accept(listening, server, handshakes)
        finally:
            await server.shutdown(FINISH_S)

    async def _accept(self, listening: socket.socket, server: web.Server, handshakes: asyncio.TaskGroup) -> None:
        """Let them in, but for those who are too many; also while they still shake hands."""
        loop = asyncio.get_running_loop()
        shaking: set[asyncio.Task[None]] = set()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # out of descriptors or memory: trying again at once would only spin
                await asyncio.sleep(AGAIN_S)
                continue
            if len(shaking) + len(server.connections) >= CONNECTIONS_AT_MOST:
                self.turned_away += 1
                connection.close()
                continue
            task = handshakes.create_task(self._shake(connection, server))
            shaking.add(task)
            task.add_done_callback(shaking.discard)

    async def _shake(self, connection: socket.socket, server: web.Server) -> None:
        """Have one who was let in served. How it fails is the client's own affair."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                server, connection, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=HANDSHAKE_S
            )
        except OSError:  # TLS errors and timeouts are some
            connection.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        kind = PATHS.get(request.path)
        if kind is None:
            return web.Response(status=404, text="expected the path of a webhook\n")
        if request.method != "POST" or request.content_type != JSON:
            return web.Response(status=415 if request.method == "POST" else 405, text=f"expected a POST of {JSON}\n")
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="expected the whole review sooner\n")
        try:
            async with asyncio.timeout(JUDGE_S), self._turns:
                return web.Response(body=await self._answer(body, kind), content_type=JSON)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        except (ApiError, OSError) as error:  # a TimeoutError is one
            self.reviews["failed"] += 1
            self._log.warning("change not judged", kind=kind.name, error=str(error) or "no answer in time")
            return web.Response(status=503, text=f"not to be judged now: {error or 'no answer in time'}\n")

    async def _answer(self, body: bytes, kind: Kind[Any]) -> bytes:
        request = read(body)
        if not self._nodes.complete:
            raise ConnectionError("the nodes are not known yet")
        nodes = {key.name: labels for key, labels in self._nodes.objects.items()}
        listed = await asyncio.gather(
            *(self._client.request("list", each, self._namespace, timeout_s=JUDGE_S) for each in FIELDS)
        )
        # In a thread: of thousands of peers, each is compared with each, and the Lease has to be renewed meanwhile.
        verdict = await asyncio.to_thread(lambda: judge(request, kind, self._namespace, _objects(listed), nodes))
        if verdict.problems:
            self.reviews["refused"] += 1
            self._log.info("change refused", kind=kind.name, operation=request.operation, problem=verdict.problems[0])
        else:
            self.reviews["allowed"] += 1
        return answer(request.uid, verdict)


def _objects(listed: list[bytes]) -> Objects:
    """All that there is, from a list of each kind."""
    fields: dict[str, Any] = {
        field: tuple(_understood(kind, body)) for (kind, field), body in zip(FIELDS.items(), listed, strict=True)
    }
    return Objects(**fields)


def _understood(kind: Kind[Any], body: bytes) -> list[Any]:
    found = []
    for raw in msgspec.json.decode(body, type=_Listed).items or ():
        try:
            found.append(msgspec.json.decode(raw, type=kind.struct))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return found


def _labels(node: Node) -> Mapping[str, str]:
    return node.metadata.labels


def _nothing(_changes: list[Changed[Mapping[str, str]]]) -> None:
    """They are looked up when they are needed."""
