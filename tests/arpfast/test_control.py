import asyncio
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from arpfast import control
from arpfast.control import Client, Occupied, Refused, Request, Server, Unreachable


@contextmanager
def daemon(path: Path) -> Iterator[None]:
    """A server in a thread of its own that echoes the address, and refuses `explain`."""
    listening = control.bind(str(path), None)
    started, stop = threading.Event(), threading.Event()

    async def handle(request: Request) -> Any:
        if request.command == "explain":
            raise Refused("one", "two")
        return {"said": request.address}

    async def main() -> None:
        server = Server(listening, handle)
        started.set()
        await asyncio.to_thread(stop.wait)
        await server.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def raw(path: Path, *lines: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"".join(lines))
        said = b""
        while chunk := client.recv(65536):
            said += chunk
            if said.count(b"\n") == len(lines):
                break
        return said


def test_asks_and_is_answered_more_than_once(tmp_path: Path) -> None:
    path = tmp_path / "made" / "c.sock"
    with daemon(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
        with Client(str(path)) as client:
            for said in ("192.0.2.1", "2001:db8::1"):
                assert client.ask(Request("announce", said)) == {"said": said}
            with pytest.raises(Refused) as caught:
                client.ask(Request("explain"))
            assert caught.value.lines == ("one", "two")
            assert client.ask(Request("status")) == {"said": ""}
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"null\n",
        b'{"command": "explode"}\n',
        b'{"command": "status", "address": 1}\n',
        b'{"command": "status", "more": 1}\n',
        b"\xff\n",
        b"[" * 3000 + b"\n",
        b"x" * 9000 + b"\n",
    ],
)
def test_nonsense_is_refused_and_hurts_nobody(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "c.sock"
    with daemon(path):
        assert "expected a request" in json.loads(raw(path, line))["errors"][0]
        with Client(str(path)) as client:
            assert client.ask(Request("status", "x")) == {"said": "x"}


def test_too_many_clients_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with daemon(path), ExitStack() as stack:
        for client in [stack.enter_context(Client(str(path))) for _ in range(control.CLIENTS_MAX)]:
            assert client.ask(Request("status"))
        with Client(str(path)) as one_more, pytest.raises(Refused, match="clients at once"):
            one_more.ask(Request("status"))


@pytest.mark.parametrize(
    ("said", "raised", "told"), [(b'{"errors":["no more"]}\n', Refused, "no more"), (b"", Unreachable, "went away")]
)
def test_who_is_hung_up_on_before_asking_still_reads_why(
    tmp_path: Path, said: bytes, raised: type[Exception], told: str
) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with Client(str(path)) as client:
            server, _ = listening.accept()
            server.sendall(said)
            server.close()
            with pytest.raises(raised, match=told):
                client.ask(Request("status"))


def test_a_live_daemon_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with daemon(path):
        with pytest.raises(Occupied) as caught:
            control.bind(str(path), None)
        assert caught.value.pid == os.getpid()
        assert control.holder(str(path)) == os.getpid()


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    control.bind(str(path), None).close()
    assert path.is_socket()
    with daemon(path), Client(str(path)) as client:
        assert client.ask(Request("status"))
    assert not path.exists()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"expected a socket|Connection refused"):
        control.bind(str(path), None)
    assert path.read_text() == "precious"
    assert [one.name for one in tmp_path.iterdir()] == ["c.sock"]


def test_of_many_that_start_at_once_one_wins(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    control.bind(path, None).close()
    won: list[socket.socket] = []
    lost: list[Occupied] = []

    def start() -> None:
        try:
            won.append(control.bind(path, None))
        except Occupied as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(won), len(lost)) == (1, 7)
    won[0].close()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no daemon runs here"):
        Client(str(tmp_path / "c.sock"))
    control.bind(str(tmp_path / "c.sock"), None).close()
    with pytest.raises(Unreachable, match="no daemon runs here"):
        Client(str(tmp_path / "c.sock"))


def test_a_daemon_that_dies_in_between(tmp_path: Path) -> None:
    with daemon(tmp_path / "c.sock"):
        client = Client(str(tmp_path / "c.sock"))
        assert client.ask(Request("status"))
    with client, pytest.raises(Unreachable, match="went away"):
        client.ask(Request("status"))
