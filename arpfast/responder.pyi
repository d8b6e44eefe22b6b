from collections.abc import Iterable, Sequence
from typing import Self

from arpfast.answer import Table
from arpfast.crossing import Answerer
from arpfast.crossing import Asked as Asked
from arpfast.crossing import Asker as Asker
from arpfast.crossing import Estate as Estate
from arpfast.crossing import Fact as Fact
from arpfast.crossing import FactKind as FactKind
from arpfast.crossing import Filter as Filter
from arpfast.crossing import LinkStatistics as LinkStatistics
from arpfast.crossing import Message as Message
from arpfast.crossing import MessageKind as MessageKind
from arpfast.crossing import RateLimit as RateLimit
from arpfast.crossing import Statistics as Statistics
from arpfast.crossing import Watch as Watch
from arpfast.crossing import WatchStatistics as WatchStatistics
from arpfast.crossing import WatchTotals as WatchTotals
from arpfast.spans import Version

__all__ = [
    "Asked",
    "Asker",
    "Estate",
    "Fact",
    "FactKind",
    "Filter",
    "LinkStatistics",
    "Message",
    "MessageKind",
    "RateLimit",
    "Responder",
    "Statistics",
    "Watch",
    "WatchStatistics",
    "WatchTotals",
    "alive",
]

def alive() -> tuple[int, int, int, int, int]: ...

class Responder:
    def __new__(
        cls,
        *,
        rate_per_s: int = 20000,
        ring_frames: int = 4096,
        limit: RateLimit | None = None,
        filter: Filter | None = None,  # noqa: A002
        answerer: Answerer | None = None,
        fifo: bool = False,
    ) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...
    def beat(self) -> int: ...
    def fileno(self) -> int: ...
    def facts(self) -> list[Fact]: ...
    def taken_lost(self) -> int: ...
    def set_link(
        self,
        ifindex: int,
        name: str,
        mac: bytes,
        *,
        router: bool,
        link_local: bytes | None,
        kin: Sequence[bytes],
        nonce: bytes,
        table: Table | None,
    ) -> None: ...
    def prepare(self) -> None: ...
    def set_rates(self, *, rate_per_s: int, limit: RateLimit | None) -> None: ...
    def set_lease(self, max_gap_ms: float | None) -> None: ...
    def resume(self) -> None: ...
    def set_members(self, macs: Iterable[bytes]) -> None: ...
    def drop_link(self, ifindex: int) -> None: ...
    def set_watches(self, watches: Iterable[Watch]) -> None: ...
    def set_filter(self, ifindex: int, version: Version, program: int | None) -> None: ...
    def send(self, messages: Sequence[Message]) -> int: ...
    def statistics(self) -> Statistics: ...
    def asked(self, version: Version, address: int) -> Asked | None: ...
    def askers(self, at_most: int) -> tuple[Asker, ...]: ...
