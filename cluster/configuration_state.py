"""ConfigurationState: what controller and speakers say of the configuration, as objects for people and monitoring.

One object each, named `controller` or `speaker-<node>`, with one condition under MetalLB's name and words. It is
written by server-side apply, which makes it if it is not there, whenever what it says changes or somebody deletes or
edits it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cluster import kinds
from cluster.client import APPLY_PATCH
from cluster.errands import Errands
from cluster.resources import Object
from cluster.watch import watch
from cluster.watching import Watching

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.kinds import Kind
    from cluster.problems import Problem
    from cluster.watch import Log
    from cluster.watching import Changed

SUMMARY_AT_MOST = 16_384
"""Characters; as long as a message of a condition may be is twice that."""


class Author(NamedTuple):
    """Whose state it is."""

    name: str
    condition: str
    owner: str
    labels: dict[str, str]


CONTROLLER = Author("controller", "poolReconcilerValid", "poolReconciler", {"metallb.io/component-type": "controller"})


def speaker(node: str) -> Author:
    """The speaker of a node."""
    labels = {"metallb.io/component-type": "speaker", "metallb.io/node-name": node}
    return Author(f"speaker-{node}", "configReconcilerValid", "configReconciler", labels)


def object_body(author: Author, namespace: str, pod: Object | None) -> bytes:
    """The object without its status; it goes when the Pod goes, if there is one."""
    owners = []
    if pod is not None:
        owners.append({"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid})
    metadata = {"name": author.name, "namespace": namespace, "labels": author.labels, "ownerReferences": owners}
    return msgspec.json.encode({**_HEAD, "metadata": metadata})


def status_of(author: Author, problems: tuple[Problem, ...], since: datetime) -> dict[str, Any]:
    """Its status: what is wrong, since when."""
    summary = "\n".join(map(str, problems))
    if len(summary) > SUMMARY_AT_MOST:
        summary = summary[: SUMMARY_AT_MOST - 1] + "…"
    condition = {
        "type": author.condition,
        "status": "False" if problems else "True",
        "reason": "ConfigurationError" if problems else "Reconciled",
        "message": summary,
        "lastTransitionTime": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {"result": "Invalid" if problems else "Valid", "errorSummary": summary, "conditions": [condition]}


def status_body(author: Author, namespace: str, status: dict[str, Any]) -> bytes:
    """The object with its status alone."""
    return msgspec.json.encode({**_HEAD, "metadata": {"name": author.name, "namespace": namespace}, "status": status})


class Stated(Object, frozen=True):
    """`metallb.io/v1beta1.ConfigurationState`, for its status alone."""

    status: dict[str, Any] = msgspec.field(default_factory=dict)


_HEAD = {"apiVersion": kinds.CONFIGURATION_STATE.api_version, "kind": kinds.CONFIGURATION_STATE.name}


class ConfigurationState:
    """Keeps the object up to date, while `run` runs."""

    def __init__(self, client: Client, author: Author, *, namespace: str, log: Log, pod: Object | None = None) -> None:
        """Nothing has been said yet. `pod`: our own, if we are in one."""
        self._client, self._author, self._namespace, self._pod = client, author, namespace, pod
        self._errands: Errands[str, tuple[Problem, ...]] = Errands(
            self._write, log=log, what="telling of the configuration", in_flight=1, every_s=1.0
        )
        kind: Kind[Stated] = replace(kinds.CONFIGURATION_STATE, struct=Stated)  # type: ignore[assignment]
        self._object = Watching(kind, _stated, namespace=namespace, name=author.name)
        self._log = log
        self._problems: tuple[Problem, ...] | None = None
        """What is said; None: nothing."""
        self._valid: bool | None = None
        self._since = datetime.now(UTC)

    def want(self, problems: tuple[Problem, ...]) -> None:
        """Say this from now on."""
        valid = not problems
        if valid is not self._valid:
            self._valid, self._since = valid, datetime.now(UTC)
        self._problems = problems
        self._errands.want(self._author.name, problems)

    def leave(self) -> None:
        """Say nothing any more: others do."""
        self._problems = None
        self._errands.drop(self._author.name)

    async def run(self) -> None:
        """Write until cancelled; and again, if somebody deletes or edits the object."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._errands.run())
            tasks.create_task(watch(self._client, self._object, self._seen, self._log))

    def _seen(self, changes: list[Changed[dict[str, Any]]]) -> None:
        if self._problems is None or self._author.name in self._errands:
            return
        wanted = status_of(self._author, self._problems, self._since)
        if any(after != wanted for _, _, after in changes):
            self._errands.want(self._author.name, self._problems)

    async def _write(self, name: str, problems: tuple[Problem, ...]) -> None:
        status = status_of(self._author, problems, self._since)
        for subresource, body in (
            ("", object_body(self._author, self._namespace, self._pod)),
            ("status", status_body(self._author, self._namespace, status)),
        ):
            await self._client.request(
                "patch",
                kinds.CONFIGURATION_STATE,
                self._namespace,
                name,
                subresource,
                query={"fieldManager": self._author.owner, "force": "true"},
                body=body,
                content_type=APPLY_PATCH,
            )


def _stated(found: Stated) -> dict[str, Any]:
    """All that is remembered of the object."""
    return found.status
