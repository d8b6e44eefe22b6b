"""Where the API has what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster import kinds

if TYPE_CHECKING:
    from cluster.resources import Object


@pytest.mark.parametrize(
    ("kind", "where", "expected"),
    [
        (kinds.NODE, (), "/api/v1/nodes"),
        (kinds.SERVICE, (), "/api/v1/services"),
        (kinds.SERVICE, ("shop", "web", "status"), "/api/v1/namespaces/shop/services/web/status"),
        (kinds.BGP_PEER, ("metallb-system",), "/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers"),
        (kinds.SERVICE, ("a/b", "../c"), "/api/v1/namespaces/a%2Fb/services/..%2Fc"),
    ],
)
def test_paths(kind: kinds.Kind[Object], where: tuple[str, ...], expected: str) -> None:
    assert kind.path(*where) == expected


def test_names() -> None:
    assert (kinds.SERVICE.resource, kinds.SERVICE.api_version) == ("services", "v1")
    assert kinds.ADDRESS_POOL.resource == "ipaddresspools.metallb.io"
    assert kinds.ADDRESS_POOL.api_version == "metallb.io/v1beta1"
