"""Prometheus metrics of BGP, read at the moment of the scrape: MetalLB's names where it has one, else ours.

Counters whose name there does not end in `_total` are untyped here: the text format would have it that they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UnknownMetricFamily

from speaker.bgp.traffic import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from speaker.bgp.routing import Routing
    from speaker.bgp.wish import Neighbour


BGP_TRAFFIC = {
    "metallb_bgp_opens_sent": ("opens_sent", "OPEN messages it has been sent"),
    "metallb_bgp_opens_received": ("opens_received", "OPEN messages it has sent"),
    "metallb_bgp_updates_total_received": ("updates_received", "UPDATE messages it has sent"),
    "metallb_bgp_keepalives_sent": ("keepalives_sent", "KEEPALIVE messages it has been sent"),
    "metallb_bgp_keepalives_received": ("keepalives_received", "KEEPALIVE messages it has sent"),
    "metallb_bgp_notifications_sent": ("notifications_sent", "NOTIFICATION messages it has been sent"),
    "metallb_bgp_route_refresh_sent": ("refreshes_sent", "ROUTE-REFRESH messages it has been sent"),
    "metallb_bgp_total_sent": ("sent", "Messages it has been sent"),
    "metallb_bgp_total_received": ("received", "Messages it has sent"),
}
BFD_TRAFFIC = {
    "metallb_bfd_control_packet_input": ("bfd_received", "Control packets it has sent"),
    "metallb_bfd_control_packet_output": ("bfd_sent", "Control packets it has been sent"),
    "metallb_bfd_session_down_events": ("bfd_failures", "Times that BFD has noticed its silence"),
}


def numbers(routing: Routing) -> Iterator[Metric]:
    """All of them; where nothing is announced by BGP, those alone that say so."""
    sessions, asked, traffic = routing.sessions(), routing.asked(), routing.traffic()
    up = GaugeMetricFamily("metallb_bgp_session_up", "Whether the session is established", labels=["peer"])
    announced = GaugeMetricFamily("metallb_bgp_announced_prefixes_total", "Prefixes it is told", labels=["peer"])
    pending = GaugeMetricFamily("metallb_bgp_pending_prefixes_total", "Prefixes it is to be told", labels=["peer"])
    updates = CounterMetricFamily("metallb_bgp_updates", "UPDATE messages it has been sent", labels=["peer"])
    flaps = CounterMetricFamily("arpfast_bgp_flaps", "Times that it ceased to be established", labels=["peer"])
    bfd = GaugeMetricFamily("metallb_bfd_session_up", "Whether BFD says that the peer is there", labels=["peer"])
    for name, neighbour in sorted(routing.wish.neighbours.items()):
        label, session = [labelled(neighbour)], sessions.get(name)
        told = 0 if session is None else session.announced
        up.add_metric(label, session is not None and session.state == "established")
        announced.add_metric(label, told)
        pending.add_metric(label, max(0, asked.get(name, 0) - told))
        updates.add_metric(label, traffic.get(name, NONE).updates_sent)
        flaps.add_metric(label, 0 if session is None else session.flaps)
        if neighbour.bfd is not None:
            bfd.add_metric(label, session is not None and session.bfd == "up")
    yield from (up, announced, pending, updates, flaps, bfd)
    for metrics, only_bfd in ((BGP_TRAFFIC, False), (BFD_TRAFFIC, True)):
        for metric, (field, meaning) in metrics.items():
            family = UnknownMetricFamily(metric, meaning, labels=["peer"])
            for name, neighbour in sorted(routing.wish.neighbours.items()):
                if neighbour.bfd is not None or not only_bfd:
                    family.add_metric([labelled(neighbour)], getattr(traffic.get(name, NONE), field))
            yield family
    told_of = "Services that were judged for BGP"
    yield CounterMetricFamily("arpfast_bgp_judged", told_of, value=routing.routes.judged)
    yield GaugeMetricFamily("arpfast_bgp_routes", "Prefixes that are announced", value=len(routing.wish.routes))


def labelled(neighbour: Neighbour) -> str:
    """A peer as MetalLB's metrics name it: `192.0.2.1:179`, `[2001:db8::1]:179`, or an interface."""
    peer = neighbour.peer
    if not peer.address:
        return peer.interface
    return f"[{peer.address}]:{peer.port}" if ":" in peer.address else f"{peer.address}:{peer.port}"
