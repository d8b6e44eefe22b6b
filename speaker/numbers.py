"""The speaker's metrics, read at the moment of the scrape: MetalLB's names where it has one, else ours.

Nothing is counted for each address, for that would grow for ever: where MetalLB has a label `ip`, ours says how much
it is altogether. `metallb_speaker_announced` has one series for each address that is answered here now, one for each
that is announced by BGP, and no other. What MetalLB counts under a name that does not end in `_total` has no type: a
counter's would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UnknownMetricFamily
from prometheus_client.registry import Collector

from arpfast.answer import Verdict
from arpfast.metrics import built, engine
from arpfast.ring.numbers import members
from arpfast.spans import address_of
from speaker.bgp.numbers import numbers as bgp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from speaker.speaking import Speaker


class Numbers(Collector):
    """All metrics of a speaker."""

    def __init__(self, speaker: Speaker) -> None:
        """Read from `speaker` whenever asked."""
        self._speaker = speaker

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        speaker, seat = self._speaker, self._speaker.seat
        yield built()
        yield from self._metallb()
        yield from bgp(speaker.routing)
        yield from speaker.cluster.numbers()
        yield from engine(speaker.responder, speaker.announcer, speaker.filter)
        if seat.ring.node is not None:
            yield from members(seat.ring, seat.node, seat.status())
        for name, told, value in (
            ("judged", "Services that were judged", seat.decider.judged),
            ("decided", "Decisions about addresses that belong together", seat.decider.decided),
        ):
            yield CounterMetricFamily(f"arpfast_speaker_{name}", told, value=value)
        told = "Addresses that Services have and that some node may answer for"
        yield GaugeMetricFamily("arpfast_speaker_addresses", told, value=seat.electorate.spans.size)
        yield GaugeMetricFamily("arpfast_start_time_seconds", "Start, Unix time", value=speaker.started_unix_s)

    def _metallb(self) -> Iterator[Metric]:
        seat = self._speaker.seat
        told = "Services being announced from this node"
        announced = GaugeMetricFamily("metallb_speaker_announced", told, labels=["service", "protocol", "node", "ip"])
        for span in seat.singles(seat.owned):
            ip = str(address_of(span.version, span.first))
            for key in seat.decider.willing(span):
                announced.add_metric([str(key), "layer2", seat.settings.node, ip], 1)
        routing = self._speaker.routing
        for key, share in routing.routes.shares.items():
            if routing.told(key):
                for span in share.addresses:
                    ip = str(address_of(span.version, span.first))
                    announced.add_metric([str(key), "bgp", seat.settings.node, ip], 1)
        yield announced
        links = self._speaker.responder.statistics().links
        judged = {verdict: sum(link.verdicts.get(verdict, 0) for link in links) for verdict in Verdict}
        replies = judged[Verdict.REPLY]
        sent = sum(sum(link.sent.values()) for link in links)
        told = "Questions for addresses that are answered here"
        asked = replies + judged[Verdict.LIMITED]
        yield UnknownMetricFamily("metallb_layer2_requests_received", told, value=asked)
        told = "Replies to questions for addresses that are answered here"
        yield UnknownMetricFamily("metallb_layer2_responses_sent", told, value=replies)
        yield UnknownMetricFamily("metallb_layer2_gratuitous_sent", "Frames sent unasked", value=sent)
