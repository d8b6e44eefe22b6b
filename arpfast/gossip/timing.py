"""How fast a ring is: how often members are probed, how long a suspect has, how quickly news spread.

Four sets. LAN, WAN and LOCAL are those of hashicorp/memberlist, for rings with members that use them; RING is ours, for
rings of our own: a death is suspected within 0.3 s (each member is watched by its predecessor all the time, besides
being probed by the others in turn), whoever does not answer is called every 0.2 s until it does.

Members of one ring may differ in any of these.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """All that is counted in seconds or in members. The defaults are those of a LAN."""

    probe_interval_s: float = 1.0
    """Between two probes, and from a probe to its verdict. Grows with our own bad health."""
    probe_timeout_s: float = 0.5
    """After which others are asked to probe too."""
    indirect_checks: int = 3
    """How many others."""
    watched: int = 0
    """How many successors are probed in each interval, besides the member whose turn it is. The members are one
    circle, in an order that all agree on, so that each is watched by as many of its predecessors.
    """
    suspicion_mult: int = 4
    """A suspect has at least this times the interval (and more in a ring of more than ten) to say that it lives."""
    suspicion_max_mult: int = 6
    """A suspect of one accuser only has this times as long."""
    confirmations: int = 2
    """So many more accusers make it the least time."""
    awareness_max: int = 8
    """Our own bad health is 0 to this, less one."""
    gossip_interval_s: float = 0.2
    """The least time between two rounds of news."""
    gossip_nodes: int = 3
    """How many members a round goes to."""
    gossip_to_the_dead_s: float = 30.0
    """So long also to members found dead."""
    retransmit_mult: int = 4
    """News are sent this times the logarithm of the number of members."""
    push_pull_interval_s: float = 30.0
    """Between two exchanges of the whole view, with somebody; longer in a ring of more than 32."""
    tcp_timeout_s: float = 10.0
    forget_s: float = 30.0
    """A member dead or gone so long is forgotten."""
    reclaim_s: float | None = None
    """A member dead so long may come back under its name with another address; None: once it is forgotten."""
    recall_s: float = 0.0
    """Suspects and the dead are called in this interval, a few at a time; 0: never."""
    rejoin_s: float = 1.0
    rejoin_max_s: float = 60.0
    """How soon a configured address that is not there is tried again, at first and at last."""


def _with(timing: Timing, **changes: Any) -> Timing:
    return msgspec.structs.replace(timing, **changes)


LAN = Timing()
WAN = _with(
    LAN, tcp_timeout_s=30.0, suspicion_mult=6, confirmations=4, push_pull_interval_s=60.0, probe_timeout_s=3.0,
    probe_interval_s=5.0, gossip_nodes=4, gossip_interval_s=0.5, gossip_to_the_dead_s=60.0, forget_s=60.0,
)  # fmt: skip
LOCAL = _with(
    LAN, tcp_timeout_s=1.0, indirect_checks=1, retransmit_mult=2, suspicion_mult=3, confirmations=1,
    push_pull_interval_s=15.0, probe_timeout_s=0.2, gossip_interval_s=0.1, gossip_to_the_dead_s=15.0, forget_s=15.0,
)  # fmt: skip
RING = _with(
    LAN, probe_interval_s=0.15, probe_timeout_s=0.06, watched=1, suspicion_mult=10, suspicion_max_mult=4,
    gossip_nodes=4, retransmit_mult=6, gossip_interval_s=0.1, gossip_to_the_dead_s=5.0, push_pull_interval_s=10.0,
    tcp_timeout_s=2.0, forget_s=3600.0, reclaim_s=1.0, recall_s=0.2, rejoin_s=0.25, rejoin_max_s=2.0,
)  # fmt: skip
