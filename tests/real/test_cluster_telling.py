"""What we tell the API server: before a real one, with the rights of `deploy/` and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cluster.client import Client
from cluster.configuration_state import CONTROLLER, ConfigurationState, speaker
from cluster.events import Events
from cluster.lease import Lease, clock_s
from cluster.problems import Problem
from cluster.resources import Key, Service
from cluster.status import Assigned, PoolCounts, PoolStatuses, Statuses
from lab import wait_until
from lab.api import ApiError
from tests.cluster.test_errands import Quiet

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from lab.api import Api, Json
    from lab.control_plane import ControlPlane
    from tests.real.inside import Inside, Meddler

METALLB = "metallb-system"
LEASE = Key(METALLB, "controller")


class Teller:
    """A client in the control plane's host, and what runs by it."""

    def __init__(self, inside: Inside, kubeconfig: Path) -> None:
        self.log = Quiet()
        self._inside = inside
        self.client = inside.do(Client.connect(str(kubeconfig)))
        self._running: list[Any] = []

    def begin(self, what: Coroutine[Any, Any, None]) -> Any:
        self._running.append(self._inside.begin(what))
        return self._running[-1]

    def call(self, what: Any, *arguments: Any) -> None:
        self._inside.call(lambda: what(*arguments))

    def end(self) -> None:
        while self._running:
            self._inside.end(self._running.pop())

    def close(self) -> None:
        self.end()
        self._inside.do(self.client.close())


@pytest.fixture
def controller(inside: Inside, installed: ControlPlane) -> Iterator[Teller]:
    made = Teller(inside, installed.account_kubeconfig(METALLB, "controller"))
    yield made
    made.close()


@pytest.fixture
def meddled(inside: Inside, meddler: Meddler, installed: ControlPlane) -> Iterator[Teller]:
    made = Teller(inside, meddler.kubeconfig(installed.account_kubeconfig(METALLB, "controller")))
    yield made
    made.close()


def service(api: Api, name: str) -> Service:
    made = api.create({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]},
    })  # fmt: skip
    return msgspec.convert(made, Service)


def ingress(of: Json) -> list[str]:
    return [each["ip"] for each in of["status"]["loadBalancer"].get("ingress", [])]


class TestStatuses:
    def test_many_services_at_once(self, controller: Teller, installed: ControlPlane) -> None:
        written: dict[Key, Service] = {}
        statuses = Statuses(
            controller.client,
            written=lambda service: written.update({service.key: service}),
            stale=lambda key, _: pytest.fail(f"{key} is not stale"),
            log=controller.log,
        )
        controller.begin(statuses.run())
        services = [service(installed.api, f"s{number}") for number in range(20)]
        for number, one in enumerate(services):
            controller.call(statuses.want, Assigned(one, (f"192.0.2.{number}", f"2001:db8::{number}"), "main"))
        wait_until(lambda: len(written) == 20, 60, what="all to be written")
        for number in range(20):
            found = installed.api.get("services", f"s{number}")
            assert ingress(found) == [f"192.0.2.{number}", f"2001:db8::{number}"]
            assert found["metadata"]["annotations"] == {"metallb.io/ip-allocated-from-pool": "main"}
        assert controller.client.requests == {("patch", 200): 20}
        controller.call(statuses.want, Assigned(written[services[0].key], (), ""))
        wait_until(lambda: not ingress(installed.api.get("services", "s0")), what="one to be cleared")
        assert "annotations" not in installed.api.get("services", "s0")["metadata"]

    def test_who_decided_upon_an_older_service_hears_of_the_newer(
        self, controller: Teller, installed: ControlPlane
    ) -> None:
        stale: dict[Key, Service | None] = {}
        statuses = Statuses(
            controller.client,
            written=lambda service: pytest.fail(f"{service.key} was decided upon too early"),
            stale=lambda key, now: stale.update({key: now}),
            log=controller.log,
        )
        controller.begin(statuses.run())
        changed, gone = service(installed.api, "changed"), service(installed.api, "gone")
        installed.api.patch("services", "changed", {"metadata": {"labels": {"new": "x"}}})
        installed.api.delete("services", "gone")
        for one in (changed, gone):
            controller.call(statuses.want, Assigned(one, ("192.0.2.1",), "main"))
        wait_until(lambda: len(stale) == 2, what="both to be stale")
        now = stale[changed.key]
        assert now is not None
        assert now.metadata.labels == {"new": "x"}
        assert stale[gone.key] is None
        assert ingress(installed.api.get("services", "changed")) == []

    def test_what_was_refused_is_written_later(
        self, meddled: Teller, meddler: Meddler, installed: ControlPlane
    ) -> None:
        written: list[Service] = []
        statuses = Statuses(
            meddled.client, written=written.append, stale=lambda key, _: pytest.fail(str(key)), log=meddled.log
        )
        meddled.begin(statuses.run())
        one = service(installed.api, "web")
        meddler.refuse(500)
        meddled.call(statuses.want, Assigned(one, ("192.0.2.1",), "main"))
        wait_until(lambda: len(meddled.log.lines) >= 2, what="some refusals")
        meddled.call(statuses.want, Assigned(one, ("192.0.2.2",), "main"))
        meddler.behave()
        wait_until(lambda: len(written) == 1, 60, what="it to be written")
        assert ingress(installed.api.get("services", "web")) == ["192.0.2.2"]

    def test_how_full_a_pool_is(self, controller: Teller, installed: ControlPlane) -> None:
        statuses = PoolStatuses(controller.client, namespace=METALLB, log=controller.log)
        controller.begin(statuses.run())
        metadata = {"name": "main", "namespace": METALLB}
        spec = {"addresses": ["192.0.2.0/24"]}
        pool = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata, "spec": spec}
        installed.api.create(pool)
        for used in range(10):
            controller.call(statuses.want, Key(METALLB, "main"), PoolCounts(used, 0, 256 - used, 0))
        expected = {"assignedIPv4": 9, "assignedIPv6": 0, "availableIPv4": 247, "availableIPv6": 0}

        def told() -> bool:
            return bool(installed.api.get("ipaddresspools", "main", METALLB).get("status") == expected)

        wait_until(told, what="the status")
        assert controller.client.requests["patch", 200] <= 2
        installed.api.patch(
            "ipaddresspools", "main", {"status": expected | {"assignedIPv4": 99}}, METALLB, subresource="status"
        )
        wait_until(told, what="the status that was written over")
        installed.api.delete("ipaddresspools", "main", METALLB)
        installed.api.create(pool)
        wait_until(told, what="the status of the pool in its place")


