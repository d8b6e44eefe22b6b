"""The API server: where it is, by which right we speak to it, one request, one stream of bytes.

The official client finds the server and what we identify ourselves with (in a Pod, or by a kubeconfig), and makes the
TLS context of it. Requests are aiohttp's own, with bytes in and out: by the client's typed methods they take twice as
long, and its models of 10 000 Services five times the memory. It is imported with the first connection only.

Errors: `ApiError` is what the server said, OSError that it could not be reached or did not answer in time. Nothing is
tried again here, except that who is not known (401) identifies itself anew, once: tokens and certificates are rotated.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from cluster.refusal import MESSAGE_AT_MOST, ApiError, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    from cluster.kinds import Kind

__all__ = ["APPLY_PATCH", "JSON", "MERGE_PATCH", "NAME", "REQUEST_S", "ApiError", "Client"]

REQUEST_S = 10.0
CONNECT_S = 5.0
CONNECTIONS = 64
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TIMES = 10, 5, 3
"""A host that went away without a word is noticed in 25 s, even by a watch that waits."""
ANEW_EVERY_S = 5.0
FORMER_AT_MOST = 1
"""Sessions of a former identity: what is under way by them, watches above all, may end."""

NAME = "arpfast"
"""As the API server calls us in `managedFields`: by the User-Agent."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""JSON is YAML."""


class Client:
    """One API server, as one of its users. Made by `connect`."""

    def __init__(self, kubeconfig: str | None) -> None:
        """Not connected yet."""
        self._kubeconfig = kubeconfig
        self._configuration: Any = None
        self._session: aiohttp.ClientSession | None = None
        self._extra: dict[str, Any] = {}
        self._anew = asyncio.Lock()
        self._identified_s = 0.0
        self._former: list[aiohttp.ClientSession] = []
        self.requests: dict[tuple[str, int], int] = {}
        """How many, by verb and status code; 0 is for those that got no answer."""

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> Client:
        """Find the API server by a kubeconfig, or, without one, as a Pod does. OSError or ValueError say what is
        missing; whether the server is there is not asked.
        """
        client = cls(kubeconfig)
        await client._identify()
        return client

    async def close(self) -> None:
        """Break off what is under way."""
        for session in (self._session, *self._former):
            if session is not None:
                await session.close()

    async def _identify(self) -> None:
        import aiohttp  # noqa: PLC0415 (with the official client 0.4 s and 50 MiB, which only the cluster needs)
        from kubernetes.aio import client as official  # noqa: PLC0415
        from kubernetes.aio import config  # noqa: PLC0415
        from kubernetes.aio.client.rest import RESTClientObject  # noqa: PLC0415

        configuration = official.Configuration()
        # Python 3.13 would refuse certificates of authorities that name no key identifier, as older clusters have.
        configuration.disable_strict_ssl_verification = True
        where = self._kubeconfig or "the Pod's ServiceAccount"
        try:
            if self._kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                _check(self._kubeconfig)
                await config.load_kube_config(
                    self._kubeconfig, client_configuration=configuration, persist_config=False
                )
            context = RESTClientObject(configuration).ssl_context
        except config.ConfigException as error:
            raise ValueError(f"{where}: {str(error)[:1].lower()}{str(error)[1:].rstrip('.')}") from None
        except ssl.SSLError as error:
            raise ValueError(f"{where}: its certificates or its key cannot be used: {error}") from None
        except (AttributeError, KeyError, TypeError) as error:  # each field is taken for what it should be
            raise ValueError(f"{where}: expected a kubeconfig: {error}") from None
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context, socket_factory=_socket)
        session, self._session = (
            self._session,
            aiohttp.ClientSession(
                connector=connector,
                headers={"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": NAME},
                skip_auto_headers=["Content-Type"],
            ),
        )
        self._configuration = configuration
        self._extra = {}
        if configuration.tls_server_name:
            self._extra["server_hostname"] = configuration.tls_server_name
        if configuration.proxy:
            self._extra["proxy"] = configuration.proxy
        self._identified_s = time.monotonic()
        if session is not None:  # what is under way may end
            self._former.append(session)
            while len(self._former) > FORMER_AT_MOST:
                await self._former.pop(0).close()

    async def _authorization(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token} if token else {}

    async def request(
        self,
        verb: str,
        kind: Kind[Any],
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout_s: float = REQUEST_S,
    ) -> bytes:
        """Ask for one thing, by one of RBAC's verbs; the answer's bytes."""
        async with self._exchange(
            verb, kind, namespace, name, subresource, query, body, content_type, total_s=timeout_s
        ) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(
        self, kind: Kind[Any], namespace: str = "", *, query: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Watch: bytes as they come. TimeoutError, if none come for `silence_s`."""
        async with self._exchange(
            "watch", kind, namespace, "", "", query, None, JSON, total_s=None, silence_s=silence_s
        ) as response:
            yield response.content.iter_any()

    @asynccontextmanager
    async def _exchange(
        self,
        verb: str,
        kind: Kind[Any],
        namespace: str,
        name: str,
        subresource: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        *,
        total_s: float | None,
        silence_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # noqa: PLC0415

        resource = f"{kind.resource}/{subresource}" if subresource else kind.resource
        asked = " ".join(filter(None, (verb, resource, "/".join(filter(None, (namespace, name))))))
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S, sock_read=silence_s)
        code = 0
        try:
            for attempt in (1, 2):
                assert self._session is not None
                identified_s = self._identified_s
                headers = await self._authorization()
                if body is not None:
                    headers["Content-Type"] = content_type
                async with self._session.request(
                    _METHODS[verb],
                    self._configuration.host + kind.path(namespace, name, subresource),
                    params=query,
                    data=body,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                    **self._extra,
                ) as response:
                    code = response.status
                    if code == 401 and attempt == 1:
                        await response.read()
                    elif code >= 300:
                        raise _error(asked, code, response.headers, await response.read())
                    else:
                        yield response
                        return
                await self._identify_anew(identified_s)
        except TimeoutError:  # aiohttp's are, too
            raise TimeoutError(f"{asked}: no answer in time") from None
        except aiohttp.ClientConnectorError as error:
            raise OSError(error.errno, f"{asked}: {error.strerror}") from None
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{asked}: {error or type(error).__name__}") from None
        finally:
            self.requests[verb, code] = self.requests.get((verb, code), 0) + 1

    async def _identify_anew(self, identified_s: float) -> None:
        """Once for all that were refused together, and not for each request of one who has no right any more."""
        async with self._anew:
            if self._identified_s == identified_s and time.monotonic() - identified_s >= ANEW_EVERY_S:
                await self._identify()


_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


def _check(path: str) -> None:
    """Raises ValueError, if it holds no mapping: for the official client a missing file is an empty one, and any other
    a mapping.
    """
    try:
        found = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {str(error.strerror).lower()}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: expected YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a kubeconfig: a mapping with clusters, users and contexts")


def _error(asked: str, code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        status = Status(message=body[:MESSAGE_AT_MOST].decode(errors="replace").strip())
    return ApiError(asked, code, status.reason, status.message, retry_after_s(headers.get("Retry-After", "")))


def retry_after_s(text: str) -> float:
    """How long to wait by `Retry-After` (RFC 9110 §10.2.3): seconds, or a date; 0 for what is neither."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _socket(info: Any) -> socket.socket:
    """A socket that asks a silent server whether it is still there."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TIMES)
    silence_ms = 1000 * (KEEPALIVE_IDLE_S + KEEPALIVE_EVERY_S * KEEPALIVE_TIMES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence_ms)
    return made
