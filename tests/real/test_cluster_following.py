"""The cluster as it is followed: before a real API server, that is killed, put back, cut off and asked too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster import kinds
from cluster.client import Client
from cluster.config import Password
from cluster.following import BGP, SPEAKER, Following
from cluster.resources import Key
from lab import wait_until
from tests.cluster.test_errands import Quiet

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cluster.problems import Problem
    from cluster.world import Change, World
    from lab.api import Json
    from lab.control_plane import ControlPlane
    from tests.real.inside import Inside, Meddler

METALLB = "metallb-system"
WEB = Key("default", "web")


class Follower:
    """Follows in a host of the lab, as the speaker's ServiceAccount."""

    def __init__(self, inside: Inside, kubeconfig: Path, wanted: Iterable[kinds.Kind[Any]] = SPEAKER) -> None:
        self.log = Quiet()
        self.changes: list[Change] = []
        self.problems: tuple[Problem, ...] = ()
        self._inside = inside
        self.client = inside.do(Client.connect(str(kubeconfig)))
        self.following = Following(
            self.client, wanted, namespace=METALLB, wake=self._wake, log=self.log, report=self._report
        )
        self.running: asyncio.Task[None] | None = None

    def begin(self) -> Follower:
        self.running = self._inside.begin(self.following.run())
        return self

    def _wake(self, _world: World, change: Change) -> None:
        self.changes.append(change)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems

    def wait(self, holds: Callable[[World], bool], what: str) -> None:
        """Until it holds of the world that was told."""

        def so() -> bool:
            assert self.running is None or not self.running.done(), self.running.exception()
            return self.following.ready and holds(self.following.world)

        wait_until(so, 60, what=what)

    def lists(self, resource: str = "services") -> int:
        return self.following.statistics().watches[resource][2].lists

    def close(self) -> None:
        if self.running is not None:
            self._inside.end(self.running)
        self._inside.do(self.client.close())


@pytest.fixture
def kubeconfig(installed: ControlPlane) -> Path:
    return installed.account_kubeconfig(METALLB, "speaker")


@pytest.fixture
def follower(inside: Inside, kubeconfig: Path) -> Iterator[Follower]:
    made = Follower(inside, kubeconfig)
    yield made
    made.close()


@pytest.fixture
def meddled(inside: Inside, meddler: Meddler, kubeconfig: Path) -> Iterator[Follower]:
    """One that is followed by way of the meddler."""
    made = Follower(inside, meddler.kubeconfig(kubeconfig))
    yield made
    made.close()


def service(name: str = "web", **metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]},
    }


def custom(kind: str, name: str, **spec: Any) -> Json:
    metadata = {"name": name, "namespace": METALLB}
    return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def endpoints(node: str, name: str = "web") -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{node}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [],
        "endpoints": [{"addresses": ["10.97.1.1"], "nodeName": node, "conditions": {"ready": True}}],
    }


def test_the_world_is_what_the_api_server_has(follower: Follower, installed: ControlPlane) -> None:
    api = installed.api
    api.create(custom("IPAddressPool", "main", addresses=["192.0.2.0/24"]))
    api.create(service())
    follower.begin().wait(lambda world: WEB in world.services, "the service that was there")
    assert list(follower.following.world.config.pools) == ["main"]
    api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"rack": "a"}}})
    api.create(custom("L2Advertisement", "l2", nodeSelectors=[{"matchLabels": {"rack": "a"}}]))
    api.create(endpoints("n1"))
    follower.wait(lambda world: WEB in world.serving, "who serves")
    assert follower.following.world.serving[WEB].nodes == {"n1"}
    follower.wait(
        lambda world: [each.nodes for each in world.config.l2_advertisements] == [{"n1"}], "the advertisement's nodes"
    )
    api.patch("services", "web", {"metadata": {"annotations": {"metallb.io/address-pool": "main", "other": "x"}}})
    follower.wait(lambda world: bool(world.services[WEB].metadata.annotations), "the annotation")
    assert follower.following.world.services[WEB].metadata.annotations == {"metallb.io/address-pool": "main"}
    api.delete("services", "web")
    follower.wait(lambda world: WEB not in world.services, "the service to go")
    assert follower.lists() == 1


