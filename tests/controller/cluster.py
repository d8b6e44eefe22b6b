"""Services, pools, and a cluster of them that carries out what the allocator decides, as the API server would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.spans import Span
from cluster.config import Pool
from cluster.resources import (
    ADDRESS_POOL,
    ALLOCATED_FROM,
    ALLOW_SHARED_IP,
    LOAD_BALANCER_IPS,
    Ingress,
    Key,
    LoadBalancerStatus,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from controller.allocator import Allocator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.outcome import Assignment, Outcome

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
INSIDE = {4: "10.96.0.7", 6: "fd00:96::7"}


def pool(name: str, *addresses: str, **fields: Any) -> Pool:
    return Pool(name=name, spans=tuple(map(Span.parse, addresses)), **fields)


def service(
    name: str = "web",
    *,
    namespace: str = "shop",
    families: tuple[int, ...] = (4,),
    policy: str = "",
    pool: str | None = None,
    ips: str | None = None,
    ip: str = "",
    share: str | None = None,
    ports: Iterable[tuple[str, int]] = (("TCP", 80),),
    has: tuple[str, ...] = (),
    of: str = "",
    labels: dict[str, str] | None = None,
    local: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Service:
    """A Service. `ips`, `pool`, `share`: MetalLB's annotations; `ip`: `spec.loadBalancerIP`; `has`, `of`: what it has,
    and of which pool; `local`: its selector, if its externalTrafficPolicy is Local.
    """
    given = {ADDRESS_POOL: pool, LOAD_BALANCER_IPS: ips, ALLOW_SHARED_IP: share, ALLOCATED_FROM: of or None}
    noted = {key: value for key, value in given.items() if value is not None} | (annotations or {})
    inside = tuple(INSIDE[version] for version in families)
    fields: dict[str, Any] = {
        "type": "LoadBalancer",
        "cluster_ip": inside[0] if inside else "",
        "cluster_ips": inside,
        "ip_families": tuple(f"IPv{version}" for version in families),
        "ip_family_policy": policy,
        "ports": tuple(ServicePort(port, protocol) for protocol, port in ports),
        "load_balancer_ip": ip,
        "selector": local or {},
        "external_traffic_policy": "Cluster" if local is None else "Local",
    }
    return Service(
        Metadata(name=name, namespace=namespace, labels=labels or {}, annotations=noted),
        ServiceSpec(**fields | spec),
        ServiceStatus(LoadBalancerStatus(tuple(map(Ingress, has)))),
    )


def written(service: Service, assignment: Assignment | None) -> Service:
    """The same, once its status says what it has."""
    addresses = () if assignment is None else tuple(Ingress(str(one)) for one in assignment.addresses)
    annotations = {name: value for name, value in service.metadata.annotations.items() if name != ALLOCATED_FROM}
    if assignment is not None:
        annotations[ALLOCATED_FROM] = assignment.pool
    return msgspec.structs.replace(
        service,
        metadata=msgspec.structs.replace(service.metadata, annotations=annotations),
        status=ServiceStatus(LoadBalancerStatus(addresses)),
    )


class Cluster:
    """Services whose status is what the allocator decided, tried again when their turn comes."""

    def __init__(self, *pools: Pool, **settings: Any) -> None:
        self.settings = settings
        self.now_s = 0.0
        self.services: dict[Key, Service] = {}
        self.pools: tuple[Pool, ...] = ()
        self.allocator = Allocator(**settings)
        self.outcomes: dict[Key, Outcome] = {}
        self.tried = 0
        self.set_pools(*pools)

    def set_pools(self, *pools: Pool) -> list[Key]:
        """Replace the pools; returns who was asked about."""
        self.pools = pools
        affected = self.allocator.set_pools({one.name: one for one in pools})
        for key in affected:
            self.converge(key)
        self.take_turns()
        return affected

    def apply(self, one: Service) -> Outcome:
        """Create or change a Service: its status stays as it is, unless `one` says otherwise."""
        before = self.services.get(one.key)
        if before is not None and not one.status.load_balancer.ingress:
            one = written(one, self.allocator.assignment(one.key))
        self.services[one.key] = one
        outcome = self.converge(one.key)
        self.take_turns()
        return outcome

    def delete(self, name: str, namespace: str = "shop") -> None:
        key = Key(namespace, name)
        del self.services[key]
        self.allocator.forget(key, self.now_s)
        self.take_turns()

    def restart(self) -> None:
        """Another process, which knows nothing but what the statuses say."""
        self.allocator = Allocator(**self.settings)
        self.allocator.set_pools({one.name: one for one in self.pools})
        for one in self.services.values():
            self.allocator.adopt(one, self.now_s)
        for key in self.services:
            self.converge(key)
        self.take_turns()

    def addresses(self, name: str = "web", namespace: str = "shop") -> tuple[str, ...]:
        """What a Service has, by its status."""
        return tuple(one.ip for one in self.services[Key(namespace, name)].status.load_balancer.ingress)

    def all(self) -> dict[str, tuple[str, ...]]:
        """What each Service has, by name."""
        return {key.name: self.addresses(key.name, key.namespace) for key in self.services}

    def converge(self, key: Key) -> Outcome:
        """Decide once more what a Service has."""
        self.tried += 1
        outcome = self.outcomes[key] = self.allocator.converge(self.services[key], self.now_s)
        assert outcome.assignment == self.allocator.assignment(key)
        self.services[key] = written(self.services[key], outcome.assignment)
        return outcome

    def take_turns(self) -> None:
        """Let those decide who may get now what they have waited for."""
        for key in self.allocator.turns():
            self.converge(key)


def reasons(outcome: Outcome) -> list[str]:
    """The reasons of its Events."""
    return [note.reason for note in outcome.notes]
