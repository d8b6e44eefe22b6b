"""What is written to Services and pools."""

from __future__ import annotations

import msgspec

from cluster.resources import Metadata, Service
from cluster.status import Assigned, PoolCounts, pool_patch, service_patch, status_writer

SERVICE = Service(Metadata(name="web", namespace="shop", resource_version="7"))


def test_addresses_and_pool_in_one_patch_of_a_version() -> None:
    patch = service_patch(Assigned(SERVICE, ("192.0.2.1", "2001:db8::1"), "gold"))
    assert msgspec.json.decode(patch) == {
        "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": "gold"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]}},
    }


def test_what_is_cleared_is_null() -> None:
    assert msgspec.json.decode(service_patch(Assigned(SERVICE, (), ""))) == {
        "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": None}},
        "status": {"loadBalancer": {"ingress": None}},
    }


def test_a_pool_counts_no_further_than_its_crd() -> None:
    assert msgspec.json.decode(pool_patch(PoolCounts(3, 4, 5, 1 << 64))) == {
        "status": {"assignedIPv4": 3, "assignedIPv6": 4, "availableIPv4": 5, "availableIPv6": (1 << 63) - 1}
    }


def test_who_wrote_a_status() -> None:
    """Of those that the API server names, the last one that wrote addresses."""

    def wrote(manager: str, second: int, fields: object, subresource: str = "status") -> object:
        time = f"2026-01-01T00:00:{second:02}Z"
        return {"manager": manager, "time": time, "subresource": subresource, "fieldsV1": fields}

    balancer: object = {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}
    ours = wrote("arpfast", 7, {"f:metadata": {"f:annotations": {}}})
    told = [
        ([ours, wrote("one", 5, balancer), wrote("controller", 6, balancer)], "controller"),
        (
            [ours, wrote("controller", 6, balancer), wrote("linter", 8, {"f:status": {"f:conditions": {}}})],
            "controller",
        ),
        ([ours, wrote("kubectl", 8, {"f:spec": {}}, "")], ""),
        ([], ""),
    ]
    for managers, who in told:
        assert status_writer(msgspec.json.encode({"metadata": {"name": "web", "managedFields": managers}})) == who
    assert status_writer(b'{"metadata": {}}') == ""
