"""Nodes that die, drain and restart, and daemons that do: what routers and a client behind them notice."""

from __future__ import annotations

import signal
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from lab import Lab, wait_until
from lab.traffic import Traffic
from tests.real.announcing_nodes import BFD, BFD_MS, PREFIX, PREFIX_6, Scene, bird, frr, gobgp, to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp.wish import Attributes

pytestmark = pytest.mark.timeout(300)
SHARED = [str(ip_address("203.0.113.100") + number) for number in range(12)]
DEADLINE_S = 60.0
PATIENCE_S = 2.0
"""A probe that a busy machine answers late is not lost."""
SAME_S = 1.5
"""FRR says since when by the second, and not always the same one."""


def told(names: Iterable[str]) -> dict[str, dict[str, Attributes]]:
    """All of these addresses to all of these peers."""
    return {f"{address}/32": to(names) for address in SHARED}


def answering(traffic: Traffic) -> dict[str, int]:
    """Who has answered for each address last."""
    return {event.address: event.host for event in traffic.events() if event.event == "host"}


@pytest.fixture
def scene(lab: Lab) -> Scene:
    return Scene(lab, addresses=SHARED)


def test_a_dead_node_is_gone_by_bfd_and_else_by_its_hold_time_and_others_do_not_notice(scene: Scene) -> None:
    fabric, everybody = scene.fabric, {"frr": frr(bfd=BFD), "bird": bird(hold_time_s=3, keepalive_time_s=1)}
    fabric.frr.start(fabric.nodes(bfd_ms=BFD_MS))
    fabric.bird.start(fabric.nodes(hold_time_s=3))
    scene.start()
    scene.want(everybody, told(everybody))
    fabric.frr.wait_count(len(SHARED) * len(scene.nodes))
    fabric.frr.wait_steady()
    for node in scene.nodes.values():
        node.wait_established(*everybody)
        wait_until(lambda each=node: each.sessions()["frr"].bfd == "up", what="BFD to be up here, too")  # type: ignore[misc]
    fabric.bird.wait_count(len(SHARED) * len(scene.nodes))

    with Traffic.start(scene.ring.client, SHARED, live=True, patience_s=PATIENCE_S) as traffic:
        for address in SHARED:
            traffic.wait_answered(address, deadline_s=DEADLINE_S)
        dead = scene.ring.at(answering(traffic)[SHARED[0]])
        scene.ring.freeze(dead)
        fabric.frr.wait_down(fabric.node(dead))
        others = {fabric.node(host) for host in scene.ring.hosts if host is not dead}
        for address in SHARED:
            wait_until(lambda each=address: fabric.frr.kernel_next_hops(each) == others, DEADLINE_S)  # type: ignore[misc]
        wait_until(lambda: dead.number not in answering(traffic).values(), DEADLINE_S, what="others to answer for all")
        delivered = traffic.stop()
    assert delivered.outages
    assert {outage.before for outage in delivered.outages} == {dead.number}, "nobody else's connections suffered"
    assert dead.number not in {outage.after for outage in delivered.outages}
    fabric.bird.wait_down(fabric.node(dead))
    fabric.bird.wait_count(len(SHARED) * (len(scene.nodes) - 1))


def test_a_drained_node_loses_nothing(scene: Scene) -> None:
    fabric, everybody = scene.fabric, {"frr": frr(), "bird": bird(), "gobgp": gobgp()}
    for router in fabric.all:
        router.start(fabric.nodes())
    scene.start()
    scene.want(everybody, told(everybody))
    fabric.frr.wait_count(len(SHARED) * len(scene.nodes))
    with Traffic.start(scene.ring.client, SHARED, live=True, patience_s=PATIENCE_S) as traffic:
        drained = scene.ring.at(traffic.wait_answered(SHARED[0], deadline_s=DEADLINE_S))
        for address in SHARED:
            traffic.wait_answered(address, deadline_s=DEADLINE_S)
        others = {fabric.node(host) for host in scene.ring.hosts if host is not drained}
        node, its_address = scene.nodes[drained], fabric.node(drained)
        node.drain()
        for router in fabric.all:
            for address in SHARED:
                wait_until(
                    lambda router=router, prefix=f"{address}/32": any(  # type: ignore[misc]
                        way.peer == its_address and "65535:0" in way.communities for way in router.routes()[prefix]
                    ),
                    DEADLINE_S, what=f"{router.product} to be asked to look for other ways",
                )  # fmt: skip
        for address in SHARED:
            wait_until(lambda each=address: fabric.frr.kernel_next_hops(each) == others, DEADLINE_S)  # type: ignore[misc]
        (way,) = [way for way in fabric.bird.routes()[f"{SHARED[0]}/32"] if way.peer == its_address]
        assert way.local_pref == 0, "a router that does not know the community still avoids it (RFC 8326 section 4)"
        node.want(everybody)
        for router in fabric.all:
            router.wait_count(len(SHARED) * (len(scene.nodes) - 1))
        delivered = traffic.stop()
    assert delivered.outages == ()
    assert {spell.host for spell in delivered.spells if spell.address == SHARED[0]} > {drained.number}

    node.drain(False)
    node.want(everybody, told(everybody))
    fabric.frr.wait_route(f"{SHARED[0]}/32", *scene.addresses())
    wait_until(lambda: fabric.frr.kernel_next_hops(SHARED[0]) == set(scene.addresses()), DEADLINE_S)
    assert all(each.flaps() == 0 for each in scene.nodes.values())


