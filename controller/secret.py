"""The Secret with the key that the speakers' gossip is encrypted by: made once, if it is absent, and never read.

Speakers mount it, so their Pods wait until it is there.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

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


def body(namespace: str, name: str, owner: Object | None) -> bytes:
    """The Secret as it is made, with a new key. It goes when its owner goes, if it has one."""
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
    owners = []
    if owner is not None:
        uid = owner.metadata.uid
        owners.append({"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.metadata.name, "uid": uid})
    metadata = {"namespace": namespace, "name": name, "ownerReferences": owners}
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
        owner = None
        if self._deployment:
            found = await self._client.request("get", DEPLOYMENT, self._namespace, self._deployment)
            owner = msgspec.json.decode(found, type=Object)
        try:
            await self._client.request("create", kinds.SECRET, self._namespace, body=body(self._namespace, name, owner))
        except ApiError as error:
            if not error.conflict:  # another replica was faster
                raise
        else:
            self._log.info("made the ring's key", secret=name)
