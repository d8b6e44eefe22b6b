"""One attempt of a check: connect, get, or run a program, within the time it is given; nothing is kept afterwards.

The web client is what a health check takes of HTTP/1.1 (RFC 9112) and no more: one GET a connection, of whose answer
the status is read and nothing else, so that neither a long body nor a slow one matters. A redirection is an answer
(status 200 to 399) and is not followed. TLS is the standard library's. All on the event loop, without threads: hosts
are addresses (`localhost` is both loopback addresses in turn), so there is no resolver to wait for.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 (what ssl would import for a name, when we may not be allowed to any more)
import os
import ssl
from functools import cache
from typing import TYPE_CHECKING

from arpfast import __version__, commands
from arpfast.health import Endpoint, Url

if TYPE_CHECKING:
    from arpfast.health import Check

_LINE_MAX = 8192
_INTERIM_MAX = 8
"""As many interim responses (1xx) are borne with."""


class _Bad(Exception):  # noqa: N818
    """The answer was a bad one; the text says in what."""


async def attempt(check: Check) -> str:
    """Make one attempt. Why it is a failure; empty if it is none. Takes no longer than `check.timeout_s`."""
    try:
        if not isinstance(check.command, tuple):
            async with asyncio.timeout(check.timeout_s):
                await _reach(check)
            return ""
        ended = await commands.run(check.command, check.timeout_s)
    except _Bad as bad:
        return str(bad)
    except ssl.SSLCertVerificationError as error:
        return f"certificate refused: {error.verify_message}"
    except ssl.SSLError as error:
        return f"no TLS: {error.reason or error}".lower()
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            return f"no answer within {check.timeout_s}"
        at = f": {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno) if error.errno else error}{at}".lower()
    return "" if ended.well else str(ended)


async def _reach(check: Check) -> None:
    if isinstance(check.tcp, Endpoint):
        _, writer = await _connect(check.tcp, None, None)
        writer.transport.abort()
    elif isinstance(check.http, Url):
        await _get(check.http, check.host if isinstance(check.host, str) else None, verify=check.verify)


async def _get(url: Url, host: str | None, *, verify: bool) -> None:
    secured = _context(verify) if url.secure else None
    reader, writer = await _connect(url.server, secured, host or url.server.host if secured else None)
    try:
        about = f"Host: {host or url.server}\r\nUser-Agent: arpfast/{__version__}\r\nAccept: */*\r\nConnection: close"
        writer.write(f"GET {url.target} HTTP/1.1\r\n{about}\r\n\r\n".encode("ascii"))
        for _ in range(_INTERIM_MAX):
            status = await _status(reader)
            if status >= 200:
                break
            while (await _line(reader)).strip():
                pass
        if not 200 <= status <= 399:
            raise _Bad(f"status {status}")
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int:
    line = await _line(reader)
    if not line:
        raise _Bad("connection closed without an answer")
    version, _, rest = line.partition(b" ")
    digits = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(digits) != 3 or not digits.isdigit():
        raise _Bad("answered, but not by HTTP/1")
    return int(digits)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise _Bad(f"answered with a line of more than {_LINE_MAX} bytes") from None


async def _connect(
    server: Endpoint, secured: ssl.SSLContext | None, name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    *others, last = ("127.0.0.1", "::1") if server.host == "localhost" else (server.host,)
    for host in others:
        try:
            return await asyncio.open_connection(host, server.port, ssl=secured, server_hostname=name, limit=_LINE_MAX)
        except ConnectionRefusedError:
            pass
    return await asyncio.open_connection(last, server.port, ssl=secured, server_hostname=name, limit=_LINE_MAX)


@cache
def _context(verify: bool) -> ssl.SSLContext:
    """Read from the system's certificates once: a daemon that trusts others has to be restarted."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
