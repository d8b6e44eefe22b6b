"""A plain client of the Kubernetes API, for tests: JSON in, JSON out, over HTTP/1.1 (RFC 9110, RFC 9112).

Resources are named as kubectl names them: `services`, `Service`, `ipaddresspools.metallb.io`. What there is is asked of
the API server itself, and again when a name is unknown, so that custom resources need no word here. It is deliberately
not the client that the product uses: it judges that.

May be used by many threads: a connection is one request's at a time, and then kept for the next.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import time
import weakref
from collections import deque
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]

TIMEOUT_S = 30.0
_AGAIN_MS = 100
JSON, MERGE_PATCH, APPLY_PATCH = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STALE = (http.client.BadStatusLine, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)


class ApiError(Exception):
    """The API server refused: its HTTP status, and the reason and message of its `metav1.Status`."""

    def __init__(self, attempted: str, status: int, body: bytes) -> None:
        """What it said to what was attempted."""
        try:
            told = json.loads(body)
        except ValueError:
            told = {"message": body.decode(errors="replace")}
        self.status, self.reason, self.message = status, told.get("reason", ""), told.get("message", "")
        super().__init__(f"{attempted}: {status} {self.reason}: {self.message}")


class Connections:
    """To one server; those that nobody uses are kept, and closed when nobody knows this any more."""

    def __init__(self, connect: Callable[[], socket.socket], tls: ssl.SSLContext, server: str) -> None:
        """`connect` opens a TCP connection; `server` is the name that the certificate has to have."""
        self._connect, self._tls, self._server = connect, tls, server
        self._idle: deque[http.client.HTTPConnection] = deque()
        weakref.finalize(self, _close, self._idle)

    def open(self, timeout_s: float) -> http.client.HTTPConnection:
        """A new one, for the caller to close. Raises OSError."""
        connection = http.client.HTTPConnection(self._server, timeout=timeout_s)
        plain = self._connect()
        try:
            plain.settimeout(timeout_s)
            # The head and the body are two writes: the second would wait for the first's acknowledgement, for 40 ms.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self._server)
        except BaseException:
            plain.close()
            raise
        return connection

    def take(self) -> http.client.HTTPConnection | None:
        """One that was kept, if there is any. It may be dead by now."""
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Keep it for the next who asks."""
        self._idle.append(connection)


def _close(idle: deque[http.client.HTTPConnection]) -> None:
    for connection in idle:
        connection.close()


@dataclass(frozen=True)
class Resource:
    """A resource that the API server has."""

    name: str
    kind: str
    group: str
    version: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def root(self) -> str:
        """Where its group is."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, name: str = "", namespace: str | None = None, subresource: str = "") -> str:
        """Of one object, or of all in a namespace, or of all."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join(part for part in (*parts, self.name, name, subresource) if part)