def test_a_configuration_that_is_wrong_is_told_and_the_last_good_one_stays(
    follower: Follower, installed: ControlPlane
) -> None:
    installed.api.create(custom("IPAddressPool", "main", addresses=["192.0.2.0/24"]))
    follower.begin().wait(lambda world: "main" in world.config.pools, "the pool")
    installed.api.create(custom("IPAddressPool", "twice", addresses=["192.0.2.9-192.0.2.20"]))
    wait_until(lambda: follower.problems, what="the problem")
    assert [(problem.key.name, problem.field) for problem in follower.problems] == [("twice", "spec.addresses[0]")]
    assert list(follower.following.world.config.pools) == ["main"]
    installed.api.delete("ipaddresspools", "twice", METALLB)
    wait_until(lambda: not follower.problems, what="it to be mended")


def test_an_outage_of_the_api_server_changes_nothing(follower: Follower, installed: ControlPlane) -> None:
    installed.api.create(service())
    follower.begin().wait(lambda world: WEB in world.services, "the service")
    before, told = follower.following.world, len(follower.changes)
    installed.kill_apiserver()
    wait_until(lambda: len(follower.log.lines) >= 2 * len(SPEAKER), 60, what="several attempts to fail")
    assert follower.following.world is before
    assert len(follower.changes) == told
    installed.start_apiserver()
    installed.api.create(service("later"))
    follower.wait(lambda world: Key("default", "later") in world.services, "what came after the outage")
    assert WEB in follower.following.world.services


def test_a_store_that_was_put_back_is_listed_again(follower: Follower, installed: ControlPlane) -> None:
    """Its versions are lower than those we know, so a watch from there would tell nothing, or the wrong things."""
    installed.api.create(service())
    saved = installed.save()
    try:
        installed.api.create(service("lost"))
        lost = Key("default", "lost")
        follower.begin().wait(lambda world: lost in world.services, "the service")
    finally:
        installed.restore(saved)
    follower.wait(lambda world: lost not in world.services, "what is lost to be known as lost")
    assert WEB in follower.following.world.services
    installed.api.create(service("new"))
    follower.wait(lambda world: Key("default", "new") in world.services, "what came after")


def test_a_watch_that_is_cut_is_taken_up_where_it_was(
    meddled: Follower, meddler: Meddler, installed: ControlPlane
) -> None:
    meddled.begin().wait(lambda _: True, "all lists")
    lists, watching = meddled.lists(), meddled.following.watchings[kinds.SERVICE]
    for number in range(10):
        wait_until(lambda: watching._opened_s is not None, what="a watch that stands")
        meddler.cut()
        installed.api.create(service(f"s{number}"))
    meddled.wait(lambda world: len([key for key in world.services if key.name.startswith("s")]) == 10, "all services")
    assert meddled.lists() == lists


def test_a_version_that_is_too_old_is_listed_again(
    meddled: Follower, meddler: Meddler, inside: Inside, installed: ControlPlane
) -> None:
    installed.api.create(service())
    meddled.begin().wait(lambda world: WEB in world.services, "the service")
    watching = meddled.following.watchings[kinds.SERVICE]

    def age() -> None:
        watching._version = "1"

    inside.call(age)
    meddler.cut()
    wait_until(lambda: meddled.lists() == 2, 60, what="a second list")
    assert WEB in meddled.following.world.services


@pytest.mark.parametrize(("code", "headers"), [(500, {}), (503, {}), (429, {"Retry_After": "1"})])
def test_a_server_that_refuses_is_asked_less_and_less(
    meddled: Follower, meddler: Meddler, installed: ControlPlane, code: int, headers: dict[str, str]
) -> None:
    installed.api.create(service())
    meddled.begin().wait(lambda world: WEB in world.services, "the service")
    before, told = meddled.following.world, len(meddled.changes)
    meddler.refuse(code, **headers)
    wait_until(lambda: len(meddled.log.lines) >= 3 * len(SPEAKER), 60, what="several refusals")
    assert any(f": {code}" in facts["error"] for _, facts in meddled.log.lines)
    assert meddled.following.world is before
    assert len(meddled.changes) == told
    if headers:
        assert all(facts["again_s"] >= 1 for _, facts in meddled.log.lines if f": {code}" in facts["error"])
    meddler.behave()
    installed.api.create(service("later"))
    meddled.wait(lambda world: Key("default", "later") in world.services, "what came later")


