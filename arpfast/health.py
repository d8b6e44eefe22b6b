"""Whether what stands behind some addresses works: what to ask, how often, and what a row of answers means. Pure.

A `Check` is the setting, `Health` the state machine behind it; `checks` asks. The first answer decides alone, for
until then nothing is known that a single answer could contradict: a host that starts with a dead service is not to be
taken for a good one for `fall` intervals. After that it takes `fall` bad answers in a row to fail and `rise` good ones
to pass again.

Names are not resolved: a check must not depend on a resolver, whose failure it would report as that of the service.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from arpfast.seconds import Seconds
from arpfast.spans import Spans  # noqa: TC001 (msgspec reads the annotations)

Program = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[^\0]+$", extra={"what": "a text without NUL"})], ...],
    Meta(min_length=1, extra={"what": "a list of a program and its arguments"}),
]
"""How settings name one."""

_HOST = r"\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost"
_TIMES = {"least_s": 0.1, "most_s": 3600}


def _host(text: str) -> str:
    """The host without its brackets. Raises ValueError for an address that is none."""
    bare = text.strip("[]")
    if bare != "localhost" and isinstance(ip_address(bare), IPv6Address) != text.startswith("["):
        raise ValueError
    return bare


class Endpoint(msgspec.Struct, frozen=True):
    """A TCP port of a host, which is an IP address or `localhost`."""

    host: str
    port: int

    PATTERN = rf"^({_HOST}):([0-9]{{1,5}})$"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `127.0.0.1:80`, `[::1]:80` or `localhost:80`; ValueError if it is none of these."""
        found = re.fullmatch(cls.PATTERN, text)
        try:
            if found is None or not 1 <= int(found[2]) <= 65535:
                raise ValueError
            return cls(_host(found[1]), int(found[2]))
        except ValueError:
            raise ValueError("expected an address and a port such as 127.0.0.1:80, [::1]:80 or localhost:80") from None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Url(msgspec.Struct, frozen=True):
    """What to get from a web server whose address is known. No password has a place in it."""

    secure: bool
    """https, not http."""
    server: Endpoint
    target: str
    """Path and query, visible ASCII."""

    PATTERN = rf"^(https?)://({_HOST})(?::([0-9]{{1,5}}))?(/[!-\"$-~]*)?$"

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read `http://127.0.0.1:8080/health`; ValueError if it is no such URL."""
        found = re.fullmatch(cls.PATTERN, text) if len(text) <= 2000 else None
        try:
            if found is None:
                raise ValueError
            secure = found[1] == "https"
            port = int(found[3] or (443 if secure else 80))
            if not 1 <= port <= 65535:
                raise ValueError
            return cls(secure, Endpoint(_host(found[2]), port), found[4] or "/")
        except ValueError:
            raise ValueError(
                "expected a URL such as http://127.0.0.1:8080/health, its host an IP address or localhost"
            ) from None

    def __str__(self) -> str:
        return f"http{'s' if self.secure else ''}://{self.server}{self.target}"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to ask, and the addresses that are only worth having here as long as the answer is good."""

    addresses: Annotated[Spans, Meta(description="Addresses that this host is to hold only while the check passes.")]
    http: (
        Annotated[Url, Meta(description="Passes when a GET is answered with a status from 200 to 399.")] | UnsetType
    ) = UNSET
    tcp: Annotated[Endpoint, Meta(description="Passes when a TCP connection is accepted.")] | UnsetType = UNSET
    command: Annotated[Program, Meta(description="Passes when this program ends with status 0.")] | UnsetType = UNSET
    host: (
        Annotated[
            str,
            Meta(
                pattern=r"^(?=.{1,253}$)([0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}$",
                description="With http: the name asked for, in the Host field and, with https, in TLS.",
                extra={"what": "a host name"},
            ),
        ]
        | UnsetType
    ) = UNSET
    verify: Annotated[bool, Meta(description="With https: whether the certificate has to be valid.")] = True
    interval_s: Annotated[
        Seconds, Meta(description="How often to ask; somewhat irregularly, so that checks spread.", extra=_TIMES)
    ] = field(default=Seconds(2), name="interval")
    timeout_s: Annotated[
        Seconds, Meta(description="An answer that takes longer is a bad one; at most the interval.", extra=_TIMES)
    ] = field(default=Seconds(1), name="timeout")
    rise: Annotated[int, Meta(ge=1, le=100, description="Good answers in a row that make a failing check pass.")] = 2
    fall: Annotated[int, Meta(ge=1, le=100, description="Bad answers in a row that make a passing check fail.")] = 3

    ONE_OF: ClassVar = ("http", "tcp", "command")

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        given = [name for name in self.ONE_OF if getattr(self, name) is not UNSET]
        if len(given) != 1:
            raise ValueError(f"expected one of http, tcp and command, not {' and '.join(given) or 'none of them'}")
        if self.host is not UNSET and self.http is UNSET:
            raise ValueError(f"expected host only with http, not with {given[0]}")
        if not self.verify and not (isinstance(self.http, Url) and self.http.secure):
            raise ValueError("expected verify: false only with an https URL: elsewhere there is nothing to verify")
        if self.timeout_s > self.interval_s:
            raise ValueError(f"expected a timeout of at most the interval, {self.interval_s}, not {self.timeout_s}")

    def __str__(self) -> str:
        """What is asked, without what may be confidential: a query, a program's arguments."""
        if isinstance(self.http, Url):
            return f"http {str(self.http).partition('?')[0]}"
        if isinstance(self.tcp, Endpoint):
            return f"tcp {self.tcp}"
        assert not isinstance(self.command, UnsetType)
        return f"command {self.command[0]}"


class State(StrEnum):
    """What is known of a check."""

    UNKNOWN = "unknown"
    """Nothing has been answered yet."""
    PASSING = "passing"
    FAILING = "failing"


class Health:
    """The state of one check. Time is an argument, of any clock."""

    def __init__(self, now: float) -> None:
        """Nothing is known."""
        self.state = State.UNKNOWN
        self.since_s = now
        """When the state was entered."""
        self.against = 0
        """Answers in a row, the last one included, that contradict the state."""

    def take(self, good: bool, check: Check, now: float) -> bool:
        """Take one answer; whether the state has changed by it."""
        answered = State.PASSING if good else State.FAILING
        if answered is self.state:
            self.against = 0
            return False
        self.against += 1
        needed = {State.UNKNOWN: 1, State.PASSING: check.fall, State.FAILING: check.rise}[self.state]
        if self.against < needed:
            return False
        self.state, self.since_s, self.against = answered, now, 0
        return True