class Api:
    """The API, as somebody with this token."""

    def __init__(self, connections: Connections, token: str) -> None:
        """Nothing is asked yet."""
        self._connections, self._token = connections, token
        self._resources: tuple[Resource, ...] = ()

    def acting_as(self, token: str) -> Api:
        """The same API as somebody else."""
        return Api(self._connections, token)

    # Objects

    def create(self, thing: Json) -> Json:
        """Create the object; what it then is. A namespaced one without `metadata.namespace` comes into `default`."""
        return self.call("POST", self._of(thing).path(namespace=_namespace(thing)), thing)

    def replace(self, thing: Json, subresource: str = "") -> Json:
        """Put the object in the place of the one that has its name; with `resourceVersion`, only of that version."""
        path = self._of(thing).path(thing["metadata"]["name"], _namespace(thing), subresource)
        return self.call("PUT", path, thing)

    def apply(self, thing: Json, owner: str = "lab") -> Json:
        """Create it, or make it so (server-side apply, by force)."""
        path = self._of(thing).path(thing["metadata"]["name"], _namespace(thing))
        return self.call("PATCH", f"{path}?{urlencode({'fieldManager': owner, 'force': 'true'})}", thing, APPLY_PATCH)

    def get(self, resource: str, name: str, namespace: str = "default") -> Json:
        """One object."""
        return self.call("GET", self.resource(resource).path(name, namespace))

    def list(self, resource: str, namespace: str | None = None, **query: str) -> list[Json]:
        """All objects, or those of one namespace; `query` as in `labelSelector="app=web"`."""
        found: list[Json] = self.call("GET", _with(self.resource(resource).path(namespace=namespace), query))["items"]
        return found

    def patch(
        self, resource: str, name: str, change: Json, namespace: str = "default", *, subresource: str = ""
    ) -> Json:
        """Change these fields (JSON merge patch, RFC 7386: null removes); what it then is."""
        return self.call("PATCH", self.resource(resource).path(name, namespace, subresource), change, MERGE_PATCH)

    def delete(self, resource: str, name: str, namespace: str = "default") -> None:
        """Delete it at once; nothing is wrong if it is not there."""
        try:
            self.call("DELETE", f"{self.resource(resource).path(name, namespace)}?gracePeriodSeconds=0")
        except ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    @contextmanager
    def watch(
        self, resource: str, namespace: str | None = None, *, for_s: int = 20, **query: str
    ) -> Iterator[Iterator[Json]]:
        """Events, as {"type": "ADDED", "object": …}, from what there is now until the server ends it after `for_s`."""
        path = self.resource(resource).path(namespace=namespace)
        with closing(self._connections.open(for_s + TIMEOUT_S)) as connection:
            asked = _with(path, {"watch": "1", "timeoutSeconds": str(for_s), **query})
            response = _request(connection, "GET", asked, self._headers())
            if response.status != http.client.OK:
                raise ApiError(f"watch {path}", response.status, response.read())
            yield (json.loads(line) for line in response)

    # What there is

    def resource(self, name: str) -> Resource:
        """By its plural or its kind, with its group after a dot where that is not plain. Raises LookupError."""
        plain, _, group = name.partition(".")
        for _ in range(2):
            for found in self._resources:
                if plain in {found.name, found.kind} and group in {"", found.group}:
                    return found
            self.discover()
        raise LookupError(f"expected a resource of the API, not {name!r}")

    def discover(self) -> tuple[Resource, ...]:
        """Ask what there is."""
        found = []
        for root in ("/api", "/apis"):
            for group in self.call("GET", root, accept=_DISCOVERY)["items"]:
                for version in group["versions"]:
                    found += [
                        Resource(
                            each["resource"], each["responseKind"]["kind"], group["metadata"].get("name", ""),
                            version["version"], each["scope"] == "Namespaced", frozenset(each["verbs"]),
                        )
                        for each in version.get("resources", ())
                    ]  # fmt: skip
        self._resources = tuple(found)
        return self._resources

    def _of(self, thing: Json) -> Resource:
        group, _, version = thing["apiVersion"].rpartition("/")
        for _ in range(2):
            for found in self._resources:
                if (found.kind, found.group, found.version) == (thing["kind"], group, version):
                    return found
            self.discover()
        raise LookupError(f"expected a kind of the API, not {thing['apiVersion']} {thing['kind']}")

    # Requests

    def call(self, method: str, path: str, body: Json | None = None, kind: str = JSON, *, accept: str = JSON) -> Json:
        """Any request; what is answered. Raises ApiError, OSError, http.client.HTTPException."""
        told: Json = json.loads(self._exchange(method, path, body, kind, accept))
        return told

    def text(self, path: str) -> str:
        """What is answered to GET where that is no JSON: `/readyz`, `/metrics`."""
        return self._exchange("GET", path, None, JSON, "text/plain").decode()

    def _exchange(self, method: str, path: str, body: Json | None, kind: str, accept: str) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers(accept) | ({} if data is None else {"Content-Type": kind})
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            status, answer = self._once(method, path, headers, data)
            if status < http.client.BAD_REQUEST:
                return answer
            if status != http.client.TOO_MANY_REQUESTS or time.monotonic() >= end_s:
                raise ApiError(f"{method} {path}", status, answer)
            select.poll().poll(_AGAIN_MS)  # it is only just making room for a custom resource, or busy

    def _once(self, method: str, path: str, headers: dict[str, str], data: bytes | None) -> tuple[int, bytes]:
        kept = self._connections.take()
        try:
            connection = kept or self._connections.open(TIMEOUT_S)
            response = _request(connection, method, path, headers, data)
        except _STALE:
            if kept is None:
                raise
            connection = self._connections.open(TIMEOUT_S)  # the server went and came since
            response = _request(connection, method, path, headers, data)
        try:
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)
        return response.status, answer

    def _headers(self, accept: str = JSON) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept": accept}


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], data: bytes | None = None
) -> http.client.HTTPResponse:
    try:
        connection.request(method, path, data, headers)
        return connection.getresponse()
    except BaseException:
        connection.close()
        raise


def _with(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _namespace(thing: Json) -> str:
    return str(thing["metadata"].get("namespace", "default"))
