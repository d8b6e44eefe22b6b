"""The metrics of a seat in the ring, read at the moment of the scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from arpfast.gossip.node import Node
    from arpfast.ring.ring import Ring
    from arpfast.ring.seat import Seat
    from arpfast.ring.telling import RingState


def numbers(seat: Seat) -> Iterator[Metric]:
    """One family after the other."""
    yield from members(seat.ring, seat.node, seat.status())
    checks = seat.checks.statistics()
    states = GaugeMetricFamily("arpfast_checks", "Health checks by state", labels=["state"])
    for name in ("unknown", "passing", "failing"):
        states.add_metric([name], getattr(checks, name))
    yield states
    for name, told in (
        ("attempts", "Attempts of health checks"),
        ("failures", "Attempts that failed"),
        ("changes", "Times that a health check changed its mind"),
        ("late", "Attempts that came later than their interval"),
    ):
        yield CounterMetricFamily(f"arpfast_check_{name}", told, value=getattr(checks, name))
    hooks = seat.hooks.statistics()
    for name, value in msgspec.to_builtins(hooks).items():
        if isinstance(value, int) and name != "queued":
            yield CounterMetricFamily(f"arpfast_on_change_{name}", f"on_change commands: {name}", value=value)


def members(ring: Ring, node: Node, state: RingState) -> Iterator[Metric]:
    """What a member of any ring can tell."""
    gossiped = GaugeMetricFamily("arpfast_ring_members", "Members by what the gossip calls them", labels=["state"])
    for name in ("alive", "suspect", "dead", "left"):
        gossiped.add_metric([name], sum(member.gossip == name for member in state.members))
    yield gossiped
    told = "Members that count for elections, this one included"
    yield GaugeMetricFamily("arpfast_ring_members_here", told, value=sum(member.here for member in state.members))
    told = "Addresses that this member owns"
    yield GaugeMetricFamily("arpfast_ring_owned_addresses", told, value=ring.share[0].size)
    told = "Whether it takes part: it has heard the others, and there is a quorum if one is wanted"
    yield GaugeMetricFamily("arpfast_ring_settled", told, value=int(state.settled and state.quorum))
    yield GaugeMetricFamily("arpfast_ring_draining", "Whether it hands over", value=int(ring.draining))
    for name, told in (
        ("turns", "Times that the rules of the ring were asked"),
        ("published", "Times that this member has said something new of itself"),
        ("refused", "Messages of members that could not be read"),
        ("frozen", "Times that it stood aside after standing still"),
        ("inherited", "Times that the thread took over by itself"),
    ):
        yield CounterMetricFamily(f"arpfast_ring_{name}", told, value=ring.counts[name])
    parts = HistogramMetricFamily(
        "arpfast_ring_takeover_seconds", "Parts of a take-over: suspected until silent on the wire, silent until taken",
        labels=["part"],
    )  # fmt: skip
    for part, buckets, sum_s in ring.parts.histograms():
        parts.add_metric([part], buckets=buckets, sum_value=sum_s)
    yield parts
    gossip = node.statistics()
    counted = CounterMetricFamily("arpfast_gossip", "What the gossip has counted", labels=["what"])
    for name, value in msgspec.to_builtins(gossip.counts).items():
        if isinstance(value, int):
            counted.add_metric([name], value)
    yield counted
    told = "How badly this member hears the others: 0 is good"
    yield GaugeMetricFamily("arpfast_gossip_health", told, value=gossip.health)
