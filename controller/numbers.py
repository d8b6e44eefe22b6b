"""Prometheus metrics, read at the moment of the scrape: MetalLB's names, and ours for what it does not tell."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from arpfast.metrics import built
from cluster.numbers import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from controller.running import Controller
    from controller.term import Term
    from controller.webhook import Webhook

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class Durations:
    """How long things took."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def took(self, duration_s: float) -> None:
        """One more."""
        self._counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def histogram(self, name: str, told: str) -> Metric:
        """All of them."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        return HistogramMetricFamily(name, told, buckets=buckets, sum_value=self._sum_s)


class Numbers(Collector):
    """All metrics of a controller."""

    def __init__(self, controller: Controller) -> None:
        """Read from `controller` whenever asked."""
        self._controller = controller

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        controller = self._controller
        yield built()
        yield from numbers(controller.client, controller.following, controller.events)
        yield GaugeMetricFamily("arpfast_controller_leads_bool", "Whether it leads", value=int(controller.leads))
        told = "From when a Service without an address was seen until it had one, written"
        yield controller.durations.histogram("arpfast_controller_allocation_seconds", told)
        if controller.webhook is not None:
            yield from _of_webhook(controller.webhook)
        if controller.term is not None:
            yield from _of_term(controller.term)


def _of_webhook(webhook: Webhook) -> Iterator[Metric]:
    told = "Changes of the configuration by what became of them; failed: they could not be judged"
    reviews = CounterMetricFamily("arpfast_webhook_reviews", told, labels=["outcome"])
    for outcome, count in webhook.reviews.items():
        reviews.add_metric([outcome], count)
    yield reviews
    told = "Connections that were too many"
    yield CounterMetricFamily("arpfast_webhook_turned_away", told, value=webhook.turned_away)
    told = "When the webhook's certificate expires, Unix time; 0: it has none"
    yield GaugeMetricFamily("arpfast_webhook_certificate_expiry_seconds", told, value=webhook.expires_unix_s)


def _of_term(term: Term) -> Iterator[Metric]:
    """What only who leads can tell."""
    reconciling = term.reconciling
    allocator = reconciling.allocator
    services = allocator.services()
    totals = {
        name: GaugeMetricFamily(f"metallb_allocator_{name}", told, labels=["pool"])
        for name, told in (
            ("addresses_total", "Addresses of a pool"),
            ("ipv4_addresses_total", "Its IPv4 addresses"),
            ("ipv6_addresses_total", "Its IPv6 addresses"),
            ("addresses_in_use_total", "Addresses of a pool that are in use"),
            ("ipv4_addresses_in_use_total", "Its IPv4 addresses that are in use"),
            ("ipv6_addresses_in_use_total", "Its IPv6 addresses that are in use"),
            ("services_allocated_total", "Services that have an address of a pool"),
        )
    }
    told = "Addresses that are not given, since another host has them"
    quarantined = GaugeMetricFamily("arpfast_controller_quarantined_addresses", told, labels=["pool"])
    for pool in allocator.inventory.pools:
        quarantined.add_metric([pool], allocator.inventory.quarantined(pool))
        (four, free_four), (six, free_six) = allocator.inventory.counts(pool)
        for name, value in (
            ("addresses_total", four + free_four + six + free_six),
            ("ipv4_addresses_total", four + free_four),
            ("ipv6_addresses_total", six + free_six),
            ("addresses_in_use_total", four + six),
            ("ipv4_addresses_in_use_total", four),
            ("ipv6_addresses_in_use_total", six),
            ("services_allocated_total", services[pool]),
        ):
            totals[name].add_metric([pool], value)
    yield from totals.values()
    yield quarantined
    told = "Services that wait for an address, or for a second one"
    yield GaugeMetricFamily("arpfast_controller_waiting_services", told, value=allocator.waiting)
    told = "For how long the Service has been without an address that has been for longest"
    yield GaugeMetricFamily("arpfast_controller_oldest_wait_seconds", told, value=reconciling.oldest_wait_s())
    told = "Statuses that are still to be written"
    queued = GaugeMetricFamily("arpfast_controller_queued_statuses", told, labels=["resource"])
    written = CounterMetricFamily("arpfast_controller_statuses", "Statuses by outcome", labels=["resource", "outcome"])
    for resource, errands in (("services", term.statuses.errands), ("ipaddresspools", term.pool_statuses.errands)):
        queued.add_metric([resource], len(errands))
        written.add_metric([resource, "written"], errands.done)
        written.add_metric([resource, "failed"], errands.failures)
    yield from (queued, written)
    overwritten = reconciling.contending.overwritten
    for name, told, count in (
        ("decisions", "Times that it was decided what a Service has", reconciling.decisions),
        ("refusals", "Times that it was not what the Service asks for", reconciling.refusals),
        ("overwritten", "Times that somebody wrote over what was just written to a Service", overwritten),
    ):
        yield CounterMetricFamily(f"arpfast_controller_{name}", told, value=count)
