"""What this node tells the cluster of what it answers for: an Event, and a ServiceL2Status for each Service.

The status says which node answers, and on which interfaces if not on all. The one who answers sees to it that there is
one such object of a Service and no other node's; who does so no longer removes his own. The objects are the Pod's, so
that they go with it. What is written is compared with what is there: nothing is written twice. What somebody else has
deleted is made again, after a second: perhaps that was the node that answers now, and we are about to learn of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cluster import kinds
from cluster.client import MERGE_PATCH, ApiError
from cluster.errands import Errands
from cluster.resources import Key, Metadata, Object, Struct
from cluster.watch import watch
from cluster.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.client import Client
    from cluster.events import Events
    from cluster.resources import Service
    from cluster.watch import Log
    from cluster.watching import Changed

NODE, SERVICE_NAME, SERVICE_NAMESPACE = (
    "metallb.io/node",
    "metallb.io/service-name",
    "metallb.io/service-namespace",
)
LABEL_AT_MOST = 63
IN_FLIGHT = 8
AGAIN_S = 1.0


class InterfaceName(Struct, frozen=True):
    """An interface."""

    name: str


class L2Status(Struct, frozen=True):
    """What a ServiceL2Status says."""

    node: str = ""
    interfaces: tuple[InterfaceName, ...] = ()


class ServiceL2Status(Object, frozen=True):
    """`metallb.io/v1beta1.ServiceL2Status`."""

    status: L2Status = L2Status()


class StatusList(Struct, frozen=True):
    """Some of them."""

    items: tuple[ServiceL2Status, ...] | None = ()


class Announced(NamedTuple):
    """What is to be told of a Service that this node answers for."""

    interfaces: tuple[str, ...] = ()
    """In order; none: all."""


def object_body(key: Key, node: str, namespace: str, pod: Object | None) -> bytes:
    """A new ServiceL2Status, without what it says."""
    owners = [] if pod is None else [{"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name,
                                      "uid": pod.metadata.uid}]  # fmt: skip
    labels = {NODE: node, SERVICE_NAME: key.name, SERVICE_NAMESPACE: key.namespace}
    metadata = {"generateName": "l2-", "namespace": namespace, "labels": labels, "ownerReferences": owners}
    return msgspec.json.encode({**_HEAD, "metadata": metadata, "spec": {}})


def status_body(key: Key, node: str, announced: Announced) -> bytes:
    """A merge-patch with what it says."""
    status: dict[str, Any] = {"node": node, "serviceName": key.name, "serviceNamespace": key.namespace}
    status["interfaces"] = [{"name": name} for name in announced.interfaces] or None
    return msgspec.json.encode({"status": status})


_HEAD = {"apiVersion": kinds.SERVICE_L2_STATUS.api_version, "kind": kinds.SERVICE_L2_STATUS.name}


class Report:
    """Keeps the cluster informed, while `run` runs."""

    def __init__(
        self, client: Client, events: Events, *, node: str, namespace: str, log: Log, pod: Object | None = None
    ) -> None:
        """Nothing is answered for yet. `pod`: our own, if we are in one."""
        self._client, self._events = client, events
        self._node, self._namespace, self._pod = node, namespace, pod
        self.errands: Errands[Key, Announced | None] = Errands(
            self._write, log=log, what="writing a service's L2 status", in_flight=IN_FLIGHT
        )
        self._announced: dict[Key, Announced] = {}
        self._ours = Watching(kinds.SERVICE_L2_STATUS, _about, namespace=namespace, labels=f"{NODE}={node}")
        self._log = log

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.errands.run())
            tasks.create_task(watch(self._client, self._ours, self._seen, self._log))

    async def forget_former(self) -> None:
        """Remove what an earlier speaker of this node has left. Raises ApiError or OSError."""
        for each in await self._list(f"{NODE}={self._node}"):
            await self._delete(each)

    def announce(self, key: Key, interfaces: Iterable[str]) -> None:
        """This node answers for a Service, from now on or on other interfaces than before."""
        self._announced[key] = announced = Announced(tuple(sorted(interfaces)))
        self.errands.want(key, announced)

    def withdraw(self, key: Key) -> None:
        """It does so no longer."""
        self._announced.pop(key, None)
        self.errands.want(key, None)

    def assigned(self, service: Service) -> None:
        """Say that this node answers for it: once."""
        note = f'announcing from node "{self._node}" with protocol "layer2"'
        self._events.say(service, "Normal", "nodeAssigned", note)

    def failed(self, service: Service, wanted: Iterable[str]) -> None:
        """Say that it cannot, for none of the interfaces that it should is there."""
        note = f'node "{self._node}" should announce on {", ".join(sorted(wanted))}, and has no such interface'
        self._events.say(service, "Warning", "announceFailed", note)

    def _seen(self, changes: list[Changed[Key]]) -> None:
        for _, about, after in changes:
            if about is not None and after is None and about in self._announced:
                asyncio.get_running_loop().call_later(AGAIN_S, self._again, about)

    def _again(self, key: Key) -> None:
        if key in self._announced and key not in self.errands:
            self.errands.want(key, self._announced[key])

    async def _write(self, key: Key, wish: Announced | None) -> None:
        """Make it so that there is one object with this, or none of ours."""
        if max(len(self._node), len(key.name), len(key.namespace)) > LABEL_AT_MOST:
            return  # such an object could not be found again
        there = await self._list(f"{SERVICE_NAME}={key.name},{SERVICE_NAMESPACE}={key.namespace}")
        ours = [each for each in there if each.metadata.labels.get(NODE) == self._node]
        kept = ours[0] if ours and wish is not None else None
        for each in ours if wish is None else there:
            if each is not kept:
                await self._delete(each)
        if wish is None:
            return
        if kept is None:
            body = object_body(key, self._node, self._namespace, self._pod)
            made = await self._client.request("create", kinds.SERVICE_L2_STATUS, self._namespace, body=body)
            kept = msgspec.json.decode(made, type=ServiceL2Status)
        if kept.status != L2Status(self._node, tuple(map(InterfaceName, wish.interfaces))):
            await self._client.request(
                "patch",
                kinds.SERVICE_L2_STATUS,
                self._namespace,
                kept.metadata.name,
                "status",
                body=status_body(key, self._node, wish),
                content_type=MERGE_PATCH,
            )

    async def _list(self, selector: str) -> tuple[ServiceL2Status, ...]:
        query = {"labelSelector": selector}
        body = await self._client.request("list", kinds.SERVICE_L2_STATUS, self._namespace, query=query)
        return msgspec.json.decode(body, type=StatusList).items or ()

    async def _delete(self, status: ServiceL2Status) -> None:
        try:
            await self._client.request("delete", kinds.SERVICE_L2_STATUS, self._namespace, status.metadata.name)
        except ApiError as error:
            if not error.absent:
                raise


def _about(status: Object) -> Key:
    """All that is remembered of an object: which Service it is about."""
    labels = status.metadata.labels
    return Key(labels.get(SERVICE_NAMESPACE, ""), labels.get(SERVICE_NAME, ""))


async def own_pod(client: Client, namespace: str, name: str) -> Object | None:
    """Our Pod, which owns what we write; None, if we are in none, or may not know."""
    if not name:
        return None
    try:
        body = await client.request("get", kinds.POD, namespace, name)
    except ApiError as error:
        if error.absent:
            return None
        raise
    found = msgspec.json.decode(body, type=Object)
    return Object(Metadata(found.metadata.name, namespace, found.metadata.uid))
