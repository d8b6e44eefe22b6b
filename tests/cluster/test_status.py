"""What is written to Services and pools."""

from __future__ import annotations

import msgspec

from cluster.resources import Metadata, Service
from cluster.status import Assigned, PoolCounts, pool_patch, service_patch

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
