"""What a member counts. Plain numbers since the start; whoever measures takes differences."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """Incremented where it happens."""

    packets_received: int = 0
    packets_sent: int = 0
    packets_unsent: int = 0  # the kernel would not send them
    bytes_received: int = 0
    bytes_sent: int = 0
    refused_label: int = 0  # packets and streams of another ring
    refused_key: int = 0  # sealed with an unknown key, or not sealed although we have keys, or the other way round
    refused_malformed: int = 0
    refused_too_large: int = 0
    misdirected: int = 0  # pings for another name: somebody has our address for another
    probes: int = 0
    probes_indirect: int = 0  # were not answered at once
    probes_failed: int = 0
    relayed: int = 0  # probes for others
    calls: int = 0  # to members found dead
    suspected: int = 0
    died: int = 0
    left: int = 0
    refuted: int = 0  # that we were suspected or dead
    unrefutable: int = 0  # somebody accused us with the highest incarnation there is
    conflicts: int = 0  # another has the name of a member, or ours
    lags: int = 0  # times in which this process did not run when it should have
    exchanges: int = 0
    exchanges_failed: int = 0
    exchanges_refused: int = 0  # nobody could speak the same protocol version any more
    streams_received: int = 0
    streams_failed: int = 0
    dials_refused: int = 0  # too many at once, or the same one twice
    members_refused: int = 0  # there are too many
    news_dropped: int = 0  # user messages that waited for too long behind others
    joins_failed: int = 0


class Statistics(msgspec.Struct, frozen=True):
    """How a member is doing."""

    counts: Counts
    health: int
    """Our own: 0 is good."""
    queued: int
    """News of members that wait to be told."""
    queued_user: int
    alive: int
    suspect: int
    dead: int
    gone: int
    """Left by themselves."""
