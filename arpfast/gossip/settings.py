"""What a member has to be told, and whom it tells."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

import msgspec

from arpfast.gossip.endpoints import parse_target
from arpfast.gossip.keys import Key  # noqa: TC001 (msgspec looks the annotations up)
from arpfast.gossip.messages import META_AT_MOST, NAME_AT_MOST
from arpfast.gossip.timing import RING, Timing

if TYPE_CHECKING:
    from arpfast.gossip.members import Member, State

PORT = 7946


class Settings(msgspec.Struct, frozen=True):
    """One member. Raises ValueError for what can not work."""

    name: str
    bind: str = "0.0.0.0"  # noqa: S104 (all of this host's, unless told otherwise)
    """A numeric address; its family is the ring's."""
    port: int = PORT
    """UDP and TCP; 0: any that is free in both."""
    advertise: str | None = None
    """The address that others use; None: the one that is bound, or if that is any, the one towards the others."""
    advertise_port: int | None = None
    join: tuple[str, ...] = ()
    """Some members that should be there: `host`, `host:port`, `[v6]:port`. We ourselves may be among them."""
    keys: tuple[Key, ...] = ()
    """The first seals, all open; none: all is plain."""
    label: str = ""
    """Rings of different labels do not hear each other."""
    timing: Timing = RING
    compress: bool = False
    """What is compressed is always read."""
    meta: bytes = b""

    def __post_init__(self) -> None:
        """Check what the types do not."""
        if not 0 < len(self.name.encode("utf-8", "surrogateescape")) <= NAME_AT_MOST:
            raise ValueError(f"expected a name of 1 to {NAME_AT_MOST} bytes, not {self.name!r:.60}")
        if len(self.label.encode()) > 255:
            raise ValueError("expected a label of at most 255 bytes")
        if len(self.meta) > META_AT_MOST:
            raise ValueError(f"expected at most {META_AT_MOST} bytes of meta, not {len(self.meta)}")
        bind = ip_address(self.bind)
        if self.advertise is not None:
            advertise = ip_address(self.advertise)
            if advertise.version != bind.version:
                raise ValueError(f"expected to advertise an address of the family of {bind}, not {advertise}")
            if advertise.is_unspecified or advertise.is_multicast:
                raise ValueError(f"expected to advertise an address that others can reach, not {advertise}")
        for port in (self.port, self.advertise_port or 0):
            if not 0 <= port < 65536:
                raise ValueError(f"expected a port of 0 to 65535, not {port}")
        for target in self.join:
            parse_target(target, self.port)


class Listener(Protocol):
    """Who wants to know. Called on the event loop; what it raises is a fault of the program."""

    def changed(self, member: Member, before: State | None) -> None:
        """A member joined (`before` is None), was suspected, refuted that, died, left, came back, or has another
        meta or address (`before` is its state).
        """

    def conflict(self, member: Member, address: str, port: int) -> None:
        """Another host claims the name of this member, or of ourselves. Said as often as it is heard."""

    def refused(self, target: str, why: str) -> None:
        """Somebody is where a configured member should be, and we do not understand each other. Said once, and again
        when the reason is another one.
        """

    def heard(self, payload: bytes) -> None:
        """A user message came, by broadcast or sent to us. A broadcast goes on only if it is broadcast again here."""

    def state(self) -> bytes:
        """What to tell the other side of an exchange, besides the members."""

    def merge(self, state: bytes, join: bool) -> None:
        """What the other side of an exchange told; `join` if it or we are new. Not called for an empty one, which is
        what members that are not ours have to tell.
        """