def test_a_server_that_says_nothing_is_given_up(
    meddled: Follower, meddler: Meddler, installed: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.watch.SILENCE_S", 1.0)
    installed.api.create(service())
    meddled.begin().wait(lambda world: WEB in world.services, "the service")
    meddler.stall()
    wait_until(
        lambda: any("no answer in time" in facts["error"] for _, facts in meddled.log.lines), 60, what="patience to end"
    )
    assert WEB in meddled.following.world.services
    meddler.behave()
    installed.api.create(service("later"))
    meddled.wait(lambda world: Key("default", "later") in world.services, "what came later")


def test_pages_where_lists_are_not_streamed(
    inside: Inside, kubeconfig: Path, installed: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.watching.PAGE", 2)
    for number in range(5):
        installed.api.create(service(f"s{number}"))
    follower = Follower(inside, kubeconfig)
    try:
        follower.following.watchings[kinds.SERVICE]._streams = False
        follower.begin().wait(
            lambda world: {f"s{number}" for number in range(5)} <= {key.name for key in world.services}, "all pages"
        )
        assert follower.client.requests["list", 200] >= 3
        installed.api.delete("services", "s0")
        follower.wait(lambda world: Key("default", "s0") not in world.services, "one to go")
    finally:
        follower.close()


def test_a_right_that_is_missing_is_named(inside: Inside, installed: ControlPlane) -> None:
    installed.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}})
    follower = Follower(inside, installed.account_kubeconfig("default", "nobody")).begin()
    try:
        said = (
            'watch services: 403 Forbidden: services is forbidden: User "system:serviceaccount:default:nobody" cannot '
        )
        wait_until(
            lambda: any(facts["error"].startswith(said) for _, facts in follower.log.lines), what="the log to say so"
        )
        assert not follower.following.ready
    finally:
        follower.close()


def test_only_those_secrets_are_watched_that_peers_name(inside: Inside, installed: ControlPlane) -> None:
    api = installed.api
    peer = custom("BGPPeer", "tor", myASN=64512, peerASN=64513, peerAddress="192.0.2.1", passwordSecret={"name": "bgp"})
    api.create({**peer, "apiVersion": "metallb.io/v1beta2"})
    follower = Follower(inside, installed.kubeconfig("admin"), wanted=(*SPEAKER, *BGP)).begin()
    try:
        wait_until(lambda: [each.transient for each in follower.problems] == [True], 60, what="the Secret to be missed")
        metadata = {"name": "bgp", "namespace": METALLB}
        for name, text in (("other", "no"), ("bgp", "hunter2")):
            api.create({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
                "metadata": {**metadata, "name": name}, "stringData": {"username": "", "password": text},
            })  # fmt: skip
        follower.wait(lambda world: [each.password for each in world.config.peers] == [Password("hunter2")], "it")
        assert set(follower.following.gathering._secrets) == {"bgp"}
        api.patch("secrets", "bgp", {"stringData": {"password": "hunter3"}}, namespace=METALLB)
        follower.wait(lambda world: [each.password for each in world.config.peers] == [Password("hunter3")], "another")
        api.delete("bgppeers", "tor", METALLB)
        follower.wait(lambda world: not world.config.peers, "the peer to go")
        assert not follower.following._secrets
    finally:
        follower.close()


def test_hostile_annotations_cost_nothing(follower: Follower, installed: ControlPlane) -> None:
    follower.begin().wait(lambda _: True, "all lists")
    installed.api.create(service(annotations={"other/x": "x" * (250 << 10)}))
    installed.api.create(service("commas", annotations={"metallb.io/loadBalancerIPs": "," * (250 << 10)}))
    follower.wait(lambda world: len(world.services) >= 2, "both")
    assert follower.following.world.services[WEB].metadata.annotations == {}
    assert not follower.log.lines


def test_a_token_that_was_replaced_is_read_again(
    inside: Inside, installed: ControlPlane, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.client.ANEW_EVERY_S", 0.0)
    good = kubeconfig.read_text()
    token = good.split('"token": "')[1].split('"')[0]
    kubeconfig.write_text(good.replace(token, "stale"))
    client = inside.do(Client.connect(str(kubeconfig)))
    kubeconfig.write_text(good)
    try:
        assert b'"NodeList"' in inside.do(client.request("list", kinds.NODE))
    finally:
        inside.do(client.close())
