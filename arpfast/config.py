"""What the user wishes: one YAML file and the command line, checked as a whole and then immutable.

The structs below are the file's format: `decode` reads it by them, `schema` describes it to editors from them, and
docs/configuration.md is tested against them. A file is taken whole or refused whole, with every problem that it has;
so a reload can never leave half of a change behind.

The command line *adds* addresses and interfaces to the file's and *overrides* its single values. Both are kept apart
until `combine`, because a reload reads the file again while the command line stays what it was.
"""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
import msgspec.inspect
from msgspec import Meta, field

from arpfast.decode import BAD, Reader, decode, describe
from arpfast.health import Check, Endpoint, Program, Url
from arpfast.listen import Listen
from arpfast.ring.settings import RingSettings  # noqa: TC001 (msgspec reads the annotations)
from arpfast.seconds import Seconds
from arpfast.spans import Span, Spans
from arpfast.yamltree import SIZE_MAX, Mapping, Node, Problem, Scalar, Sequence, Unreadable, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTROL_PATH = "/run/arpfast/control.sock"
INTERFACE = r"^!?([^\s!/][^\s/]{0,62}|[0-9A-Fa-f.:]{2,45}/[0-9]{1,3})$"
"""A name, a glob or a prefix, or any of these after '!'; no name has a slash."""
PROBLEMS_SHOWN = 25

Probe = Literal["quick", "rfc", "off"]
Conflict = Literal["defend", "yield", "report"]
Backend = Literal["auto", "xdp", "xdp-generic", "tc", "raw"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "human", "json"]
Local = Literal["lo", "owner"]


