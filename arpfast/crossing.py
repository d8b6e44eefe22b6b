"""What crosses between Python and the responder's thread: messages go down, facts and numbers come up.

Plain values without behaviour. The thread knows the same numbers as C enums (`queue.h`, `facts.h`);
`responder.pyx` refuses to be imported if the two disagree.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from arpfast.answer import Link, Table, Verdict
    from arpfast.spans import Span, Version


class MessageKind(IntEnum):
    """What the thread is to send for each address of a span."""

    ANNOUNCE = 0  # gratuitous ARP request (RFC 5227 section 3) or unsolicited NA with O (RFC 4861 section 7.2.6)
    PROBE = 1  # ARP probe (RFC 5227 section 2.1.1) or DAD solicitation with a nonce (RFC 4862, RFC 7527)
    ASK = 2  # a request from the address for `target`; the answer comes back as the fact CONFIRMED
    TELL = 3  # an announcement to `target` at `mac` alone: ARP as a request (answered: CONFIRMED), or NA with O


class Message(Struct, frozen=True, gc=False):
    """One order to send; a /16 is one message, expanded by the thread as it sends."""

    kind: MessageKind
    ifindex: int
    span: Span
    target: int = 0  # ASK, TELL: whom to ask for or tell, of the span's family
    mac: bytes = b""  # TELL: of the target


class FactKind(IntEnum):
    """What the thread reports."""

    CONFLICT = 0  # a foreign MAC uses an address that we answer for as our own
    TAKEN = 1  # an address that we probe is in use, or somebody else is probing it too
    CONFIRMED = 2  # an ASK was answered
    SOCKET_FAILED = 3  # a socket is dead for good: its interface is gone or has moved to another namespace
    ROOM = 4  # after `send` refused messages for this interface: half its queue is free again
    RIVAL = 5  # another member of our ring uses, or probes for, an address that we answer for or probe
    FROZEN = 6  # the thread stood still for longer than its lease: it is silent until `resume`
    SILENT = 7  # a watched owner has not answered for as many intervals as its watch bears
    SPOKE = 8  # it answers again
    SUSPENDED = 9  # a watch proves nothing for now: frames are lost here, or there is a flood
    RESUMED = 10  # it counts again
    INHERITED = 11  # after SILENT: the estate of this watch is in force


class Fact(Struct, frozen=True, gc=False):
    """One rare event, with who caused it."""

    kind: FactKind
    ifindex: int  # 0 for FROZEN
    version: Version  # for SOCKET_FAILED and ROOM: 4 for the ARP socket, 6 for the IPv6 one
    address: int  # ours or, of a watch, its owner's; 0 for SOCKET_FAILED, ROOM and FROZEN
    mac: bytes  # of the sender or the watched owner; zeros for SOCKET_FAILED, ROOM and FROZEN
    monotonic_ns: int  # on the clock of `time.monotonic_ns`
    error: int = 0  # SOCKET_FAILED: the errno
    span_ns: int = 0  # FROZEN: how long the thread stood still; of a watch: since its last answer, 0 if there was none


class Estate(Struct, frozen=True):
    """What a watched owner leaves to us should it fall silent, prepared so that the thread can begin at once.

    Its tables are asked beside the interface's own, where that says that an address is not ours; its messages are sent
    in order on each interface, before all others, at the usual pace. Watches may share an estate, by equality: it is
    inherited once all of them are silent, and one has been answered before.
    """

    tables: tuple[tuple[int, Table], ...]  # by ifindex, one each
    messages: tuple[Message, ...] = ()


class Watch(Struct, frozen=True):
    """Whom to watch: an owner that answers at this hardware address for this address of its own."""

    ifindex: int
    version: Version
    address: int
    mac: bytes
    interval_ms: float = 20.0
    misses: int = 3  # intervals in a row without an answer that are silence
    estate: Estate | None = None  # None: only tell
    mute: bool = False  # had answered and was silent before this watch: its first answer is told, as SPOKE


class Filter(Protocol):
    """What lets the kernel refuse frames before the thread sees them."""

    def socket_program(self, version: Version, /) -> int:
        """The descriptor of an eBPF socket filter for the ARP (4) or the IPv6 (6) sockets."""

    def set_limit(self, limit: RateLimit | None, /) -> None:
        """Refuse who asks more often; None: nobody."""

    def set_members(self, macs: frozenset[bytes], /) -> None:
        """Never refuse one of these for asking often. Never fails."""

    def set_table(self, ifindex: int, table: Table, /) -> None:
        """Refuse what does not concern an address of `table`; told before the thread has the table. Never fails."""

    def drop_link(self, ifindex: int, /) -> None:
        """Forget the interface; told after its sockets are closed."""


class Answerer(Protocol):
    """What has the kernel answer before the thread sees a frame."""

    @property
    def term(self) -> int:
        """Where `struct term` lies, which the thread puts off (term.h)."""

    outlive_ns: int

    def set_link(self, ifindex: int, link: Link, table: Table, /) -> None:
        """Answer as the thread does; told after it. Never fails."""

    def drop_link(self, ifindex: int, /) -> None:
        """Answer there no more."""

    def set_members(self, *, any_: bool) -> None:
        """Whether there are members, whose questions are the thread's."""

    def on(self, ifindex: int, /) -> tuple[str, str, dict[Verdict, int]]:
        """Who answers there, why nothing better, and what the kernel counted."""

    def asked(self, version: Version, address: int, /) -> Asked | None:
        """Whom the kernel answered last for an address."""

    def askers(self) -> list[Asker]:
        """Whom it answered lately."""


