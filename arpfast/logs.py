"""Lines about what happened, on standard error: for people on a terminal, one JSON object each otherwise.

structlog does the work. Its console renderer is not used, and rich, which that would load if it could, is kept out of
the process: 12 MiB that the daemon has no other use for. Nothing is ever logged per packet.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import MutableMapping
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


def colourful(stream: TextIO) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def logger(level: Level, form: Format, stream: TextIO | None = None) -> Logger:
    """A logger that writes to `stream` (standard error). Make a new one to change level or format."""
    stream = stream or sys.stderr
    structlog = _structlog()
    human = stream.isatty() if form == "auto" else form == "human"
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        structlog.processors.format_exc_info,
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