class TestEvents:
    def test_one_is_there_for_people_to_read_and_once(self, controller: Teller, installed: ControlPlane) -> None:
        events = Events(controller.client, controller="metallb-controller", instance="controller-x", log=controller.log)
        controller.begin(events.run())
        one = service(installed.api, "web")
        for _ in range(3):
            controller.call(events.say, one, "Normal", "IPAllocated", 'Assigned IP ["192.0.2.1"]')
        controller.call(events.say, one, "Warning", "not enough clusterips", "one is needed of each family")
        wait_until(lambda: events.told == 2, what="both to be told")
        found = installed.api.list("events", "default")  # the core's, which `kubectl describe` reads
        regarding = [each for each in found if each["involvedObject"]["uid"] == one.metadata.uid]
        assert sorted((each["type"], each["reason"]) for each in regarding) == [
            ("Normal", "IPAllocated"),
            ("Warning", "not enough clusterips"),
        ]
        assert all(each["lastTimestamp"] and each["source"]["component"] == "metallb-controller" for each in regarding)
        assert events.withheld == 2


class TestLease:
    def replica(self, teller: Teller, name: str) -> tuple[Lease, list[tuple[bool, float]]]:
        """One, and when it began and ceased to lead."""
        said: list[tuple[bool, float]] = []
        lease = Lease(teller.client, LEASE, name, changed=lambda leads: said.append((leads, clock_s())), log=teller.log)
        return lease, said

    def test_who_stops_is_succeeded_at_once(self, inside: Inside, controller: Teller, installed: ControlPlane) -> None:
        (a, said_a), (b, said_b) = (self.replica(controller, name) for name in "ab")
        first = controller.begin(a.run())
        wait_until(lambda: a.leads, what="the first to lead")
        controller.begin(b.run())
        wait_until(lambda: b.tenure.looked, what="the second to look")
        assert not b.leads
        inside.end(first)
        wait_until(lambda: b.leads, what="the second to lead")
        assert said_a[-1][1] <= said_b[-1][1]
        assert installed.api.get("leases", "controller", METALLB)["spec"]["holderIdentity"] == "b"

    def test_who_is_cut_off_stops_believing_before_another_leads(
        self, controller: Teller, meddled: Teller, meddler: Meddler
    ) -> None:
        (a, said_a), (b, said_b) = self.replica(meddled, "a"), self.replica(controller, "b")
        meddled.begin(a.run())
        wait_until(lambda: a.leads, what="the first to lead")
        controller.begin(b.run())
        meddler.stall()
        wait_until(lambda: b.leads, 60, what="the second to lead")
        assert [leads for leads, _ in said_a] == [True, False]
        assert said_a[-1][1] < said_b[0][1]
        meddler.behave()
        meddler.cut()
        wait_until(lambda: a.holder == "b", 60, what="the first to see who leads")
        assert not a.leads


class TestConfigurationState:
    BAD = Problem("IPAddressPool", Key(METALLB, "a"), "spec.addresses[0]", "x", "a prefix")

    def test_it_is_said_and_said_again(self, controller: Teller, installed: ControlPlane) -> None:
        state = ConfigurationState(controller.client, CONTROLLER, namespace=METALLB, log=controller.log)
        controller.begin(state.run())
        controller.call(state.want, (self.BAD,))
        wait_until(lambda: self.result(installed, "controller") == "Invalid", what="it to be said")
        said = installed.api.get("configurationstates", "controller", METALLB)
        assert said["metadata"]["labels"] == {"metallb.io/component-type": "controller"}
        assert said["status"]["errorSummary"] == str(self.BAD)
        installed.api.delete("configurationstates", "controller", METALLB)
        wait_until(lambda: self.result(installed, "controller") == "Invalid", what="it to be said again")
        edited = {"status": {"result": "Valid", "errorSummary": ""}}
        installed.api.patch("configurationstates", "controller", edited, METALLB, subresource="status")
        wait_until(lambda: self.result(installed, "controller") == "Invalid", what="it to be put right")
        controller.call(state.want, ())
        wait_until(lambda: self.result(installed, "controller") == "Valid", what="the contrary to be said")

    def test_each_speaker_says_it_for_itself(self, controller: Teller, installed: ControlPlane) -> None:
        state = ConfigurationState(controller.client, speaker("n1"), namespace=METALLB, log=controller.log)
        controller.begin(state.run())
        controller.call(state.want, ())
        wait_until(lambda: self.result(installed, "speaker-n1") == "Valid", what="it to be said")

    @staticmethod
    def result(installed: ControlPlane, name: str) -> str:
        try:
            found = installed.api.get("configurationstates", name, METALLB)
        except ApiError:  # not there yet
            return ""
        return str(found.get("status", {}).get("result", ""))
