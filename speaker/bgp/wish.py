"""What this node is to announce to which routers, and what became of it: the values between who decides and who speaks.

Both are complete each time: a wish replaces the one before, a session is all that is known of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.config import BFDProfile, Peer

Prefix = str
"""As the shortest text: `192.0.2.0/24`, `2001:db8::1/128`. Its host bits are zero."""

State = Literal["idle", "connect", "active", "opensent", "openconfirm", "established"]
"""Of a session, RFC 4271 section 8.2.2."""


class Attributes(msgspec.Struct, frozen=True):
    """What one peer is told with one prefix."""

    local_pref: int = 0
    """0: not said. Only internal peers are told it."""
    communities: tuple[str, ...] = ()
    """In the order of their numbers, each once: `65000:1`, `large:65000:1:2`."""


class Neighbour(msgspec.Struct, frozen=True):
    """A peer to speak with."""

    peer: Peer
    bfd: BFDProfile | None = None
    """By which its silence is noticed; None: by the hold time alone."""


class Wish(msgspec.Struct, frozen=True):
    """All that this node is to announce."""

    neighbours: Mapping[str, Neighbour] = {}
    """By the name of the peer; only such as this node speaks with, and as can be spoken with."""
    routes: Mapping[Prefix, Mapping[str, Attributes]] = {}
    """What is announced of each prefix, by the name of the peer. Other peers are told nothing of it."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A peer as it is at the moment."""

    peer: str
    """Its name."""
    address: str
    """Where it is; empty: an interface on which nobody has been found yet."""
    state: State = "idle"
    since_unix_s: float = 0.0
    """When it was established, or ceased to be."""
    why: str = ""
    """Why it is not established, as far as is known."""
    flaps: int = 0
    """How often it has ceased to be established."""
    bfd: Literal["none", "down", "up"] = "none"
    announced: int = 0
    """How many prefixes it has been told."""
