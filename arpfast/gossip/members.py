"""Who is in the ring, as we know it: a table of records, in the order of probing and in that of the circle. Pure."""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

from arpfast.gossip.messages import NodeState, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from arpfast.gossip.suspicion import Suspicion

VERSIONS = bytes([1, 5, 2, 0, 0, 0])
"""Protocol versions: least, most, spoken; then those of what the user of the ring says."""
TCP_PING, NACK, CRC = 3, 4, 5
"""From which `most` on a member understands these."""


class State(Enum):
    """What we believe of a member. The numbers are those on the wire."""

    ALIVE = 0
    SUSPECT = 1  # somebody got no answer; it has some time to say that it lives
    DEAD = 2
    LEFT = 3  # said so itself


class Member(msgspec.Struct, frozen=True):
    """One member at one time."""

    name: str
    address: str
    port: int
    meta: bytes
    state: State
    incarnation: int
    versions: bytes = VERSIONS


Endpoint = tuple[str, int]
"""Address and port, as sockets take them."""


@lru_cache(4096)
def address_of(raw: bytes) -> str | None:
    """The address in 4 or 16 bytes; IPv4 in 16 bytes is IPv4."""
    if len(raw) not in {4, 16}:
        return None
    address = ip_address(raw)
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


class Record:
    """What we know of one member."""

    __slots__ = (
        "_member", "_packed", "endpoint", "incarnation", "meta", "name", "place", "raw_address", "since", "state",
        "suspicion", "versions",
    )  # fmt: skip

    def __init__(self, name: str, raw_address: bytes, port: int, state: State, since: float) -> None:
        """`raw_address` is one that `address_of` knows."""
        self.name = name
        self.place = (zlib.crc32(name.encode("utf-8", "surrogateescape")), name)
        """In the circle."""
        self.state, self.since = state, since
        self.incarnation = 0
        self.meta = b""
        self.versions = VERSIONS
        self.suspicion: Suspicion | None = None
        self._member: Member | None = None
        self._packed: bytes | None = None
        self.move(raw_address, port)

    def move(self, raw_address: bytes, port: int) -> None:
        """It has another address."""
        address = address_of(raw_address)
        assert address is not None
        self.raw_address = raw_address
        self.endpoint: Endpoint = (address, port)
        self.changed()

    def changed(self) -> None:
        """To be called after every change."""
        self._member = self._packed = None

    @property
    def lives(self) -> bool:
        """Alive or suspect: to be counted on until the contrary is proven."""
        return self.state is State.ALIVE or self.state is State.SUSPECT

    @property
    def newest(self) -> int:
        """The newest protocol version that it understands."""
        return self.versions[1] if len(self.versions) > 1 else 0

    @property
    def member(self) -> Member:
        """As others see it."""
        if self._member is None:
            self._member = Member(
                self.name, *self.endpoint, self.meta, self.state, self.incarnation, self.versions
            )  # fmt: skip
        return self._member

    @property
    def packed(self) -> bytes:
        """As a push/pull describes it."""
        if self._packed is None:
            self._packed = packed(
                NodeState(
                    self.name, self.raw_address, self.endpoint[1], self.meta, self.incarnation, self.state.value,
                    self.versions,
                )
            )  # fmt: skip
        return self._packed


class Members:
    """The table. `me` is in it, always alive unless leaving."""

    def __init__(self, me: Record, random: Random) -> None:
        """Only we are there."""
        self.me = me
        self._random = random
        self.by_name: dict[str, Record] = {me.name: me}
        self._turns: list[Record] = [me]
        self._turn = 0
        self._circle: list[tuple[int, str]] = [me.place]
        self.living = 1
        """How many are alive or suspect, we included."""
        self.silent: dict[str, Record] = {}
        """The suspect and the dead."""

    def __iter__(self) -> Iterator[Record]:
        """All of them, dead ones too."""
        return iter(self.by_name.values())

    def add(self, record: Record) -> None:
        """A new one, not yet living. It is probed at a random place in the order of turns."""
        assert not record.lives
        self.by_name[record.name] = record
        place = int(self._random.random() * (len(self._turns) + 1))
        self._turns.append(record)
        self._turns[place], self._turns[-1] = self._turns[-1], self._turns[place]

    def set_state(self, record: Record, state: State, now: float) -> None:
        """Change what we believe of it."""
        lived = record.lives
        record.state, record.since = state, now
        record.changed()
        if state is State.SUSPECT or state is State.DEAD:
            self.silent[record.name] = record
        else:
            self.silent.pop(record.name, None)
        if record.lives and not lived:
            self.living += 1
            insort(self._circle, record.place)
        elif lived and not record.lives:
            self.living -= 1
            del self._circle[bisect_left(self._circle, record.place)]

    def next_turn(self, forget: Callable[[Record], bool]) -> Record | None:
        """Whose turn it is to be probed, if there is anybody. After each round, those that `forget` holds for are
        forgotten, and the order is drawn anew.
        """
        for _ in range(2 * len(self._turns) + 1):
            if self._turn >= len(self._turns):
                self._new_round(forget)
            record = self._turns[self._turn]
            self._turn += 1
            if record.lives and record is not self.me:
                return record
        return None

    def _new_round(self, forget: Callable[[Record], bool]) -> None:
        self._turn = 0
        for record in self._turns:
            if not record.lives and record is not self.me and forget(record):
                del self.by_name[record.name]
                self.silent.pop(record.name, None)
        self._turns = [record for record in self._turns if self.by_name.get(record.name) is record]
        self._random.shuffle(self._turns)

    def successors(self, count: int) -> list[Record]:
        """The living that follow us in the circle: so many that are alive, and suspects between them."""
        found: list[Record] = []
        size = len(self._circle)
        at = bisect_left(self._circle, self.me.place)
        for step in range(1, size):
            if count <= 0 or len(found) >= 4:
                break
            record = self.by_name[self._circle[(at + step) % size][1]]
            if record is self.me:
                break
            found.append(record)
            count -= record.state is State.ALIVE
        return found

    def chance(self, count: int) -> bool:
        """Whether to do what about so many of all members should do."""
        return self._random.random() * self.living < count

    def pick(self, count: int, wanted: Callable[[Record], bool]) -> list[Record]:
        """Up to `count` others that `wanted` holds for, at random."""
        size = len(self._turns)
        if size <= 4 * count:
            others = [record for record in self._turns if record is not self.me and wanted(record)]
            return others if len(others) <= count else self._random.sample(others, count)
        picked: list[Record] = []
        for _ in range(3 * size):
            if len(picked) == count:
                break
            record = self._turns[int(self._random.random() * size)]
            if record is not self.me and record not in picked and wanted(record):
                picked.append(record)
        return picked
