"""Attempts against real servers on a host of the lab: what counts as good, and what is told of what is not."""

from __future__ import annotations

import asyncio
import http.server
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from arpfast import attempts
from arpfast.attempts import attempt
from arpfast.checks import Checks
from arpfast.health import Check, Endpoint, State, Url
from arpfast.seconds import Seconds
from arpfast.spans import Spans
from lab import Host, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 30.0
PORT, SECURE_PORT, SILENT_PORT, FREE_PORT = 8080, 8443, 8081, 8082


class Handler(http.server.BaseHTTPRequestHandler):
    """The path says how to behave."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"], self.headers["User-Agent"].partition("/")[0]))
        match self.path.partition("?")[0].split("/")[1:]:
            case ["status", number]:
                self.send_response(int(number))
                self.end_headers()
            case ["early"]:
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
            case ["raw", *_]:
                self.wfile.write(self.server.raw)
            case ["hang"]:
                self.server.hanging.wait(DEADLINE_S)
            case ["endless"]:
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                self.server.hanging.wait(DEADLINE_S)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)
        self.asked: list[tuple[str, str, str]] = []
        self.raw = b""
        self.hanging = threading.Event()
        self.failed: list[object] = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def handle_error(self, request: object, client_address: object) -> None:
        self.failed.append(client_address)  # a client that hung up: in order

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hanging.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Scene:
    """A host, a web server on both of its loopback addresses, and a port where nobody accepts."""

    def __init__(self, host: Host, server: Server, server6: Server) -> None:
        self.host, self.server, self.server6 = host, server, server6

    def attempt(self, check: Check) -> str:
        return self.host.call(lambda: asyncio.run(attempt(check)))

    def get(self, url: str, **more: str | bool | Seconds) -> str:
        return self.attempt(check(http=Url.parse(url), **more))


def check(**what: object) -> Check:
    times = {"interval_s": Seconds(DEADLINE_S), "timeout_s": Seconds(DEADLINE_S)}
    return Check(**{"addresses": Spans.parse("192.0.2.1"), **times, **what})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def host(_lab_is_possible: None) -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host()


@pytest.fixture
def scene(host: Host) -> Iterator[Scene]:
    with host.call(Server, "127.0.0.1", PORT) as server, host.call(Server, "::1", PORT + 5) as server6:
        yield Scene(host, server, server6)


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/status/200", ""),
        ("/status/204?with=a&query", ""),
        ("/status/302", ""),
        ("/status/399", ""),
        ("/status/400", "status 400"),
        ("/status/503", "status 503"),
        ("/early", ""),
        ("/endless", ""),
        ("/nothing", "connection closed without an answer"),
    ],
)
def test_what_counts_is_the_status(scene: Scene, path: str, failure: str) -> None:
    assert scene.get(f"http://127.0.0.1:{PORT}{path}") == failure
    assert scene.server.asked == [(path, f"127.0.0.1:{PORT}", "arpfast")]


@pytest.mark.parametrize(
    ("raw", "failure"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answered, but not by HTTP/1"),
        (b"HTTP/1.1 OK\r\n\r\n", "answered, but not by HTTP/1"),
        (b"HTTP/1.1 200\r\n\r\n", ""),
        (b"HTTP/1.0 200 OK", ""),
        (b"x" * 200_000, "answered with a line of more than 8192 bytes"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 100, "status 102"),
    ],
)
def test_answers_of_all_kinds(scene: Scene, raw: bytes, failure: str) -> None:
    scene.server.raw = raw
    assert scene.get(f"http://127.0.0.1:{PORT}/raw") == failure


def test_the_name_asked_for(scene: Scene) -> None:
    assert scene.get(f"http://127.0.0.1:{PORT}/status/200", host="www.example.com") == ""
    assert scene.server.asked == [("/status/200", "www.example.com", "arpfast")]


def test_localhost_is_both_loopback_addresses(scene: Scene) -> None:
    assert scene.get(f"http://localhost:{PORT}/status/200") == ""
    assert scene.get(f"http://localhost:{PORT + 5}/status/200") == ""
    assert scene.server6.asked == [("/status/200", f"localhost:{PORT + 5}", "arpfast")]
    assert scene.get(f"http://localhost:{FREE_PORT}/") == "connection refused"


def test_a_server_that_does_not_answer_in_time(scene: Scene) -> None:
    assert scene.get(f"http://127.0.0.1:{PORT}/hang", timeout_s=Seconds(0.2)) == "no answer within 200ms"


def test_tcp(scene: Scene) -> None:
    assert scene.attempt(check(tcp=Endpoint("127.0.0.1", PORT))) == ""
    assert scene.attempt(check(tcp=Endpoint("::1", PORT + 5))) == ""
    assert scene.attempt(check(tcp=Endpoint("127.0.0.1", FREE_PORT))) == "connection refused"
    assert scene.attempt(check(tcp=Endpoint("192.0.2.99", 80))) == "network is unreachable"


def test_a_port_where_nobody_accepts(host: Host) -> None:
    """The kernel's queue of one is full, so it answers no SYN any more."""
    with host.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", SILENT_PORT))
        listening.listen(0)
        waiting = [host.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(3)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", SILENT_PORT))
            failure = host.call(
                lambda: asyncio.run(attempt(check(tcp=Endpoint("127.0.0.1", SILENT_PORT), timeout_s=Seconds(0.2))))
            )
            assert failure == "no answer within 200ms"
        finally:
            for one in waiting:
                one.close()


def test_commands(scene: Scene) -> None:
    assert scene.attempt(check(command=("true",))) == ""
    assert scene.attempt(check(command=("sh", "-c", "echo disk full >&2; exit 2"))) == "exit status 2: disk full"
    assert scene.attempt(check(command=("/nowhere",))) == "no such file or directory: /nowhere"
    failure = scene.attempt(check(command=("sleep", "86400"), timeout_s=Seconds(0.2)))
    assert failure == "took longer than 0.2 s and was killed"


@pytest.fixture(scope="module")
def certificate(host: Host, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for service.example and 127.0.0.1, signed by itself, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    names = "subjectAltName=DNS:service.example,IP:127.0.0.1"
    host.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=service.example", "-keyout", key, "-out", certificate),
            *("-addext", names, "-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
        ]
    )
    return certificate, key


@pytest.fixture
def secure(host: Host, certificate: tuple[Path, Path]) -> Iterator[Scene]:
    server = host.call(Server, "127.0.0.1", SECURE_PORT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with server:
        yield Scene(host, server, server)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes the certificate one that the system trusts."""

    def trust(certificate: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        attempts._context.cache_clear()

    yield trust
    attempts._context.cache_clear()


HTTPS = f"https://127.0.0.1:{SECURE_PORT}/status/200"


def test_https(secure: Scene, certificate: tuple[Path, Path], trusting: Callable[[Path], None]) -> None:
    trusting(certificate[0])
    assert secure.get(HTTPS) == ""
    assert secure.get(HTTPS, host="service.example") == ""
    assert secure.get(HTTPS.replace("200", "500")) == "status 500"
    assert "certificate refused: hostname mismatch" in secure.get(HTTPS, host="other.example").lower()
    assert [host for _, host, _ in secure.server.asked] == [
        f"127.0.0.1:{SECURE_PORT}",
        "service.example",
        f"127.0.0.1:{SECURE_PORT}",
    ]


def test_https_with_a_certificate_that_nobody_trusts(secure: Scene) -> None:
    attempts._context.cache_clear()
    assert secure.get(HTTPS).startswith("certificate refused: self")
    assert secure.get(HTTPS, verify=False) == ""
    assert secure.get(HTTPS, verify=False, host="other.example") == ""


def test_https_from_a_server_that_has_none(scene: Scene) -> None:
    assert scene.get(f"https://127.0.0.1:{PORT}/", verify=False).startswith("no tls: ")


def test_a_service_comes_and_goes(host: Host) -> None:
    """The whole, in real time: up, down, up."""
    asked = check(tcp=Endpoint("127.0.0.1", PORT), interval_s=Seconds(0.1), timeout_s=Seconds(0.1), fall=2)

    async def wait_for(state: State, checks: Checks) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while checks.explain(4, 0xC0000201)[0].state is not state:
                changed.clear()
                await changed.wait()

    changed = asyncio.Event()

    async def main() -> None:
        checks = Checks([asked], changed.set)
        running = asyncio.create_task(checks.run())
        await wait_for(State.FAILING, checks)
        assert checks.failing() == asked.addresses
        listening = socket.create_server(("127.0.0.1", PORT))
        await wait_for(State.PASSING, checks)
        assert not checks.failing()
        listening.close()
        await wait_for(State.FAILING, checks)
        (told,) = checks.explain(4, 0xC0000201)
        assert told.last_failure
        assert told.last_failure_unix_s is not None
        assert abs(told.last_failure_unix_s - time.time()) < DEADLINE_S
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    host.call(lambda: asyncio.run(main()))
