"""The control socket: how `arpfast status` and its sisters talk to the daemon that runs.

One JSON object a line, both ways, on a unix socket with mode 0600. A connection may ask any number of times
(`status --watch` does). The daemon's side runs on its event loop and assumes nothing good of its clients: requests are
bounded in size, clients in number, and each has a deadline for sending a request and for taking its answer.

Who may open the socket may do all that it offers; there is no further check.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from arpfast.serving import Listener, Stream, TooLong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from arpfast.privileges import Account

REQUEST_MAX = 4096
REPLY_MAX = 64 << 20
CLIENTS_MAX = 16
IDLE_S = 60.0
DEADLINE_S = 5.0


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client asks."""

    command: Literal["status", "explain", "announce", "reload", "drain", "undrain", "timeline"]
    address: str = ""
    """Or, with a `namespace`, what a Service is called."""
    namespace: str = ""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the daemon says: a result, or why there is none, one line each."""

    result: Any = None
    errors: list[str] = []


class Refused(Exception):  # noqa: N818
    """The daemon understood and will not; the lines say why."""

    def __init__(self, *lines: str) -> None:
        """Keep the lines for the client."""
        super().__init__("\n".join(lines))
        self.lines = lines


class Occupied(OSError):  # noqa: N818
    """Another daemon answers on this control socket."""

    def __init__(self, path: str, pid: int) -> None:
        """Name the socket and who holds it."""
        super().__init__(errno.EADDRINUSE, f"another daemon (pid {pid}) already answers on {path}")
        self.pid = pid


class Unreachable(Exception):  # noqa: N818
    """No daemon could be asked."""


def holder(path: str) -> int | None:
    """The pid of the daemon that listens on `path`; None when nobody does. Other failures are OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(DEADLINE_S)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except BlockingIOError:  # a full backlog: somebody is there, and busy
            return 0
        pid, _, _ = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


def bind(path: str, owner: Account | None) -> socket.socket:
    """Listen on `path` as `owner`'s (None: our own), making the directory if need be.

    The socket that a dead daemon left is replaced; Occupied if the daemon lives, OSError for all else.
    """
    parent = Path(path).parent
    if not parent.is_dir():
        parent.mkdir(mode=0o755, parents=True)
        if owner is not None:
            os.chown(parent, owner.uid, owner.gid)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _alone(path + ".lock"):
            if (pid := holder(path)) is not None:
                raise Occupied(path, pid)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISSOCK(Path(path).lstat().st_mode):
                    raise FileExistsError(errno.EEXIST, "expected a socket, not another kind of file", path)
                Path(path).unlink()
            before = os.umask(0o177)
            try:
                listening.bind(path)
            finally:
                os.umask(before)
            if owner is not None:
                os.chown(path, owner.uid, owner.gid)
            listening.listen(CLIENTS_MAX)
    except BaseException:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Hold the lock file `path`: of two daemons that start at once, the second must see the first one's socket."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                ours = os.path.samestat(os.fstat(lock), os.stat(path))  # noqa: PTH116
            except FileNotFoundError:
                ours = False  # its last holder removed it while we waited
            if ours:
                try:
                    yield
                finally:
                    os.unlink(path)  # noqa: PTH108
                return
        finally:
            os.close(lock)


class Server:
    """Answers on a bound socket by way of `handle`, which returns what JSON can say or raises Refused."""

    def __init__(self, listening: socket.socket, handle: Callable[[Request], Awaitable[Any]]) -> None:
        """Take over `listening` and accept clients from now on."""
        self._path: str = listening.getsockname()
        self._handle = handle
        turned_away = _encode(Reply(errors=[f"expected at most {CLIENTS_MAX} clients at once, not one more"]))
        self._listener = Listener(listening, self._serve, CLIENTS_MAX, turned_away)

    async def close(self) -> None:
        """Hang up on all clients and remove the socket, where we still may."""
        await self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108

    async def _serve(self, client: Stream) -> None:
        while True:
            try:
                line = await client.read_until(b"\n", REQUEST_MAX, IDLE_S)
            except TooLong:
                await client.write(_encode(Reply(errors=[f"expected a request of at most {REQUEST_MAX} bytes"])))
                return
            if line is None:
                return
            try:
                request = msgspec.json.decode(line, type=Request)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                await client.write(_encode(Reply(errors=[f"expected a request: {error}"])))
                return
            try:
                reply = Reply(result=await self._handle(request))
            except Refused as refusal:
                reply = Reply(errors=list(refusal.lines))
            await client.write(_encode(reply))


def _encode(reply: Reply) -> bytes:
    return msgspec.json.encode(reply, enc_hook=str) + b"\n"


class Client:
    """Asks the daemon; a context manager. Blocking, with a deadline for everything."""

    def __init__(self, path: str) -> None:
        """Connect to the socket at `path`. Raises Unreachable, saying what to do about it."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(DEADLINE_S * 2)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                raise Unreachable(f"no daemon runs here: nobody listens on {path}; see 'arpfast run'") from None
            if isinstance(error, PermissionError):
                raise Unreachable(f"not allowed to talk to the daemon on {path}; try as root") from None
            raise Unreachable(f"{path}: {(error.strerror or str(error)).lower()}") from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, request: Request) -> Any:
        """The daemon's result. Raises Refused with its reasons, Unreachable if it went away or does not answer."""
        try:
            with contextlib.suppress(BrokenPipeError):  # who is turned away may not be heard, and is told why
                self._socket.sendall(msgspec.json.encode(request) + b"\n")
            line = self._lines.readline(REPLY_MAX)
        except TimeoutError:
            raise Unreachable(f"the daemon on {self._path} does not answer") from None
        except OSError as error:
            raise Unreachable(f"the daemon on {self._path} went away: {(error.strerror or '').lower()}") from None
        try:
            reply = msgspec.json.decode(line, type=Reply)
        except msgspec.DecodeError:
            raise Unreachable(f"the daemon on {self._path} went away") from None
        if reply.errors:
            raise Refused(*reply.errors)
        return reply.result
