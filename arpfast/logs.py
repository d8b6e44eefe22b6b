"""Lines about what happened, on standard error: for people on a terminal, one JSON object each otherwise.

Whoever reads the log may go away, stand still or run out of disk: what cannot be written at once is dropped, and the
next line that can be tells how many were. Answering never waits for a log, and never ends with it.

structlog does the work. Its console renderer is not used, and rich, which that would load if it could, is kept out of
the process: 12 MiB that the daemon has no other use for. Nothing is ever logged per packet.
"""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, MutableMapping
    from typing import TextIO

    from arpfast.config import Format, Level

    Event = MutableMapping[str, Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31"}


class Logger(Protocol):
    """What the daemon asks of a logger: an event in a few fixed words, and its facts by name."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...
    def error(self, event: str, **facts: Any) -> Any: ...


class Outlet:
    """Standard error, or another descriptor, as a stream that neither waits nor fails."""

    def __init__(self, descriptor: int = 2) -> None:
        """Nothing is lost yet."""
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self.lost = 0
        """Lines since the last that was written."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, line: str) -> None:
        """Write a line, or drop it. A pipe that has room takes at least 4096 bytes without waiting (pipe(7))."""
        text = line.encode(errors="backslashreplace")
        try:
            for at in range(0, len(text), select.PIPE_BUF):
                if self._writable.poll(0) != [(self._descriptor, select.POLLOUT)]:
                    raise BlockingIOError
                os.write(self._descriptor, text[at : at + select.PIPE_BUF])
        except OSError:
            self.lost += 1
        else:
            self.lost = 0

    def flush(self) -> None:
        """Nothing is held back."""


def colourful(stream: TextIO | Outlet) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def logger(level: Level, form: Format, stream: TextIO | Outlet | None = None) -> Logger:
    """A logger that writes to `stream` (standard error). Make a new one to change level or format."""
    stream = stream or Outlet()
    structlog = _structlog()
    human = stream.isatty() if form == "auto" else form == "human"
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        structlog.processors.format_exc_info,
        _Lost(stream),
        _Human(colourful(stream)) if human else _json,
    ]
    made: Logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
    )
    return made


def _structlog() -> Any:
    """Import structlog without rich: `structlog.dev` tries to import it, and takes a no."""
    absent = "rich" not in sys.modules
    if absent:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: PLC0415
    finally:
        if absent:
            del sys.modules["rich"]
    return structlog


class _Lost:
    """Adds how many lines were dropped before this one."""

    def __init__(self, stream: TextIO | Outlet) -> None:
        self._outlet = stream if isinstance(stream, Outlet) else None

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        if self._outlet is not None and self._outlet.lost:
            event["lines_lost"] = self._outlet.lost
        return event


def _json(_logger: Any, _method: str, event: Event) -> str:
    first = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
    return msgspec.json.encode({**first, **event}, enc_hook=str).decode()


class _Human:
    """`10:11:12 warning address is taken by another host  address=192.0.2.10 mac=02:…`."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, event: Event) -> str:
        level = event.pop("level")
        time, text, exception = event.pop("timestamp"), event.pop("event"), event.pop("exception", "")
        shown = f"{level:<7}"
        if self._colours:
            shown, time = f"\x1b[{_COLOURS.get(level, '0')}m{shown}\x1b[0m", f"\x1b[2m{time}\x1b[0m"
        facts = " ".join(f"{name}={_value(value)}" for name, value in event.items())
        return f"{time} {shown} {text}{'  ' if facts else ''}{facts}" + (f"\n{exception}" if exception else "")


def _value(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else repr(text)


def unforeseen(log: Logger) -> Callable[[AbstractEventLoop, dict[str, Any]], None]:
    """What an event loop does with an error that nobody waits for, such as in what a client asked: it is told, and
    survived.
    """

    def handle(_loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        log.error("unforeseen error", what=context["message"], exc_info=context.get("exception"))

    return handle
