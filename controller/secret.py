"""The Secret with the key that the speakers' gossip is encrypted by: made once, if it is absent, and never read.

Speakers mount it, so their Pods wait until it is there.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from cluster import kinds
from cluster.client import ApiError
from cluster.errands import Errands
from cluster.kinds import Kind
from cluster.resources import Object

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.watch import Log

DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", Object)
KEY_BYTES = 16
FIELD = "secretkey"


async def read_owner(client: Client, namespace: str, deployment: str) -> Object | None:
    """The Deployment that is to own what we make; None, if it has no name. Raises ApiError and OSError."""
    if not deployment:
        return None
    return msgspec.json.decode(await client.request("get", DEPLOYMENT, namespace, deployment), type=Object)


def metadata_of(namespace: str, name: str, owner: Object | None) -> dict[str, Any]:
    """The metadata of a Secret, which goes when its owner goes, if it has one."""
    owners = []
    if owner is not None:
        uid = owner.metadata.uid
        owners.append({"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.metadata.name, "uid": uid})
    return {"namespace": namespace, "name": name, "ownerReferences": owners}


def body(namespace: str, name: str, owner: Object | None) -> bytes:
    """The Secret as it is made, with a new key."""
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
    metadata = metadata_of(namespace, name, owner)
    return msgspec.json.encode({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {FIELD: key}})


class RingKey:
    """Sees to it that the Secret is there, while `run` runs."""

    def __init__(self, client: Client, *, namespace: str, name: str, deployment: str, log: Log) -> None:
        """`deployment` is to own it; empty: nobody."""
        self._client, self._namespace, self._deployment, self._log = client, namespace, deployment, log
        self.errands: Errands[str, None] = Errands(self._make, log=log, what="making the ring's key", in_flight=1)
        self.errands.want(name, None)

    async def run(self) -> None:
        """Try until it is there."""
        await self.errands.run()

    async def _make(self, name: str, _wish: None) -> None:
        try:
            await self._client.request("get", kinds.SECRET, self._namespace, name)
        except ApiError as error:
            if not error.absent:
                raise
        else:
            return
        owner = await read_owner(self._client, self._namespace, self._deployment)
        try:
            await self._client.request("create", kinds.SECRET, self._namespace, body=body(self._namespace, name, owner))
        except ApiError as error:
            if not error.conflict:  # another replica was faster
                raise
        else:
            self._log.info("made the ring's key", secret=name)
