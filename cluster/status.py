"""What the controller writes: the addresses of Services, and how full the pools are.

A Service's addresses and the pool that they are of (an annotation) go in one merge-patch of its status, which names the
version of the Service that they were decided upon. Whoever decided upon an older one is refused, gets the Service as it
is now, and decides again: so two controllers that both believe to lead, or one that was killed between deciding and
writing, never give an address twice by a status that nobody has seen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cluster import kinds
from cluster.client import MERGE_PATCH, NAME
from cluster.errands import IN_FLIGHT, Errands
from cluster.kinds import Kind
from cluster.refusal import ApiError
from cluster.resources import ALLOCATED_FROM, Metadata, Object, Service, Struct
from cluster.watch import watch
from cluster.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.client import Client
    from cluster.resources import Key
    from cluster.watch import Log
    from cluster.watching import Changed

POOL_EVERY_S = 1.0


class Assigned(NamedTuple):
    """What is to be written to a Service."""

    service: Service
    """As it was when this was decided."""
    addresses: tuple[str, ...]
    """In the order of the status; none: the status is cleared."""
    pool: str
    """Empty: the annotation is removed."""


class PoolCounts(NamedTuple):
    """An IPAddressPool's status, in its words."""

    assigned_ipv4: int
    assigned_ipv6: int
    available_ipv4: int
    available_ipv6: int


class PoolStatus(Struct, frozen=True):
    """The same as it is written."""

    assigned_ipv4: int = msgspec.field(default=0, name="assignedIPv4")
    assigned_ipv6: int = msgspec.field(default=0, name="assignedIPv6")
    available_ipv4: int = msgspec.field(default=0, name="availableIPv4")
    available_ipv6: int = msgspec.field(default=0, name="availableIPv6")


class StatedPool(Object, frozen=True):
    """`metallb.io/v1beta1.IPAddressPool`, for its status alone."""

    status: PoolStatus | None = None


_POOLS = Kind(kinds.METALLB, kinds.ADDRESS_POOL.version, kinds.ADDRESS_POOL.name, kinds.ADDRESS_POOL.plural, StatedPool)

COUNT_AT_MOST = (1 << 63) - 1
"""The CRD's integers have 64 bits; an IPv6 pool may hold more."""


def service_patch(assigned: Assigned) -> bytes:
    """The merge-patch of a Service's status. What is cleared is null, which removes it (RFC 7396)."""
    metadata = assigned.service.metadata
    return msgspec.json.encode(
        {
            "metadata": {
                "resourceVersion": metadata.resource_version,
                "annotations": {ALLOCATED_FROM: assigned.pool or None},
            },
            "status": {"loadBalancer": {"ingress": [{"ip": address} for address in assigned.addresses] or None}},
        }
    )


def pool_status(counts: PoolCounts) -> PoolStatus:
    """The same as the CRD takes it."""
    return PoolStatus(*(min(count, COUNT_AT_MOST) for count in counts))


def pool_patch(counts: PoolCounts) -> bytes:
    """The merge-patch of a pool's status."""
    return msgspec.json.encode({"status": pool_status(counts)})


async def read_service(client: Client, key: Key) -> Service | None:
    """A Service as the API server has it now; None, if there is none."""
    try:
        body = await client.request("get", kinds.SERVICE, key.namespace, key.name)
    except ApiError as error:
        if error.absent:
            return None
        raise
    return msgspec.json.decode(body, type=Service)


class _Manager(Struct, frozen=True):
    """`metav1.ManagedFieldsEntry`: who wrote which fields last."""

    manager: str = ""
    time: str = ""
    fields_v1: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="fieldsV1")


class _Managed(Struct, frozen=True):
    managed_fields: tuple[_Manager, ...] = ()


class _ManagedObject(Struct, frozen=True):
    metadata: _Managed = _Managed()


_WRITTEN_BY_US = b'"f:loadBalancer"', b'"f:%s"' % ALLOCATED_FROM.encode()


