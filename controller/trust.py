"""That the API server believes the webhook: a Secret with its certificates, and their authority told to who asks.

    Secret <--made, renewed-- Trust --authority--> ValidatingWebhookConfiguration
      |                         ^                        |
      '--------watched----------'-------watched----------'       serve(material), when the API server knows who signed

Every replica does all of this, and none has to lead. What is written names the version that it is about, or is the
same whoever writes it, so that of several the first wins and the others hear of it. A certificate of another authority
is not shown before each webhook that names our Service has that authority; the former one is valid until then.

Manifests have no authority in them: applying them again takes none away.
"""

from __future__ import annotations

import asyncio
import base64
from binascii import Error
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cluster import kinds
from cluster.client import APPLY_PATCH, MERGE_PATCH, ApiError
from cluster.errands import Errands
from cluster.kinds import Kind
from cluster.resources import Object, Secret, Struct
from cluster.watch import watch
from cluster.watching import Watching
from controller.certificates import Material, due, renew
from controller.secret import metadata_of, read_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.client import Client
    from cluster.watch import Log
    from cluster.watching import Changed

CONFIGURATION = "metallb-webhook-configuration"
OWNER = "metallb-controller"
LOOK_EVERY_S = 3600.0
"""How long at most until it is seen that something is due."""


T = TypeVar("T", bound=Object)


class ServiceReference(Struct, frozen=True):
    """`admissionregistration.k8s.io/v1.ServiceReference`."""

    name: str = ""
    namespace: str = ""


class WebhookClient(Struct, frozen=True):
    """`admissionregistration.k8s.io/v1.WebhookClientConfig`."""

    ca_bundle: str = ""
    service: ServiceReference = ServiceReference()


class Webhook(Struct, frozen=True):
    """`admissionregistration.k8s.io/v1.ValidatingWebhook`."""

    name: str
    client_config: WebhookClient = WebhookClient()


class WebhookConfiguration(Object, frozen=True):
    """`admissionregistration.k8s.io/v1.ValidatingWebhookConfiguration`."""

    webhooks: tuple[Webhook, ...] = ()


WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
    WebhookConfiguration,
)  # fmt: skip


class Trust:
    """Keeps Secret and configuration as they have to be, while `run` runs."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        secret: str,
        service: str,
        deployment: str,
        serve: Callable[[Material], None],
        log: Log,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`service` is what the API server reaches us by; `deployment` is to own the Secret (empty: nobody); `serve`
        is called with what to show from then on.
        """
        self._client, self._namespace, self._name, self._deployment = client, namespace, secret, deployment
        self._service = ServiceReference(service, namespace)
        self.names = [f"{service}.{namespace}.svc", f"{service}.{namespace}"]
        self._serve, self._log, self._clock = serve, log, clock
        self._secret: Watching[Secret, Secret] = Watching(kinds.SECRET, _whole, namespace=namespace, name=secret)
        self._webhooks: Watching[WebhookConfiguration, WebhookConfiguration] = Watching(
            WEBHOOKS, _whole, name=CONFIGURATION
        )
        self.errands: Errands[str, Material | Secret | None] = Errands(
            self._write, log=log, what="keeping the webhook trusted"
        )
        self._served: Material | None = None
        self._due: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.errands.run())
                tasks.create_task(watch(self._client, self._secret, self._seen, self._log))
                tasks.create_task(watch(self._client, self._webhooks, self._seen, self._log))
        finally:
            if self._due is not None:
                self._due.cancel()

    def _seen(self, _changes: list[Changed[Any]]) -> None:
        """One of them is so now."""
        self._look()

    def _look(self) -> None:
        """See what is to be done, and when to look again."""
        if not self._secret.complete:
            return
        if self._due is not None:
            self._due.cancel()
        found = next(iter(self._secret.objects.values()), None)
        material = _material(found)
        renewal, left_s = due(material, self.names), LOOK_EVERY_S
        if renewal is not None and (ahead_s := (renewal - self._clock()).total_seconds()) > 0:
            left_s = min(ahead_s, LOOK_EVERY_S)
        else:
            self.errands.want(self._name, found)
        self._due = asyncio.get_running_loop().call_later(left_s, self._look)
        if renewal is None or not self._webhooks.complete:
            return
        believed = self._is_believed(material)
        if not believed:
            self.errands.want(CONFIGURATION, material)
        if material != self._served and (self._served is None or believed):
            self._served = material
            self._serve(material)

    @property
    def _asking(self) -> list[Webhook]:
        """The webhooks by which the API server asks us."""
        configured = next(iter(self._webhooks.objects.values()), None)
        found = configured.webhooks if configured else ()
        return [each for each in found if each.client_config.service == self._service]

    def _is_believed(self, material: Material) -> bool:
        """Whether the API server trusts these authorities wherever it asks us."""
        wanted = base64.b64encode(material.authorities).decode()
        return all(each.client_config.ca_bundle == wanted for each in self._asking)

    async def _write(self, _name: str, wish: Material | Secret | None) -> None:
        if isinstance(wish, Material):
            await self._inject(wish)
        else:
            await self._renew(wish)

    async def _renew(self, found: Secret | None) -> None:
        """Write new certificates in the place of what was found."""
        data = renew(
            _material(found), self.names, self._clock()
        ).data  # whose bytes JSON has in base64, as a Secret does
        try:
            if found is None:
                owner = await read_owner(self._client, self._namespace, self._deployment)
                metadata = metadata_of(self._namespace, self._name, owner)
                body = msgspec.json.encode({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
                await self._client.request("create", kinds.SECRET, self._namespace, body=body)
            else:
                metadata = {"resourceVersion": found.metadata.resource_version}
                body = msgspec.json.encode({"metadata": metadata, "data": data})
                await self._client.request(
                    "patch", kinds.SECRET, self._namespace, self._name, body=body, content_type=MERGE_PATCH
                )
        except ApiError as error:
            if not error.conflict and not (found is not None and error.absent):
                raise  # else another was faster, or it was deleted, of which the watch tells
        else:
            self._log.info("certificate of the webhook renewed", secret=self._name)

    async def _inject(self, material: Material) -> None:
        """Tell the API server whom to believe: a field of each webhook that names our Service, and nothing else. Of
        all, always: what we said before and do not say again would be taken away.
        """
        if self._is_believed(material):
            return
        believed = {"caBundle": base64.b64encode(material.authorities).decode()}
        webhooks = [{"name": each.name, "clientConfig": believed} for each in self._asking]
        body = {
            "apiVersion": WEBHOOKS.api_version, "kind": WEBHOOKS.name, "metadata": {"name": CONFIGURATION},
            "webhooks": webhooks,
        }  # fmt: skip
        query = {"fieldManager": OWNER, "force": "true"}
        await self._client.request(
            "patch", WEBHOOKS, "", CONFIGURATION, query=query, body=msgspec.json.encode(body), content_type=APPLY_PATCH
        )
        self._log.info("authority of the webhook told", webhooks=len(webhooks))


def _material(secret: Secret | None) -> Material:
    """What the Secret has, for what it is worth."""
    data = {}
    for name, value in (secret.data if secret else {}).items():
        try:
            data[name] = base64.b64decode(value, validate=True)
        except (Error, ValueError):
            continue
    return Material.of(data)


def _whole(found: T) -> T:
    """All that was read is remembered."""
    return found
