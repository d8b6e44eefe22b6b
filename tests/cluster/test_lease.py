"""Who leads, in virtual time: each replica by its own clock."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.lease import LeaseSpec, Record, Tenure, Terms
from cluster.resources import Metadata

TERMS = Terms(lease_s=4, believe_s=3, renew_s=1)
WALL = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """The API server's side: one Lease, and its versions."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self._version = 0

    def write(self, spec: LeaseSpec, version: str) -> Record | None:
        """None: it has changed."""
        if (self.record.metadata.resource_version if self.record else "") != version:
            return None
        self._version += 1
        self.record = Record(Metadata(name="controller", resource_version=str(self._version)), spec)
        return self.record


class Replica:
    def __init__(self, server: Server, name: str) -> None:
        self.server, self.tenure = server, Tenure(name, TERMS)

    def look(self, now: float) -> None:
        self.tenure.seen(self.server.record, now)

    def try_to(self, sent_s: float, now: float | None = None) -> bool:
        """Claim, if it may be; whether the server took it."""
        if not self.tenure.may_claim(sent_s):
            return False
        version = self.tenure.record.metadata.resource_version if self.tenure.record else ""
        taken = self.server.write(self.tenure.claim(WALL), version)
        if taken is not None:
            self.tenure.renewed(taken, sent_s, sent_s if now is None else now)
        return taken is not None


@pytest.fixture
def pair() -> tuple[Replica, Replica]:
    server = Server()
    return Replica(server, "a"), Replica(server, "b")


Pair = tuple[Replica, Replica]


def test_the_first_one_leads(pair: Pair) -> None:
    a, b = pair
    assert not a.try_to(0)
    a.look(0)
    b.look(0)
    assert a.try_to(0)
    assert a.tenure.leads(0)
    assert not b.try_to(0)
    b.look(0.1)
    assert not b.try_to(3.9)
    assert not b.tenure.leads(3.9)


def test_it_is_taken_once_it_has_stood_still(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    a.try_to(0)
    b.look(1)
    assert not b.try_to(4.9)
    assert b.try_to(5)
    assert b.tenure.leads(5)
    assert not a.tenure.leads(5)
    assert b.server.record is not None
    assert b.server.record.spec.lease_transitions == 1


def test_it_is_not_taken_while_it_is_renewed(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    for now in range(100):
        assert a.try_to(now)
        b.look(now + 0.5)
        assert not b.try_to(now + 0.5)


def test_a_paused_leader_stops_believing_before_another_leads(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    a.try_to(0)
    b.look(0)
    assert a.tenure.leads(2.9)
    assert not a.tenure.leads(3)
    assert not b.try_to(3.9)


def test_a_belief_counts_from_when_the_claim_was_sent(pair: Pair) -> None:
    a, _ = pair
    a.look(0)
    a.try_to(0, now=2.5)
    assert a.tenure.leads(2.9)
    assert not a.tenure.leads(3)


def test_who_comes_back_sees_that_it_was_taken(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    a.try_to(0)
    b.look(0)
    b.try_to(4)
    assert not a.try_to(4.1)
    a.look(4.2)
    assert not a.tenure.leads(4.2)
    assert not a.tenure.may_claim(4.2)


def test_who_resigns_is_succeeded_at_once(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    a.try_to(0)
    b.look(0.5)
    given_up = a.tenure.resign()
    assert given_up is not None
    assert not a.tenure.leads(0.6)
    assert a.server.record is not None
    a.server.write(given_up, a.server.record.metadata.resource_version)
    b.look(0.7)
    assert b.try_to(0.7)


def test_who_does_not_hold_it_has_nothing_to_resign(pair: Pair) -> None:
    a, b = pair
    a.look(0)
    a.try_to(0)
    b.look(0)
    assert b.tenure.resign() is None


def test_the_holders_own_duration_counts(pair: Pair) -> None:
    """Another version of us may hold it for longer."""
    _, b = pair
    b.server.write(LeaseSpec(holder_identity="other", lease_duration_seconds=15), "")
    b.look(0)
    assert not b.try_to(14.9)
    assert b.try_to(15)


def test_a_claim_is_what_the_api_takes(pair: Pair) -> None:
    a, _ = pair
    a.look(0)
    assert msgspec.to_builtins(a.tenure.claim(WALL)) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 4,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }


def test_a_renewal_keeps_when_it_was_acquired(pair: Pair) -> None:
    a, _ = pair
    a.look(0)
    a.try_to(0)
    spec = a.tenure.claim(WALL.replace(year=2027))
    assert spec.acquire_time == "2026-01-01T00:00:00.000000Z"
    assert spec.renew_time == "2027-01-01T00:00:00.000000Z"
    assert spec.lease_transitions == 0


class Replicas(RuleBasedStateMachine):
    """Whoever is paused, late or cut off, and in whatever order: never do two lead at once."""

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        server = Server()
        self.replicas = [Replica(server, name) for name in "abc"]
        self.under_way: dict[int, tuple[float, Record]] = {}

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 2))
    def look(self, which: int) -> None:
        self.replicas[which].look(self.now)

    @rule(which=st.integers(0, 2))
    def claim(self, which: int) -> None:
        """The server takes it now; that, the replica hears later, or never."""
        one = self.replicas[which]
        if not one.tenure.may_claim(self.now):
            return
        version = one.tenure.record.metadata.resource_version if one.tenure.record else ""
        taken = one.server.write(one.tenure.claim(WALL), version)
        if taken is not None:
            self.under_way[which] = self.now, taken

    @rule(which=st.integers(0, 2))
    def hear(self, which: int) -> None:
        if which in self.under_way:
            sent_s, taken = self.under_way.pop(which)
            self.replicas[which].tenure.renewed(taken, sent_s, self.now)

    @invariant()
    def one_leads_at_most(self) -> None:
        if hasattr(self, "replicas"):
            assert sum(one.tenure.leads(self.now) for one in self.replicas) <= 1


TestReplicas = Replicas.TestCase