def test_a_restart_is_graceful_where_that_is_wanted_and_a_death_is_not(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    address = scene.address(node)
    everybody = {
        "frr": frr(graceful_restart=True, bfd=BFD, dual_stack=True),
        "bird": bird(graceful_restart=True),
        "gobgp": gobgp(),
    }
    fabric.frr.start(fabric.nodes(bfd_ms=BFD_MS))
    fabric.bird.start(fabric.nodes())
    fabric.gobgp.start(fabric.nodes())
    scene.start(node.host)
    wanted = {PREFIX: to(everybody), PREFIX_6: to(["frr"])}
    node.want(everybody, wanted)
    for router in fabric.all:
        router.wait_route(PREFIX, address)
    fabric.frr.wait_route(PREFIX_6, address)
    began = fabric.bird.sessions()[address].since_unix_s

    node.leave()
    node.process.kill()
    node.daemon.kill()
    wait_until(lambda: scene.only(fabric.bird, PREFIX).stale, DEADLINE_S, what="BIRD to keep the route for us")
    fabric.gobgp.wait_no_route(PREFIX)
    node.start()
    node.want(everybody, wanted)

    def fresh() -> bool:
        (way,) = fabric.bird.routes()[PREFIX]
        return not way.stale and fabric.bird.sessions()[address].since_unix_s > began

    wait_until(fresh, DEADLINE_S, what="the route to be fresh again, and never away", every_ms=50)
    said = fabric.bird.tell("show", "protocols", "all", "peer0")
    assert "AF preserved: ipv4" in said, "or else it must not keep anything (RFC 4724 section 4.2)"
    fabric.frr.wait_route(PREFIX, address)
    fabric.frr.wait_steady(address)

    scene.ring.freeze(node.host)
    fabric.frr.wait_no_route(PREFIX)
    fabric.frr.wait_no_route(PREFIX_6)
    scene.ring.thaw(node.host)
    fabric.frr.wait_route(PREFIX, address)


def test_our_side_may_be_away_and_its_daemon_hung_or_killed_or_out_of_reach(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    address = scene.address(node)
    routers = fabric.frr, fabric.bird
    everybody = {"frr": frr(dual_stack=True), "bird": bird(graceful_restart=True)}
    for router in routers:
        router.start(fabric.nodes())
    scene.start(node.host)
    wanted = {PREFIX: to(everybody), PREFIX_6: to(["frr"])}
    more = wanted | {"203.0.113.9/32": to(everybody)}
    node.want(everybody, wanted)

    def wait_whole() -> dict[str, float]:
        for router in routers:
            router.wait_route(PREFIX, address)
        fabric.frr.wait_route(PREFIX_6, address)
        return {router.product: router.sessions()[address].since_unix_s for router in routers}

    before = wait_whole()
    node.process.kill()  # our side alone: the daemon goes on
    node.start_speaker()
    node.want(everybody, wanted)
    node.wait_settled()
    assert wait_whole() == pytest.approx(before, abs=SAME_S)

    node.daemon.signal(signal.SIGSTOP)
    node.want(everybody, more)
    wait_until(lambda: "deadline exceeded" in node.trouble, DEADLINE_S, what="the hung daemon to be told")
    assert {(each.state, "deadline exceeded" in each.why) for each in node.sessions().values()} == {("idle", True)}
    node.daemon.signal(signal.SIGCONT)
    for router in routers:
        router.wait_route("203.0.113.9/32", address)
    wait_until(lambda: not node.trouble, DEADLINE_S, what="the daemon to be of use again")
    node.wait_established(*everybody)
    assert wait_whole() == pytest.approx(before, abs=SAME_S), "no session has suffered"
    assert node.flaps() == 0

    node.daemon.kill()
    wait_until(lambda: node.trouble, DEADLINE_S, what="the dead daemon to be told")
    fabric.frr.wait_no_route(PREFIX)
    assert scene.only(fabric.bird, PREFIX).stale
    node.want(everybody, wanted)  # what is wanted meanwhile is not lost
    node.start_daemon()
    before = wait_whole()
    wait_until(lambda: not scene.only(fabric.bird, PREFIX).stale, DEADLINE_S, what="the route to be fresh again")
    assert all("203.0.113.9/32" not in router.routes() for router in routers)
    node.wait_established(*everybody)
    assert node.flaps() == len(everybody)

    node.socket.unlink()
    node.process.kill()
    node.start_speaker()
    node.want(everybody, more)
    wait_until(lambda: node.trouble, DEADLINE_S, what="the daemon out of reach to be told")
    assert wait_whole() == pytest.approx(before, abs=SAME_S), "routers have what they had"
