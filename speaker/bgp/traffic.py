"""How many messages of each kind have gone to and come from each peer since our start. Pure.

The daemon counts from 0 when it starts, and when it makes a peer anew, as for most changes of one. Here counting goes
on: whoever says less than before has begun anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from speaker.bgp import messages

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class Traffic(msgspec.Struct, frozen=True):
    """Messages of BGP, and control packets of BFD."""

    opens_sent: int = 0
    opens_received: int = 0
    updates_sent: int = 0
    updates_received: int = 0
    keepalives_sent: int = 0
    keepalives_received: int = 0
    notifications_sent: int = 0
    refreshes_sent: int = 0
    sent: int = 0
    received: int = 0
    bfd_sent: int = 0
    bfd_received: int = 0
    bfd_failures: int = 0
    """How often BFD has ceased to be up."""


NONE = Traffic()
_NO_COUNTS = messages.MessageCounts()


class Tally:
    """Of all peers, by name."""

    def __init__(self) -> None:
        """Nothing has been sent yet."""
        self._said: dict[str, Traffic] = {}
        self._counted: dict[str, Traffic] = {}

    @property
    def counted(self) -> Mapping[str, Traffic]:
        """Since the start."""
        return self._counted

    def count(self, name: str, peer: messages.Peer) -> None:
        """Take what the daemon says now."""
        said = read(peer)
        before, so_far = self._said.get(name, NONE), self._counted.get(name, NONE)
        columns = zip(*map(msgspec.structs.astuple, (so_far, before, said)), strict=True)
        self._counted[name] = Traffic(*(total + (now - then if now >= then else now) for total, then, now in columns))
        self._said[name] = said

    def keep(self, names: Container[str]) -> None:
        """Forget all others."""
        for gone in [name for name in self._said if name not in names]:
            del self._said[gone], self._counted[gone]


def read(peer: messages.Peer) -> Traffic:
    """As the daemon counts it."""
    state = peer.state or messages.PeerState()
    counts = state.messages or messages.Messages()
    sent, received = counts.sent or _NO_COUNTS, counts.received or _NO_COUNTS
    bfd = state.bfd_state or messages.BfdPeerState()
    packets = bfd.bfd_async or messages.BfdAsyncCounters()
    return Traffic(
        opens_sent=sent.open,
        opens_received=received.open,
        updates_sent=sent.update,
        updates_received=received.update,
        keepalives_sent=sent.keepalive,
        keepalives_received=received.keepalive,
        notifications_sent=sent.notification,
        refreshes_sent=sent.refresh,
        sent=sent.total,
        received=received.total,
        bfd_sent=packets.transmitted_packets,
        bfd_received=packets.received_packets,
        bfd_failures=bfd.failure_transitions,
    )
