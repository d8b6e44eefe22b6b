"""Prometheus metrics of the cluster's side, read at the moment of the scrape: MetalLB's names, and ours beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from cluster.client import Client
    from cluster.events import Events
    from cluster.following import Following


def numbers(client: Client, following: Following, events: Events | None = None) -> Iterator[Metric]:
    """All of them, from one look at the counters."""
    counted = following.statistics()
    for name, told, count in (
        ("metallb_k8s_client_updates", "Changes of objects that were received", counted.updates),
        ("metallb_k8s_client_update_errors", "Watches that failed, and objects not understood", counted.errors),
        ("arpfast_cluster_wakes", "Times that what changed was decided upon", counted.wakes),
        ("arpfast_cluster_configurations", "Times that the configuration was read", counted.configured),
    ):
        yield CounterMetricFamily(name, told, value=count)
    for name, told, true in (
        ("metallb_k8s_client_config_loaded_bool", "Whether a configuration is in force", counted.loaded),
        ("metallb_k8s_client_config_stale_bool", "Whether a later one cannot be", counted.stale),
    ):
        yield GaugeMetricFamily(name, told, value=int(true))
    objects = GaugeMetricFamily("arpfast_cluster_objects", "Objects that are known", labels=["resource"])
    complete = GaugeMetricFamily("arpfast_cluster_complete_bool", "Whether all are known", labels=["resource"])
    happened = CounterMetricFamily("arpfast_cluster_watch", "What watches met with", labels=["resource", "what"])
    for resource, (known, all_known, counts) in counted.watches.items():
        objects.add_metric([resource], known)
        complete.add_metric([resource], int(all_known))
        for what in counts.__struct_fields__:
            happened.add_metric([resource, what], getattr(counts, what))
    yield from (objects, complete, happened)
    requests = CounterMetricFamily(
        "arpfast_cluster_requests",
        "Requests to the API server; code 0: no answer",
        labels=["verb", "code"],
    )
    for (verb, code), count in sorted(client.requests.items()):
        requests.add_metric([verb, str(code)], count)
    yield requests
    if events is not None:
        told_events = CounterMetricFamily("arpfast_cluster_events", "Events by what became of them", labels=["outcome"])
        for outcome in ("told", "withheld", "lost"):
            told_events.add_metric([outcome], getattr(events, outcome))
        yield told_events
