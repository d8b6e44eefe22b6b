"""What is written to Services and pools."""

from __future__ import annotations

import msgspec

from cluster.resources import Metadata, Service
from cluster.status import Assigned, PoolCounts, overwriter, pool_patch, service_patch

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


def test_who_wrote_over_what_we_wrote() -> None:
    """Of those that the API server names: who has one of our fields now, or else who came last."""

    def wrote(manager: str, second: int, fields: object) -> object:
        return {"manager": manager, "time": f"2026-01-01T00:00:{second:02}Z", "fieldsV1": fields}

    balancer: object = {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}
    pool: object = {"f:metadata": {"f:annotations": {"f:metallb.io/ip-allocated-from-pool": {}}}}
    made = wrote("kubectl-create", 1, {"f:spec": {"f:loadBalancerIP": {}}})
    ours, linter = wrote("arpfast", 7, pool), wrote("linter", 8, {"f:status": {"f:conditions": {}}})
    told = [
        ([made, ours, wrote("controller", 7, balancer), linter], "controller"),
        ([made, wrote("arpfast", 7, balancer), wrote("controller", 6, pool)], "controller"),
        ([made, ours, wrote("kubectl-replace", 7, {"f:spec": {}})], "kubectl-replace"),
        ([made, ours], "arpfast"),
        ([], ""),
    ]
    for managers, who in told:
        assert overwriter(msgspec.json.encode({"metadata": {"name": "web", "managedFields": managers}})) == who
    assert overwriter(b'{"metadata": {}}') == ""
