from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Self

from arpfast.spans import Spans

class Verdict(IntEnum):
    REPLY = 0
    CONFLICT = 1
    TAKEN = 2
    CONFIRMED = 3
    LOOPED = 4
    TENTATIVE = 5
    NOT_OURS = 6
    NOT_FOR_US = 7
    NOT_REQUEST = 8
    PROXY_PROBE = 9
    OTHER_PROTOCOL = 10
    TAGGED = 11
    SHORT = 12
    NOT_ARP = 13
    NOT_ND = 14
    BAD_HOP_LIMIT = 15
    BAD_CODE = 16
    BAD_LENGTH = 17
    BAD_CHECKSUM = 18
    BAD_OPTION = 19
    MANY_OPTIONS = 20
    BAD_SENDER = 21
    BAD_TARGET = 22
    BAD_DESTINATION = 23
    UNEXPECTED_SOURCE_OPTION = 24
    BAD_SOLICITED_FLAG = 25
    NO_ROOM = 26
    LIMITED = 27

MEANINGS: dict[Verdict, str]

class Kind(IntEnum):
    OWN = 1
    PROXY = 2
    TENTATIVE = 3

class Outcome(NamedTuple):
    verdict: Verdict
    reply: bytes | None
    version: int
    mac: bytes
    address: int

class Table:
    def __new__(cls, own: Spans | None = None, proxy: Spans | None = None, tentative: Spans | None = None) -> Self: ...
    @property
    def nbytes(self) -> int: ...
    def words(self) -> bytes: ...
    def find(self, address: IPv4Address | IPv6Address) -> Kind | None: ...

class Link:
    def __new__(
        cls,
        mac: bytes,
        *,
        router: bool = False,
        link_local: bytes | None = None,
        kin: Iterable[bytes] = (),
        nonce: bytes = b"",
    ) -> Self: ...
    @property
    def mac(self) -> bytes: ...

class Guard:
    def __new__(
        cls, *, each: int = 0, each_burst: int = 1, total: int = 0, total_burst: int = 1, seed: int = 0
    ) -> Self: ...
    def admit(self, mac: bytes, now_ns: int) -> bool: ...

def answer(table: Table, link: Link, frame: bytes, *, capacity: int | None = None) -> Outcome: ...
def announcement(link: Link, address: IPv4Address | IPv6Address) -> bytes: ...
def probe(link: Link, address: IPv4Address | IPv6Address) -> bytes: ...
def question(link: Link, address: IPv4Address | IPv6Address, target: IPv4Address | IPv6Address) -> bytes: ...
