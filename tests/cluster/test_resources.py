"""What is read of objects, from the API's bytes."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from cluster.resources import LOAD_BALANCER_IPS, Endpoint, EndpointSlice, Metadata, Secret, Service
from cluster.world import Serving


def read(kind: type[Any], text: str) -> Any:
    return msgspec.json.decode(text, type=kind)


def test_annotations_of_others_are_dropped() -> None:
    annotations = {"kubectl.kubernetes.io/x": "1", "metallb.io/address-pool": "2", "metallb.universe.tf/y": "3"}
    kept = {"metallb.io/address-pool": "2", "metallb.universe.tf/y": "3"}
    assert Metadata(annotations=annotations).annotations == kept


def test_the_new_annotation_wins_even_when_empty() -> None:
    old, new = {"metallb.universe.tf/loadBalancerIPs": "192.0.2.1"}, {LOAD_BALANCER_IPS: ""}
    assert Service(Metadata(annotations=old)).annotation(LOAD_BALANCER_IPS) == "192.0.2.1"
    assert Service(Metadata(annotations=old | new)).annotation(LOAD_BALANCER_IPS) == ""
    assert Service(Metadata()).annotation(LOAD_BALANCER_IPS) is None


def test_labels_are_in_memory_once() -> None:
    one, other = (
        read(Metadata, '{"namespace": "shop-of-many", "labels": {"a-label/that-is-long": "a value of it"}}')
        for _ in range(2)
    )
    assert one.namespace is other.namespace
    assert next(iter(one.labels.items()))[0] is next(iter(other.labels.items()))[0]


def test_the_garbage_collector_need_not_look() -> None:
    one = read(Service, '{"metadata": {"name": "web"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}')
    assert not any(map(gc.is_tracked, (one, one.metadata, one.spec, one.status, one.status.load_balancer)))


@pytest.mark.parametrize(
    ("conditions", "serves"),
    [
        ("{}", True),
        ('{"ready": true}', True),
        ('{"ready": false}', False),
        ('{"ready": false, "serving": true, "terminating": true}', True),
        ('{"ready": false, "serving": false}', False),
        ('{"ready": null}', True),
    ],
)
def test_who_serves(conditions: str, serves: bool) -> None:
    assert read(Endpoint, f'{{"conditions": {conditions}}}').serves is serves


def test_slices_come_to_nodes() -> None:
    slices = [
        read(EndpointSlice, f'{{"metadata": {{}}, "endpoints": {endpoints}}}')
        for endpoints in (
            '[{"addresses": ["10.0.0.1"], "nodeName": "n1"}, {"addresses": [], "nodeName": "n2"}]',
            "null",
        )
    ]
    assert Serving.of(slices) == Serving(True, frozenset({"n1"}))
    elsewhere = read(EndpointSlice, '{"metadata": {}, "endpoints": [{"addresses": ["10.0.0.1"]}]}')
    assert Serving.of([elsewhere]) == Serving(True, frozenset())


def test_a_secret_is_not_shown() -> None:
    secret = read(Secret, '{"metadata": {"name": "bgp", "namespace": "x"}, "data": {"password": "aHVudGVyMg=="}}')
    assert repr(secret) == str(secret) == "Secret(x/bgp)"