class ConfigError(Exception):
    """What the user has to change before arpfast can do as told: lines of the form `source:line: field: what`."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        """Take all problems of one source (a file's path, or `command line`)."""
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__(str(self))

    def lines(self) -> list[str]:
        """One line a problem, in the order of the file; a very long list is cut short and says so."""
        lines = [
            _printable(": ".join(filter(None, (f"{self.source}:{line}" if line else self.source, name, message))))
            for line, name, message in self.problems[:PROBLEMS_SHOWN]
        ]
        if (more := len(self.problems) - PROBLEMS_SHOWN) > 0:
            lines.append(f"{self.source}: and {more} more like these")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _printable(text: str) -> str:
    """What was read from a file must neither break the line nor command the terminal."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Announce(msgspec.Struct, frozen=True):
    """How neighbours are told."""

    repeat: Annotated[int, Meta(ge=1, le=10, description="How often each address is announced when it comes up.")] = 2
    rate: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Most frames sent per second, announcements and probes together.")
    ] = 20_000
    refresh_s: Annotated[
        Seconds | None,
        Meta(
            description="Announce every address again once in this time, spread evenly.",
            extra={"least_s": 1, "most_s": 86_400},
        ),
    ] = field(default=Seconds(240), name="refresh")
    probe: Annotated[
        Probe,
        Meta(
            description="Ask whether an address is taken before it is first used: three probes 100 ms apart (quick), "
            "with the times of RFC 5227 and RFC 4862 (rfc), or not at all (off)."
        ),
    ] = "quick"


class RateLimit(msgspec.Struct, frozen=True):
    """Token buckets for what is asked; what exceeds them is dropped and counted."""

    per_mac: Annotated[int, Meta(ge=1, le=100_000_000, description="Answers per second for one asking MAC.")] = 1_000
    burst: Annotated[int, Meta(ge=1, le=100_000_000, description="Answers at once for one asking MAC.")] = 2_000
    total: Annotated[int, Meta(ge=1, le=100_000_000, description="Answers per second for all together.")] = 1_000_000


class Hook(msgspec.Struct, frozen=True):
    """One command that is told of every change."""

    command: Annotated[Program, Meta(description="Run without a shell; gets the event on standard input.")]
    timeout_s: Annotated[
        Seconds,
        Meta(description="Killed after this time, with its children.", extra={"least_s": 0.1, "most_s": 3600}),
    ] = field(default=Seconds(10), name="timeout")


class Log(msgspec.Struct, frozen=True):
    """What is told on standard error."""

    level: Annotated[Level, Meta(description="The least important line that is written.")] = "info"
    format: Annotated[Format, Meta(description="Lines for people or JSON; auto is human on a terminal, else json.")] = (
        "auto"
    )


class Config(msgspec.Struct, frozen=True):
    """The whole file; every field may be left out."""

    addresses: Annotated[
        Spans, Meta(description="Own addresses: answered as the host's own (NDP override flag set).")
    ] = Spans()
    proxy: Annotated[
        Spans, Meta(description="Addresses answered on behalf of somebody else (NDP override flag clear).")
    ] = Spans()
    interfaces: Annotated[
        tuple[Annotated[str, Meta(pattern=INTERFACE, extra={"what": "an interface name, glob or prefix"})], ...],
        Meta(
            description="Names or globs of the interfaces to answer on; without any: every Ethernet-like interface "
            "that is up and not part of a bridge or bond."
        ),
    ] = ()
    announce: Annotated[Announce, Meta(description="How neighbours are told of an address.")] = Announce()
    conflict: Annotated[
        Conflict,
        Meta(
            description="When another host uses one of our addresses: claim it again, at most every 10 s (defend), "
            "stop answering for it (yield), or only tell (report)."
        ),
    ] = "defend"
    rate_limit: Annotated[RateLimit | None, Meta(description="Limits on answers; without it there are none.")] = None
    backend: Annotated[
        Backend,
        Meta(
            description="Who answers: the kernel, in the network driver (xdp), in the stack as if there (xdp-generic) "
            "or at tc ingress (tc), or the daemon from its sockets (raw), as it does where the kernel cannot. auto "
            "takes xdp where that is known to do no harm, else tc."
        ),
    ] = "auto"
    restart_s: Annotated[
        Seconds | None,
        Meta(
            description="For how long the kernel goes on answering once the daemon has ended, so that a restart or an "
            "upgrade loses nothing; not in a ring, whose members succeed at once.",
            extra={"least_s": 1, "most_s": 300},
        ),
    ] = field(default=None, name="restart")
    ring: Annotated[
        RingSettings | None,
        Meta(description="Other hosts that answer for the same addresses, one for each, and succeed one another."),
    ] = None
    checks: Annotated[
        tuple[Check, ...], Meta(description="What must work on this host for it to own some addresses of the ring.")
    ] = ()
    on_change: Annotated[
        tuple[Hook, ...], Meta(description="Commands that are told when an address or a member of the ring changes.")
    ] = ()
    local: Annotated[
        Local | None,
        Meta(
            description="Have the kernel take what arrives for the own addresses: they are put on "
            "lo, on all members (lo) or on their owner only (owner)."
        ),
    ] = None
    control: Annotated[
        str,
        Meta(
            pattern=r"^/[^\0]{1,106}$",
            description="Unix socket for status, explain, announce and reload.",
            extra={"what": "an absolute path of at most 107 bytes"},
        ),
    ] = CONTROL_PATH
    metrics: Annotated[Listen | None, Meta(description="Serve /metrics, /healthz and /readyz here.")] = None
    log: Annotated[Log, Meta(description="What is written to standard error.")] = Log()


class Overrides(msgspec.Struct, frozen=True):
    """What the command line says; None and empty mean that it does not say."""

    addresses: Spans = Spans()
    interfaces: tuple[str, ...] = ()
    probe: Probe | None = None
    backend: Backend | None = None
    control: str | None = None
    log_format: Format | None = None


def combine(config: Config, overrides: Overrides) -> Config:
    """The file as changed by the command line: addresses and interfaces are added, single values replaced."""
    replace = msgspec.structs.replace
    return replace(
        config,
        addresses=config.addresses | overrides.addresses,
        interfaces=tuple(dict.fromkeys(config.interfaces + overrides.interfaces)),
        announce=replace(config.announce, probe=overrides.probe or config.announce.probe),
        backend=overrides.backend or config.backend,
        control=overrides.control or config.control,
        log=replace(config.log, format=overrides.log_format or config.log.format),
    )


def load(path: str) -> Config:
    """Read and check a file. Raises ConfigError, also when it cannot be opened."""
    try:
        with Path(path).open("rb") as file:
            source = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(path, [Problem(0, "", f"cannot be read: {said.lower()}")]) from None
    return read(source, path)


def read(source: bytes, name: str) -> Config:
    """Check the text of a file that is called `name` in messages. Raises ConfigError. An empty file is all defaults."""
    problems: list[Problem] = []
    try:
        node = parse(source)
    except Unreadable as error:
        raise ConfigError(name, [error.problem]) from None
    config = decode(node or Mapping(0, []), _format(), "", READERS, problems)
    if problems:
        raise ConfigError(name, problems)
    assert isinstance(config, Config)
    if config.ring is not None:
        for member in config.ring.members:
            if ip_address(member) in config.addresses:
                problem = f"expected addresses that no host has, but {member} is a member of the ring"
                raise ConfigError(name, [Problem(0, "addresses", problem)])
        if config.restart_s is not None:
            problem = "expected no restart beside a ring: there another member succeeds, and two would answer"
            raise ConfigError(name, [Problem(0, "restart", problem)])
    elif config.checks:
        problem = "expected a ring as well: without another member there is nowhere to go"
        raise ConfigError(name, [Problem(0, "checks", problem)])
    return config


@cache
def _format() -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(Config)


def addresses(texts: Iterable[str], source: str = "command line") -> Spans:
    """The addresses given as arguments. Raises ConfigError with all that is wrong; the same address twice is not."""
    problems: list[Problem] = []
    spans = [span for text in texts if (span := _span(Scalar(0, text, quoted=False), text, problems)) is not None]
    if problems:
        raise ConfigError(source, problems)
    return Spans(spans)


_NEVER_OURS = {
    "unspecified": Spans.parse("0.0.0.0/8", "::"),
    "loopback": Spans.parse("127.0.0.0/8", "::1"),
    "multicast": Spans.parse("224.0.0.0/4", "ff00::/8"),
    "broadcast": Spans.parse("255.255.255.255"),
    "IPv4-mapped": Spans.parse("::ffff:0.0.0.0/96"),
}
_LONGEST = 100
"""More characters than any span can be written with."""
_FORBIDDEN = Spans(span for spans in _NEVER_OURS.values() for span in spans)


def _span(node: Node, path: str, problems: list[Problem]) -> Span | None:
    try:
        if not isinstance(node, Scalar) or len(node.text) > _LONGEST:
            raise ValueError(f"expected an address, a range (first-last) or a prefix, not {describe(node)}")
        span = Span.parse(node.text)
    except ValueError as error:
        problems.append(Problem(node.line, path, str(error)))
        return None
    if _FORBIDDEN.overlaps(span):
        which = next(name for name, spans in _NEVER_OURS.items() if spans.overlaps(span))
        problem = f"expected unicast addresses that a host can have, not {node.text}: it holds {which} addresses"
        problems.append(Problem(node.line, path, problem))
        return None
    return span


def _faultless(node: Sequence) -> Spans | None:
    """A whole list at once; None if there is anything wrong in it. What, is then found out item by item."""
    texts = node.texts()
    if texts is None or max(map(len, texts), default=0) > _LONGEST:
        return None
    try:
        listed = list(map(Span.parse, texts))
    except ValueError:
        return None
    spans = Spans(listed)
    once = spans.size == sum(span.last - span.first + 1 for span in listed)
    return spans if once and not spans & _FORBIDDEN else None


class _Listed(NamedTuple):
    span: Span
    at: int
    line: int


def _read_spans(node: Node, path: str, _extra: dict[str, Any], problems: list[Problem]) -> Any:
    if not isinstance(node, Sequence):
        problems.append(
            Problem(node.line, path, f"expected a list of addresses, ranges or prefixes, not {describe(node)}")
        )
        return BAD
    if (faultless := _faultless(node)) is not None:
        return faultless
    before = len(problems)
    found: list[_Listed] = []
    for at, item in enumerate(node):
        if (span := _span(item, f"{path}[{at}]", problems)) is not None:
            found.append(_Listed(span, at, item.line))
    reaching: _Listed | None = None  # the one so far that reaches furthest up
    for one in sorted(found):
        if reaching and reaching.span.version == one.span.version and one.span.first <= reaching.span.last:
            early, late = (reaching, one) if reaching.at < one.at else (one, reaching)
            problem = f"expected each address once, but {late.span} overlaps {early.span} on line {early.line}"
            problems.append(Problem(late.line, f"{path}[{late.at}]", problem))
        if not reaching or (reaching.span.version, reaching.span.last) < (one.span.version, one.span.last):
            reaching = one
    assert len(problems) > before
    return BAD


def _read_seconds(node: Node, path: str, extra: dict[str, Any], problems: list[Problem]) -> Any:
    least, most = Seconds(extra["least_s"]), Seconds(extra["most_s"])
    what = f"a duration from {least} to {most}, such as 100ms, 240s or 10m{extra['or_off']}"
    try:
        seconds = Seconds.parse(node.text if isinstance(node, Scalar) else "")
    except ValueError:
        seconds = Seconds(-1)
    if not least <= seconds <= most:
        problems.append(Problem(node.line, path, f"expected {what}, not {describe(node)}"))
        return BAD
    return seconds


def _reader_of(kind: type[Listen | Endpoint | Url]) -> Reader:
    """For what is one piece of text that its type can read."""

    def read(node: Node, path: str, extra: dict[str, Any], problems: list[Problem]) -> Any:
        try:
            return kind.parse(node.text if isinstance(node, Scalar) else "")
        except ValueError as error:
            problems.append(Problem(node.line, path, f"{error}{extra['or_off']}, not {describe(node)}"))
            return BAD

    return Reader(read, {"type": "string", "pattern": kind.PATTERN}, str)


READERS = {
    Spans: Reader(
        _read_spans,
        {
            "type": "array",
            "items": {"type": "string", "pattern": r"^[0-9a-fA-F:.]+( *- *[0-9a-fA-F:.]+|/[0-9]{1,3})?$"},
            "examples": [["192.0.2.10", "192.0.2.20-192.0.2.29", "2001:db8::/112"]],
        },
        lambda spans: [str(span) for span in spans],
    ),
    Seconds: Reader(
        _read_seconds,
        {"anyOf": [{"type": "string", "pattern": Seconds.PATTERN}, {"type": "number", "exclusiveMinimum": 0}]},
        str,
    ),
    Listen: _reader_of(Listen),
    Endpoint: _reader_of(Endpoint),
    Url: _reader_of(Url),
}
