"""The metrics' names: MetalLB's dashboards and alerts read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from cluster.client import Client
from cluster.events import Events
from cluster.following import CONTROLLER, Following
from cluster.numbers import numbers
from tests.cluster.test_errands import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric


def test_what_is_read_at_a_scrape() -> None:
    client = Client(None)
    client.requests["list", 200] = 3
    following = Following(client, CONTROLLER, namespace="x", wake=lambda *_: None, log=Quiet())
    events = Events(client, controller="c", instance="i", log=Quiet())

    class Numbers(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from numbers(client, following, events)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers())
    lines = generate_latest(registry).decode().splitlines()
    for line in (
        "metallb_k8s_client_updates_total 0.0",
        "metallb_k8s_client_update_errors_total 0.0",
        "metallb_k8s_client_config_loaded_bool 0.0",
        "metallb_k8s_client_config_stale_bool 0.0",
        'arpfast_cluster_objects{resource="services"} 0.0',
        'arpfast_cluster_complete_bool{resource="ipaddresspools.metallb.io"} 0.0',
        'arpfast_cluster_watch_total{resource="services",what="failures"} 0.0',
        'arpfast_cluster_requests_total{code="200",verb="list"} 3.0',
        'arpfast_cluster_events_total{outcome="told"} 0.0',
    ):
        assert line in lines
    assert cast("object", following.problems) == ()
