from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Self

from arpfast.spans import Spans

class Verdict(IntEnum):
    REPLY = 0
    CONFLICT = 1
    TAKEN = 2
    RIVAL = 3
    CONFIRMED = 4
    LOOPED = 5
    TENTATIVE = 6
    NOT_OURS = 7
    NOT_FOR_US = 8
    NOT_REQUEST = 9
    PROXY_PROBE = 10
    OTHER_PROTOCOL = 11
    TAGGED = 12
    SHORT = 13
    NOT_ARP = 14
    NOT_ND = 15
    BAD_HOP_LIMIT = 16
    BAD_CODE = 17
    BAD_LENGTH = 18
    BAD_CHECKSUM = 19
    BAD_OPTION = 20
    MANY_OPTIONS = 21
    BAD_SENDER = 22
    BAD_TARGET = 23
    BAD_DESTINATION = 24
    UNEXPECTED_SOURCE_OPTION = 25
    BAD_SOLICITED_FLAG = 26
    NO_ROOM = 27
    LIMITED = 28
    FROZEN = 29

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
    @staticmethod
    def union(tables: Iterable[Table]) -> Table: ...
    @property
    def empty(self) -> bool: ...
    @property
    def settled(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def words(self) -> bytes: ...
    def find(self, address: IPv4Address | IPv6Address) -> Kind | None: ...

class Members:
    def __new__(cls, macs: Iterable[bytes] = ()) -> Self: ...

class Link:
    def __new__(
        cls,
        mac: bytes,
        *,
        router: bool = False,
        link_local: bytes | None = None,
        kin: Iterable[bytes] = (),
        nonce: bytes = b"",
        members: Members | None = None,
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
