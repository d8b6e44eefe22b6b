"""Who of several replicas leads: a Lease (`coordination.k8s.io/v1`), as other controllers take it.

The rules are pure, with time as an argument; no two clocks are ever compared. Who does not lead watches the Lease: it
may be taken once it has stood unchanged, by the watcher's own clock, for as long as it says. Who leads believes so only
until a while after its last renewal *was sent* that is shorter than that: so one that was paused, or is cut off, stops
believing before another can take it, whenever its pause began. A renewal names the version of the Lease that it
replaces; of two that try, the API server takes one.

Between believing and writing there may still be a pause. What is written therefore names the version of the object that
it was decided upon (`status.py`), and the Lease keeps two leaders from working against one another, not from harm.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cluster import kinds
from cluster.refusal import ApiError
from cluster.resources import Key, Metadata, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.client import Client
    from cluster.watch import Log

REQUEST_S = 2.0


class Terms(NamedTuple):
    """How long a Lease holds."""

    lease_s: int = 4
    """Unrenewed for so long, it may be taken."""
    believe_s: float = 3.0
    """So long after its last renewal was sent its holder believes in it."""
    renew_s: float = 1.0
    """How often it is renewed; and looked at, by who does not hold it, twice as often."""


class LeaseSpec(Struct, frozen=True):
    """`coordination.k8s.io/v1.LeaseSpec`."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Record(Struct, frozen=True):
    """A Lease."""

    metadata: Metadata
    spec: LeaseSpec = LeaseSpec()


class Tenure:
    """What one replica believes of the Lease. Pure: `now` is its own clock, in seconds."""

    def __init__(self, identity: str, terms: Terms) -> None:
        """Nothing is known of it."""
        self.identity, self.terms = identity, terms
        self.record: Record | None = None
        """As it was seen last; None: there is none, or it has not been looked at."""
        self.looked = False
        self._changed_s = 0.0
        self._until_s = float("-inf")

    def leads(self, now: float) -> bool:
        """Whether this replica leads."""
        return now < self._until_s

    @property
    def until_s(self) -> float:
        """When it stops leading, if nothing else happens."""
        return self._until_s

    def seen(self, record: Record | None, now: float) -> None:
        """The Lease is this; None: there is none. Asked for before `now`, answered at `now`."""
        if not self.looked or record != self.record:
            self._changed_s = now
        self.looked, self.record = True, record
        if record is None or record.spec.holder_identity != self.identity:
            self._until_s = float("-inf")

    def renewed(self, record: Record, sent_s: float, now: float) -> None:
        """The API server took our claim, which was sent at `sent_s`."""
        self.seen(record, now)
        self._until_s = sent_s + self.terms.believe_s

    def may_claim(self, now: float) -> bool:
        """Whether to claim it now: it is ours, or nobody's, or its holder has not renewed it for too long."""
        if not self.looked:
            return False
        if self.record is None:
            return True
        spec = self.record.spec
        if not spec.holder_identity or spec.holder_identity == self.identity:
            return True
        return now - self._changed_s >= (spec.lease_duration_seconds or self.terms.lease_s)

    def claim(self, wall: datetime) -> LeaseSpec:
        """What to write to have it, or to keep it."""
        spec = self.record.spec if self.record else LeaseSpec()
        ours = spec.holder_identity == self.identity
        written = _micro(wall)
        return LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=self.terms.lease_s,
            acquire_time=spec.acquire_time if ours else written,
            renew_time=written,
            lease_transitions=(spec.lease_transitions or 0) + (0 if ours or self.record is None else 1),
        )

    def resign(self) -> LeaseSpec | None:
        """What to write so that another may have it at once; None, if it is not ours. Stops leading now."""
        self._until_s = float("-inf")
        if self.record is None or self.record.spec.holder_identity != self.identity:
            return None
        return msgspec.structs.replace(self.record.spec, holder_identity="", lease_duration_seconds=1)


def _micro(wall: datetime) -> str:
    """`metav1.MicroTime`."""
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clock_s() -> float:
    """A clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The Lease `key`, claimed for `identity` while `run` runs."""

    def __init__(
        self,
        client: Client,
        key: Key,
        identity: str,
        *,
        changed: Callable[[bool], None],
        log: Log,
        terms: Terms = Terms(),  # noqa: B008 (immutable)
    ) -> None:
        """`changed` is told when we begin to lead and when we stop."""
        self._client, self._key, self._changed, self._log = client, key, changed, log
        self.tenure = Tenure(identity, terms)
        self._led = False
        self._lapse: asyncio.TimerHandle | None = None

    @property
    def leads(self) -> bool:
        """Whether we lead at this moment: to be asked before each thing that only a leader does."""
        return self.tenure.leads(clock_s())

    @property
    def holder(self) -> str:
        """Who leads, as far as we know; empty: nobody."""
        return (self.tenure.record.spec.holder_identity or "") if self.tenure.record else ""

    async def run(self) -> None:
        """Claim and keep it until cancelled; then give it up, so that another has it at once."""
        try:
            while True:
                await self._turn()
                ours = self.tenure.leads(clock_s())
                await asyncio.sleep(self.tenure.terms.renew_s / (1 if ours else 2))
        finally:
            if self._lapse is not None:
                self._lapse.cancel()
            await self._resign()

    async def _turn(self) -> None:
        try:
            if not self.tenure.looked or not self.tenure.leads(clock_s()):
                self.tenure.seen(await self._read(), clock_s())
            if self.tenure.may_claim(clock_s()):
                sent_s = clock_s()
                record = await self._write(self.tenure.claim(datetime.now(UTC)))
                self.tenure.renewed(record, sent_s, clock_s())
        except ApiError as error:
            if error.conflict:  # another was faster, or we were, and did not hear the answer
                self.tenure.looked = False
            else:
                self._log.warning("lease not to be had", error=str(error))
        except OSError as error:
            self._log.warning("lease not to be had", error=str(error))
        self._told()

    def _told(self) -> None:
        leads = self.leads
        if self._lapse is not None:
            self._lapse.cancel()
            self._lapse = None
        if leads:
            left_s = self.tenure.until_s - clock_s()
            self._lapse = asyncio.get_running_loop().call_later(max(0.0, left_s) + 0.001, self._told)
        if leads is not self._led:
            self._led = leads
            self._log.info("leading" if leads else "no longer leading", lease=str(self._key), holder=self.holder)
            self._changed(leads)

    async def _read(self) -> Record | None:
        try:
            body = await self._client.request(
                "get", kinds.LEASE, self._key.namespace, self._key.name, timeout_s=REQUEST_S
            )
        except ApiError as error:
            if error.absent:
                return None
            raise
        return msgspec.json.decode(body, type=Record)

    async def _write(self, spec: LeaseSpec) -> Record:
        known = self.tenure.record
        body = {
            "apiVersion": kinds.LEASE.api_version,
            "kind": kinds.LEASE.name,
            "metadata": {"namespace": self._key.namespace, "name": self._key.name}
            | ({"resourceVersion": known.metadata.resource_version} if known else {}),
            "spec": spec,
        }
        answer = await self._client.request(
            "update" if known else "create",
            kinds.LEASE,
            self._key.namespace,
            self._key.name if known else "",
            body=msgspec.json.encode(body),
            timeout_s=REQUEST_S,
        )
        return msgspec.json.decode(answer, type=Record)

    async def _resign(self) -> None:
        given_up = self.tenure.resign()
        if given_up is not None:
            try:
                await self._write(given_up)
            except (ApiError, OSError) as error:
                self._log.info("lease left to expire", error=str(error))
        self._told()
        if self._lapse is not None:
            self._lapse.cancel()
