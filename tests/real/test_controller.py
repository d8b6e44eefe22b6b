"""The controller against a real API server: what it writes, what it keeps, and who of several may write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lab import wait_until
from lab.manifests import NAMESPACE
from tests.real.replica import LONG_S, Replica, addresses, make_pool, make_service, wait_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.control_plane import ControlPlane

MANY = 200


@pytest.fixture
def replicas(installed: ControlPlane) -> Iterator[list[Replica]]:
    """Two of them, not started; killed in the end."""
    made = [Replica(installed, "one"), Replica(installed, "two")]
    yield made
    for each in made:
        if hasattr(each, "process"):
            each.kill()


@pytest.fixture
def replica(replicas: list[Replica]) -> Replica:
    return replicas[0]


def distinct(control: ControlPlane) -> bool:
    """Whether every Service has an address of its own."""
    found = addresses(control)
    return all(found.values()) and len(set(found.values())) == len(found)


def test_what_is_written(installed: ControlPlane, replica: Replica) -> None:
    """One request for a Service's status, one Event, and how full the pool is."""
    make_pool(installed, "first", "192.0.2.0/30", "2001:db8::/64")
    replica.start().wait_lead()
    make_service(installed, "web")
    make_service(installed, "dual", ipFamilyPolicy="RequireDualStack")
    wait_addresses(installed, web=("192.0.2.0",), dual=("192.0.2.1", "2001:db8::"))
    web = installed.api.get("services", "web")
    assert web["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "first"

    def counted() -> bool:
        status = installed.api.get("ipaddresspools", "first", NAMESPACE).get("status", {})
        return bool(status == {
            "assignedIPv4": 2, "availableIPv4": 2, "assignedIPv6": 1, "availableIPv6": 2**63 - 2,
        })  # fmt: skip

    wait_until(counted, LONG_S, what="the pool's status")
    wait_until(lambda: replica.number('arpfast_cluster_events_total{outcome="told"}') == 2, LONG_S, what="two Events")
    told = [each for each in installed.api.list("events", "default") if each["reason"] == "IPAllocated"]
    assert {each["involvedObject"]["name"] for each in told} == {"web", "dual"}
    assert {each["source"].get("component") or each["reportingComponent"] for each in told} == {"metallb-controller"}
    written = 'arpfast_controller_statuses_total{outcome="written",resource="services"}'
    wait_until(lambda: replica.number(written) == 2, LONG_S, what="two answers to what was written")
    assert replica.number('metallb_allocator_ipv4_addresses_in_use_total{pool="first"}') == 2
    assert replica.number('metallb_allocator_services_allocated_total{pool="first"}') == 2
    took = "arpfast_controller_allocation_seconds_count"
    wait_until(lambda: replica.number(took) == 2, LONG_S, what="both to be counted")
    assert replica.number("metallb_k8s_client_config_loaded_bool") == 1
    another = {"status": {"loadBalancer": {"ingress": [{"ip": "172.16.0.9"}]}}}

    def noticed() -> bool:
        installed.api.patch("services", "web", another, subresource="status")
        return any(each["reason"] == "StatusOverwritten" for each in installed.api.list("events", "default"))

    wait_until(noticed, LONG_S, what="it to be told that another writes as well", every_ms=50)
    wish = {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.3"}}}
    installed.api.patch("services", "web", wish)
    wait_addresses(installed, web=("192.0.2.3",), dual=("192.0.2.1", "2001:db8::"))
    replica.stop()


def test_the_rings_key_is_made_once(installed: ControlPlane, replica: Replica) -> None:
    def data() -> dict[str, str] | None:
        found = [one for one in installed.api.list("secrets", NAMESPACE) if one["metadata"]["name"] == "memberlist"]
        return dict(found[0]["data"]) if found else None

    make_pool(installed, "first", "192.0.2.0/30")
    replica.start()
    wait_until(lambda: data() is not None, LONG_S, what="the Secret")
    made = data()
    assert made is not None
    assert set(made) == {"secretkey"}
    secret = installed.api.get("secrets", "memberlist", NAMESPACE)
    assert [one["kind"] for one in secret["metadata"]["ownerReferences"]] == ["Deployment"]
    replica.kill()
    replica.start().wait_lead()
    assert data() == made
    assert made["secretkey"] not in replica.process.output


def test_nothing_is_taken_or_given_before_the_pools_are_known(installed: ControlPlane, replica: Replica) -> None:
    make_service(installed, "web")
    installed.api.patch(
        "services", "web", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}, subresource="status"
    )
    make_pool(installed, "first", "192.0.2.0/28")
    make_pool(installed, "second", "192.0.2.0/24")  # which overlaps
    replica.start()
    wait_until(
        lambda: replica.number("metallb_k8s_client_config_stale_bool") == 1, LONG_S, what="the pool to be refused"
    )
    assert replica.get("/readyz")[0] == 503
    assert addresses(installed) == {"web": ("192.0.2.9",)}
    installed.api.delete("ipaddresspools", "second", NAMESPACE)
    replica.wait_ready().wait_lead()
    wait_addresses(installed, web=("192.0.2.9",))
    state = wait_until(
        lambda: next(iter(installed.api.list("configurationstates", NAMESPACE)), None),
        LONG_S,
        what="the ConfigurationState",
    )
    assert state
    assert state["metadata"]["name"] == "controller"


def test_pool_changes(installed: ControlPlane, replica: Replica) -> None:
    make_pool(installed, "first", "192.0.2.0/31")
    replica.start().wait_lead()
    make_service(installed, "a")
    wait_addresses(installed, a=("192.0.2.0",))
    make_service(installed, "b")
    make_service(installed, "c")
    wait_addresses(installed, a=("192.0.2.0",), b=("192.0.2.1",), c=())
    wait_until(lambda: replica.number("arpfast_controller_waiting_services") == 1, LONG_S, what="the third to wait")
    make_pool(installed, "second", "198.51.100.0/32")
    wait_addresses(installed, a=("192.0.2.0",), b=("192.0.2.1",), c=("198.51.100.0",))
    make_pool(installed, "first", "192.0.2.1-192.0.2.2")
    wait_addresses(installed, a=("192.0.2.2",), b=("192.0.2.1",), c=("198.51.100.0",))
    installed.api.delete("ipaddresspools", "second", NAMESPACE)
    wait_addresses(installed, a=("192.0.2.2",), b=("192.0.2.1",), c=())
    installed.api.delete("services", "b")
    wait_addresses(installed, a=("192.0.2.2",), c=("192.0.2.1",))
    installed.api.patch("services", "a", {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.9"}}})
    wait_addresses(installed, a=(), c=("192.0.2.1",))
    installed.api.patch("services", "c", {"spec": {"type": "ClusterIP"}})
    installed.api.patch("services", "a", {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.1"}}})
    wait_addresses(installed, a=("192.0.2.1",))
    freed = installed.api.get("services", "c")
    assert "metallb.io/ip-allocated-from-pool" not in freed["metadata"].get("annotations", {})


def test_restarts_keep_every_address(installed: ControlPlane, replica: Replica) -> None:
    """Killed while it gives addresses, and four times after: what was decided and not written is decided anew."""
    make_pool(installed, "first", "10.0.0.0/16")
    replica.start().wait_lead()
    for number in range(MANY):
        make_service(installed, f"s{number}")
        if number == MANY // 2:
            replica.kill()
    replica.start()
    wait_until(lambda: distinct(installed), LONG_S, what="every Service to have an address of its own")
    before = addresses(installed)
    for number in range(4):
        replica.kill()
        replica.start().wait_lead()
        make_service(installed, f"after-{number}")
        wait_until(lambda: distinct(installed), LONG_S, what="the new Service to have an address")
        assert addresses(installed).items() >= before.items()


def test_the_standby_takes_over(installed: ControlPlane, replicas: list[Replica]) -> None:
    one, two = replicas
    make_pool(installed, "first", "192.0.2.0/24")
    one.start().wait_lead()
    two.start().wait_ready()
    assert two.number("arpfast_controller_leads_bool") == 0
    make_service(installed, "a")
    wait_addresses(installed, a=("192.0.2.0",))
    one.kill()
    make_service(installed, "b")
    wait_addresses(installed, a=("192.0.2.0",), b=("192.0.2.1",))
    assert two.number("arpfast_controller_leads_bool") == 1
    one.start().wait_ready()
    two.stop()
    make_service(installed, "c")
    wait_addresses(installed, a=("192.0.2.0",), b=("192.0.2.1",), c=("192.0.2.2",))


def test_a_leader_that_was_paused_writes_nothing_that_is_old(installed: ControlPlane, replicas: list[Replica]) -> None:
    """It is stopped with decisions at hand, another leads meanwhile, and it goes on where it stood."""
    one, two = replicas
    make_pool(installed, "first", "10.0.0.0/24")
    one.start().wait_lead()
    two.start().wait_ready()
    for number in range(60):
        make_service(installed, f"s{number}")
        if number == 30:
            one.freeze()
    two.wait_lead()
    wait_until(lambda: distinct(installed), LONG_S, what="every Service to have an address of its own")
    before = addresses(installed)
    one.thaw()
    wait_until(lambda: one.number("arpfast_controller_leads_bool") == 0, LONG_S, what="it to know")
    for number in range(60, 80):
        make_service(installed, f"s{number}")
    wait_until(lambda: distinct(installed), LONG_S, what="the new Services to have addresses")
    assert addresses(installed).items() >= before.items()


def test_a_burst_costs_one_write_for_each_service(installed: ControlPlane, replica: Replica) -> None:
    make_pool(installed, "first", "10.0.0.0/16")
    replica.start().wait_lead()
    with ThreadPoolExecutor(8) as makers:
        list(makers.map(lambda number: make_service(installed, f"s{number}"), range(MANY)))
    wait_until(lambda: distinct(installed), LONG_S, what="every Service to have an address of its own")
    written = 'arpfast_controller_statuses_total{outcome="written",resource="services"}'

    def began_anew() -> bool:
        """On a machine too busy to renew the Lease in time: another term counts from nothing."""
        return "no longer leading" in replica.process.output

    wait_until(
        lambda: (replica.number(written) or 0) >= MANY or began_anew(), LONG_S, what="the writes to be counted"
    )  # fmt: skip
    failed = 'arpfast_controller_statuses_total{outcome="failed",resource="services"}'
    # what a busy server refused is written again
    assert replica.number(failed) or replica.number(written) == MANY or began_anew()


def test_etcd_put_back_to_an_older_state(installed: ControlPlane, replica: Replica) -> None:
    """What the statuses say then is so again, though the addresses were given to others since."""
    make_pool(installed, "first", "192.0.2.0/24")
    replica.start().wait_lead()
    make_service(installed, "old")
    wait_addresses(installed, old=("192.0.2.0",))
    saved = installed.save()
    installed.api.delete("services", "old")
    wait_until(lambda: addresses(installed) == {}, LONG_S, what="it to be gone")
    make_service(installed, "new")
    wait_addresses(installed, new=("192.0.2.0",))
    installed.restore(saved)
    make_service(installed, "after")
    wait_addresses(installed, old=("192.0.2.0",), after=("192.0.2.1",))
