"""What this node tells of each Service that it answers for, or announces: a ServiceL2Status, a ServiceBGPStatus.

The one says which node answers, and on which interfaces if not on all. Who answers sees to it that there is one such
object of a Service and no other node's; who does so no longer removes his own. The other says to which peers a node
announces it, and there is one of each node that does. The objects are the Pod's, so that they go with it.

What is written is compared with what is there: nothing is written twice. What is there is followed, and asked for only
until it is known: a list by labels costs the API server a look at every object that there is, and one for each of ten
thousand Services is more than it can do. What we write ourselves is remembered at once, since the watch may lag. What
somebody else has deleted, edited or left is put right after a second: perhaps that was the node that answers now, and
we are about to learn of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cluster import kinds
from cluster.client import MERGE_PATCH, ApiError
from cluster.errands import Errands
from cluster.kinds import Kind  # noqa: TC001 (a NamedTuple reads it)
from cluster.resources import Key, Metadata, Object, Struct
from cluster.watch import watch
from cluster.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.client import Client
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


class Stated(Object, frozen=True):
    """An object, for its status alone."""

    status: dict[str, Any] = msgspec.field(default_factory=dict)


class StatedList(Struct, frozen=True):
    """Some of them."""

    items: tuple[Stated, ...] | None = ()


class Form(NamedTuple):
    """A kind of status."""

    kind: Kind[Stated]
    prefix: str
    """Of the objects' names."""
    alone: bool
    """Of a Service there is one object, whichever node's."""


L2 = Form(replace(kinds.SERVICE_L2_STATUS, struct=Stated), "l2-", alone=True)  # type: ignore[arg-type]
BGP = Form(replace(kinds.SERVICE_BGP_STATUS, struct=Stated), "bgp-", alone=False)  # type: ignore[arg-type]

STATED = "interfaces", "peers"
"""What a status may say beside who tells it, and of what."""
Announced = dict[str, Any]
"""What is to be told of a Service, beside who tells it, as the status has it."""


def on_interfaces(names: Iterable[str]) -> Announced:
    """That a Service is answered for on these interfaces; none: on all."""
    return {"interfaces": [{"name": name} for name in sorted(names)]}


def to_peers(names: Iterable[str]) -> Announced:
    """That a Service is announced to these peers."""
    return {"peers": sorted(names)}


def object_body(form: Form, key: Key, node: str, namespace: str, pod: Object | None) -> bytes:
    """A new object, without what it says."""
    owners = [] if pod is None else [{"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name,
                                      "uid": pod.metadata.uid}]  # fmt: skip
    labels = {NODE: node, SERVICE_NAME: key.name, SERVICE_NAMESPACE: key.namespace}
    metadata = {"generateName": form.prefix, "namespace": namespace, "labels": labels, "ownerReferences": owners}
    return msgspec.json.encode(
        {"apiVersion": form.kind.api_version, "kind": form.kind.name, "metadata": metadata, "spec": {}}
    )


def status(key: Key, node: str, announced: Announced) -> dict[str, Any]:
    """What it says, as it is read again: without what is empty."""
    said = {"node": node, "serviceName": key.name, "serviceNamespace": key.namespace}
    return said | {field: value for field, value in announced.items() if value}


def abridge(said: dict[str, Any]) -> int:
    """What is remembered of a status: enough to tell whether it is another."""
    return hash(msgspec.json.encode(said, order="deterministic"))