class RateLimit(Struct, frozen=True):
    """Token buckets for answers: for each asking MAC, and in all; a rate of 0 is no limit."""

    per_mac_per_s: int
    burst: int  # how many answers one MAC may have at once
    total_per_s: int


class Asked(Struct, frozen=True, gc=False):
    """Who asked for an address last, and was answered."""

    mac: bytes
    ifindex: int
    monotonic_ns: int


class Asker(Struct, frozen=True, gc=False):
    """A host that asked for some address of ours, and was answered; so it has that in its cache."""

    mac: bytes
    ifindex: int
    version: Version
    address: int  # the host's own
    monotonic_ns: int  # when it asked last; up to a second earlier than it did


class LinkStatistics(Struct, frozen=True):
    """Counts of one interface since its first `set_link`."""

    ifindex: int
    name: str
    verdicts: dict[Verdict, int]  # frames by what became of them; frames that the filter refused are in none
    drops: int  # frames that the kernel lost because the ring was full
    sent: dict[MessageKind, int]  # frames, not messages
    send_errors: int  # replies and messages that the kernel refused to send
    socket_errors: int  # times a socket reported an error: an interface that went down, mostly
    queued: int  # messages that wait to be sent
    withheld: int = 0  # frames of messages that a freeze kept from being sent
    backend: str = "raw"  # who answers: the thread from its socket (raw), or before it the kernel
    why: str = ""  # nothing better answers
    in_kernel: int = 0  # replies that the kernel gave; they are among `verdicts`, too

    def with_kernel(self, backend: str, why: str, verdicts: dict[Verdict, int]) -> LinkStatistics:
        """The same with what the kernel counted, and the thread never saw."""
        both = {verdict: count + verdicts.get(verdict, 0) for verdict, count in self.verdicts.items()}
        in_kernel = next((count for verdict, count in verdicts.items() if verdict.name == "REPLY"), 0)
        return replace(self, verdicts=both, backend=backend, why=why, in_kernel=in_kernel)


class WatchStatistics(Struct, frozen=True):
    """How a watch stands."""

    watch: Watch
    silent: bool
    suspended: bool
    inherited: bool  # its estate is in force


class WatchTotals(Struct, frozen=True):
    """Counts of all watches since the start, also of those that are over."""

    questions: int
    answers: int
    silences: int
    suspensions: int
    inherited: int


class Statistics(Struct, frozen=True):
    """Counts of a responder. Each is read on its own while the thread goes on: sums may be off by a batch."""

    links: tuple[LinkStatistics, ...]
    facts_lost: int  # facts that a flood kept from Python
    messages_dropped: int  # messages that waited for an interface which was dropped
    fifo: bool = False  # the thread runs under SCHED_FIFO
    frozen: bool = False  # the thread is silent until `resume`
    freezes: int = 0  # times that it became so
    watches: tuple[WatchStatistics, ...] = ()
    watched: WatchTotals = WatchTotals(0, 0, 0, 0, 0)