def overwriter(body: bytes) -> str:
    """Who wrote last what we write to this Service, as the API server calls him; empty: nobody that it knows of.

    Our own name (`client.NAME`) means another of us. Who only removed something is known by having come last.
    """

    def suspicion(each: _Manager) -> tuple[bool, str, bool]:
        other, wrote = each.manager != NAME, bytes(each.fields_v1)
        return other and any(field in wrote for field in _WRITTEN_BY_US), each.time, other

    managers = msgspec.json.decode(body, type=_ManagedObject).metadata.managed_fields
    return max(managers, key=suspicion).manager if managers else ""


async def read_overwriter(client: Client, key: Key) -> str:
    """Who wrote to a Service what we write, and did so last; empty: nobody that is known, or it is gone."""
    try:
        return overwriter(await client.request("get", kinds.SERVICE, key.namespace, key.name))
    except ApiError as error:
        if error.absent:
            return ""
        raise


class Statuses:
    """Writes the status of Services, many at once and each one in turn, while `run` runs."""

    def __init__(
        self,
        client: Client,
        *,
        written: Callable[[Service], None],
        stale: Callable[[Key, Service | None], None],
        log: Log,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        """`written` hears of each Service as it is with what was written; `stale` of one that has changed since it was
        decided upon, as it is now (None: it is gone), and may `want` something else for it.
        """
        self._client, self._written, self._stale = client, written, stale
        self.errands: Errands[Key, Assigned] = Errands(
            self._write, log=log, what="writing a service's status", in_flight=in_flight
        )

    def want(self, assigned: Assigned) -> None:
        """Write this, instead of what was wished for the same Service before."""
        self.errands.want(assigned.service.key, assigned)

    async def run(self) -> None:
        """Write until cancelled."""
        await self.errands.run()

    async def _write(self, key: Key, assigned: Assigned) -> None:
        try:
            body = await _patch(self._client, kinds.SERVICE, key, service_patch(assigned))
        except ApiError as error:
            if not error.conflict and not error.absent:
                raise
            self._stale(key, await read_service(self._client, key) if error.conflict else None)
        else:
            self._written(msgspec.json.decode(body, type=Service))


class PoolStatuses:
    """Writes how full pools are, each at most once a second, while `run` runs; and again, if it is there no longer:
    somebody has written something else, or put another pool of the same name in its place.
    """

    def __init__(self, client: Client, *, namespace: str, log: Log) -> None:
        """Nothing is to be written yet. The pools are in `namespace`."""
        self._client, self._log = client, log
        self._pools = Watching(_POOLS, _stated, namespace=namespace)
        self._counts: dict[Key, PoolCounts] = {}
        """What was last to be written, also of pools that are gone: they may come again."""
        self.errands: Errands[Key, PoolCounts] = Errands(
            self._write, log=log, what="writing a pool's status", in_flight=4, every_s=POOL_EVERY_S
        )

    def want(self, key: Key, counts: PoolCounts) -> None:
        """Write this, instead of what was wished for the same pool before."""
        self._counts[key] = counts
        self.errands.want(key, counts)

    def about(self, key: Key) -> Object:
        """A pool, as Events name it."""
        found = self._pools.objects.get(key)
        uid = found.metadata.uid if found is not None else ""
        return Object(Metadata(name=key.name, namespace=key.namespace, uid=uid))

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.errands.run())
            tasks.create_task(watch(self._client, self._pools, self._seen, self._log))

    def _seen(self, changes: list[Changed[StatedPool]]) -> None:
        for key, _, after in changes:
            counts = self._counts.get(key)
            if after is None or counts is None or key in self.errands:
                continue
            if after.status != pool_status(counts):
                self.errands.want(key, counts)

    async def _write(self, key: Key, counts: PoolCounts) -> None:
        try:
            await _patch(self._client, kinds.ADDRESS_POOL, key, pool_patch(counts))
        except ApiError as error:
            if not error.absent:
                raise


def _stated(pool: StatedPool) -> StatedPool:
    """What is remembered of a pool."""
    return StatedPool(Metadata(uid=pool.metadata.uid), pool.status)


async def _patch(client: Client, kind: Kind[Object], key: Key, body: bytes) -> bytes:
    """Patch the status of an object; returns the object as it is then."""
    return await client.request("patch", kind, key.namespace, key.name, "status", body=body, content_type=MERGE_PATCH)