class Report:
    """Keeps the cluster informed, while `run` runs."""

    def __init__(
        self, client: Client, form: Form, *, node: str, namespace: str, log: Log, pod: Object | None = None
    ) -> None:
        """Nothing is announced yet. `pod`: our own, if we are in one."""
        self._client, self._form = client, form
        self._node, self._namespace, self._pod = node, namespace, pod
        self.errands: Errands[Key, Announced | None] = Errands(
            self._write, log=log, what=f"writing a {form.kind.name}", in_flight=IN_FLIGHT
        )
        self._announced: dict[Key, Announced] = {}
        labels = "" if form.alone else f"{NODE}={node}"
        self._watching = Watching(form.kind, _reduce, namespace=namespace, labels=labels)
        self._there: dict[Key, dict[str, _About]] = {}
        """By Service, then by the object's name: ours, and others' where there should be none."""
        self._log = log

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.errands.run())
            tasks.create_task(watch(self._client, self._watching, self._seen, self._log))

    async def forget_former(self) -> None:
        """Remove what an earlier speaker of this node has left. Raises ApiError or OSError."""
        for each in await self._list(f"{NODE}={self._node}"):
            await self._delete(each.metadata.name)

    async def former(self) -> frozenset[Key]:
        """The Services of which an earlier speaker of this node has left something. Raises ApiError or OSError."""
        return frozenset(_reduce(each).service for each in await self._list(f"{NODE}={self._node}"))

    def announce(self, key: Key, announced: Announced) -> None:
        """This node announces a Service, from now on or otherwise than before."""
        self._announced[key] = announced
        self.errands.want(key, announced)

    def withdraw(self, key: Key) -> None:
        """It does so no longer."""
        self._announced.pop(key, None)
        self.errands.want(key, None)

    def _seen(self, changes: list[Changed[_About]]) -> None:
        for key, before, after in changes:
            if before is not None:
                self._forget(before.service, key.name)
            if after is not None:
                self._there.setdefault(after.service, {})[key.name] = after
            for about in {each.service for each in (before, after) if each is not None}:
                if not self._so(about):
                    asyncio.get_running_loop().call_later(AGAIN_S, self._again, about)

    def _forget(self, key: Key, name: str) -> None:
        """There is no such object of a Service."""
        there = self._there.get(key, {})
        there.pop(name, None)
        if not there:
            self._there.pop(key, None)

    def _so(self, key: Key) -> bool:
        """Whether what is there of a Service is what should be."""
        there = [*self._there.get(key, {}).values()]
        if key not in self._announced:  # what an earlier speaker announced by BGP stays until it is known what we do
            return not self._form.alone or all(each.node != self._node for each in there)
        wanted = abridge(status(key, self._node, self._announced[key]))
        return [(each.node, each.status) for each in there] == [(self._node, wanted)]

    def _again(self, key: Key) -> None:
        if not self._so(key) and key not in self.errands:
            self.errands.want(key, self._announced.get(key))

    async def _write(self, key: Key, wish: Announced | None) -> None:
        """Make it so that there is one object with this, or none of ours."""
        if max(len(self._node), len(key.name), len(key.namespace)) > LABEL_AT_MOST:
            return  # such an object could not be found again
        if not self._watching.complete:
            found = await self._list(f"{SERVICE_NAME}={key.name},{SERVICE_NAMESPACE}={key.namespace}")
            self._there[key] = {each.metadata.name: _reduce(each) for each in found}
        there = dict(self._there.get(key, {}))
        ours = [name for name, about in there.items() if about.node == self._node]
        kept = ours[0] if ours and wish is not None else None
        for name in there if wish is not None and self._form.alone else ours:
            if name != kept:
                await self._delete(name)
                self._forget(key, name)
        if wish is None:
            return
        if kept is None:
            kept = await self._make(key)
        await self._state(key, kept, status(key, self._node, wish))

    async def _make(self, key: Key) -> str:
        """A new object for a Service; its name."""
        body = object_body(self._form, key, self._node, self._namespace, self._pod)
        made = msgspec.json.decode(
            await self._client.request("create", self._form.kind, self._namespace, body=body), type=Stated
        )
        self._there.setdefault(key, {})[made.metadata.name] = _reduce(made)
        return made.metadata.name

    async def _state(self, key: Key, name: str, wanted: dict[str, Any]) -> None:
        """Have our object of a Service say this, and nothing else."""
        about = _About(key, self._node, abridge(wanted))
        if self._there.get(key, {}).get(name) == about:
            return
        said = dict.fromkeys(STATED) | wanted  # a merge-patch removes what is null
        try:
            await self._client.request(
                "patch", self._form.kind, self._namespace, name, "status",
                body=msgspec.json.encode({"status": said}), content_type=MERGE_PATCH,
            )  # fmt: skip
        except ApiError as error:
            if error.absent:
                self._forget(key, name)  # and the next attempt makes another
            raise
        self._there.setdefault(key, {})[name] = about

    async def _list(self, selector: str) -> tuple[Stated, ...]:
        query = {"labelSelector": selector}
        body = await self._client.request("list", self._form.kind, self._namespace, query=query)
        return msgspec.json.decode(body, type=StatedList).items or ()

    async def _delete(self, name: str) -> None:
        try:
            await self._client.request("delete", self._form.kind, self._namespace, name)
        except ApiError as error:
            if not error.absent:
                raise


class _About(NamedTuple):
    """All that is remembered of an object."""

    service: Key
    node: str
    status: int
    """Abridged."""


def _reduce(found: Stated) -> _About:
    labels = found.metadata.labels
    namespace, node = intern(labels.get(SERVICE_NAMESPACE, "")), intern(labels.get(NODE, ""))  # the same for many
    return _About(Key(namespace, labels.get(SERVICE_NAME, "")), node, abridge(found.status))


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
