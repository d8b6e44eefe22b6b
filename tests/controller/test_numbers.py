"""How long things took, as a histogram."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from controller.numbers import BOUNDS_S, Durations


def test_durations_are_counted_up_to_each_bound() -> None:
    durations = Durations()
    for duration_s in (0.001, 0.01, 0.02, 3600.0):
        durations.took(duration_s)

    class Scraped(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            yield durations.histogram("took_seconds", "It took")

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Scraped())
    lines = generate_latest(registry).decode().splitlines()
    assert 'took_seconds_bucket{le="0.01"} 2.0' in lines
    assert f'took_seconds_bucket{{le="{BOUNDS_S[-1]}"}} 3.0' in lines
    assert 'took_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "took_seconds_count 4.0" in lines
