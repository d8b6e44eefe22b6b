"""What routers make of what nodes announce: FRR, BIRD and another GoBGP, each asked for its own view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster.config import Password
from lab import Lab, wait_until
from lab.fabric import NODES_ASN
from lab.routers import Bird, Peering
from lab.speaking import peer
from speaker.bgp.wish import Attributes
from tests.real.announcing_nodes import PLAIN, PREFIX, PREFIX_6, Scene, bird, frr, gobgp, to

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.routers import Router, Session

pytestmark = pytest.mark.timeout(300)
SAME_S = 1.5
"""FRR says since when by the second, and not always the same one."""


@pytest.fixture
def scene(lab: Lab) -> Scene:
    return Scene(lab)


def since(address: str, *routers: Router) -> list[float]:
    """Since when these routers have had their sessions with a node."""
    return [router.sessions()[address].since_unix_s for router in routers]


def test_each_router_is_told_by_each_node_what_it_is_to_be_told_and_nothing_else(scene: Scene) -> None:
    fabric = scene.fabric
    fabric.frr.start(fabric.nodes(hold_time_s=9))
    fabric.bird.start(fabric.nodes("ipv6"))
    fabric.gobgp.start(fabric.nodes())
    scene.start()
    everybody = {
        "frr": frr(dual_stack=True, hold_time_s=30, keepalive_time_s=10),
        "bird": bird(address="2001:db8::2", dual_stack=True),
        "gobgp": gobgp(),
    }
    marked = Attributes(local_pref=200, communities=("65000:1", "65535:65281", "large:65000:1:2"))
    routes = {
        PREFIX: {"frr": Attributes(communities=("65000:7",)), "bird": marked, "gobgp": PLAIN},
        "203.0.113.0/24": to(everybody, marked),
        PREFIX_6: to(["frr", "bird"], marked),
        "2001:db8:7::/64": to(everybody),
        "203.0.113.9/32": to(["gobgp"]),
    }
    scene.want(everybody, routes)
    for host, node in scene.nodes.items():
        node.wait_established(*everybody)
        four, six = fabric.node(host), fabric.node(host, "ipv6")
        for router in fabric.all:
            router.wait_route(PREFIX, *(peering.name for peering in router.peerings))
        fabric.frr.wait_route(PREFIX_6, *scene.addresses())

        seen = {prefix: way for prefix, ways in fabric.frr.routes().items() for way in ways if way.peer == four}
        assert set(seen) == {PREFIX, "203.0.113.0/24", PREFIX_6, "2001:db8:7::/64"}
        assert {way.as_path for way in seen.values()} == {(NODES_ASN,)}
        assert {way.local_pref for way in seen.values()} == {None}, "it is not for other networks (RFC 4271 5.1.5)"
        assert seen[PREFIX].communities == {"65000:7"}
        assert seen[PREFIX_6].communities == seen["203.0.113.0/24"].communities == set(marked.communities)
        assert seen["2001:db8:7::/64"].communities == set()
        assert [seen[prefix].next_hops[0] for prefix in (PREFIX, PREFIX_6)] == [four, six]
        assert all((way.origin, way.med, way.stale) == ("igp", None, False) for way in seen.values())
        session = fabric.frr.sessions()[four]
        assert (session.asn, session.hold_time_s, session.families) == (NODES_ASN, 9, frozenset({"ipv4", "ipv6"}))

        seen = {prefix: way for prefix, ways in fabric.bird.routes().items() for way in ways if way.peer == six}
        assert set(seen) == {PREFIX, "203.0.113.0/24", PREFIX_6, "2001:db8:7::/64"}
        assert {way.as_path for way in seen.values()} == {()}
        assert seen[PREFIX].communities == seen[PREFIX_6].communities == set(marked.communities)
        assert [seen[prefix].local_pref for prefix in (PREFIX, "2001:db8:7::/64")] == [200, 100]
        assert [seen[prefix].next_hops[0] for prefix in (PREFIX, PREFIX_6)] == [four, six]

        seen = {prefix: way for prefix, ways in fabric.gobgp.routes().items() for way in ways if way.peer == four}
        assert set(seen) == {PREFIX, "203.0.113.0/24", "203.0.113.9/32"}, "the session has no IPv6"
        assert seen[PREFIX].communities == set()
        assert seen["203.0.113.0/24"].communities == set(marked.communities)
        assert fabric.gobgp.sessions()[four].families == {"ipv4"}
    assert fabric.frr.kernel_next_hops(PREFIX) == set(scene.addresses())
    assert len(fabric.frr.kernel_next_hops(PREFIX_6)) == len(scene.nodes)


def test_changed_advertisements_reset_no_session(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    address = scene.address(node)
    for router in fabric.all:
        router.start(fabric.nodes())
    scene.start(node.host)
    everybody = {"frr": frr(dual_stack=True), "bird": bird(dual_stack=True), "gobgp": gobgp(dual_stack=True)}
    node.want(everybody, {PREFIX: to(everybody)})
    for router in fabric.all:
        router.wait_route(PREFIX, address)
    before = since(address, *fabric.all)

    one, other = Attributes(communities=("65000:1",)), Attributes(communities=("65000:2", "large:65000:1:1"))
    for router in fabric.all:  # one after the other is told something else
        told = {each.product: other if each is router else one for each in fabric.all}
        node.want(everybody, {PREFIX: told, PREFIX_6: to(everybody, Attributes(local_pref=50))})
        wait_until(lambda each=router: scene.only(each, PREFIX).communities == set(other.communities))  # type: ignore[misc]
        for each in fabric.all:
            wanted = other if each is router else one
            wait_until(lambda each=each, wanted=wanted: scene.only(each, PREFIX).communities == set(wanted.communities))  # type: ignore[misc]
    assert scene.only(fabric.bird, PREFIX_6).local_pref == 50

    node.want(everybody, {PREFIX: to(["bird"])})
    for router in (fabric.frr, fabric.gobgp):
        router.wait_no_route(PREFIX)
    wait_until(lambda: scene.only(fabric.bird, PREFIX).communities == set())
    node.want(everybody, {"203.0.113.0/24": to(everybody)})
    for router in fabric.all:
        router.wait_no_route(PREFIX)
        router.wait_route("203.0.113.0/24", address)
    assert since(address, *fabric.all) == pytest.approx(before, abs=SAME_S)
    assert node.flaps() == 0


def test_a_peer_s_changed_field_counts_for_it_and_resets_nobody_else(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    address, other = scene.address(node), "192.0.2.99"
    scene.ring.links[node.host].add_address(f"{other}/24")
    fabric.frr.start([Peering(address=each) for each in (address, other)])
    fabric.bird.start(fabric.nodes())
    fabric.gobgp.start(fabric.nodes())
    scene.start(node.host)
    others = {"bird": bird(dual_stack=True), "gobgp": gobgp()}
    told = {PREFIX: to(["frr", *others])}
    node.want(others | {"frr": frr()}, told)
    node.wait_established("frr", *others)
    for router in fabric.all:
        router.wait_route(PREFIX, address)
    before = since(address, fabric.bird, fabric.gobgp)

    def session() -> Session:
        return fabric.frr.sessions()[address]

    def path() -> tuple[int, ...]:
        return next((way.as_path for way in fabric.frr.routes().get(PREFIX, ()) if way.peer == address), ())

    def restarts() -> bool:
        return '"remoteGrMode":"Restart"' in fabric.frr.tell(f"show bgp neighbors {address} json").replace(" ", "")

    changes: list[tuple[dict[str, Any], Callable[[], bool]]] = [
        ({"hold_time_s": 30, "keepalive_time_s": 10}, lambda: session().hold_time_s == 30),
        ({"graceful_restart": True}, restarts),
        ({"dual_stack": True}, lambda: session().families == {"ipv4", "ipv6"}),
        ({"my_asn": 64555}, lambda: session().asn == 64555 and path() == (64555,)),
        ({"local_asn": 64777}, lambda: session().asn == 64777 and path()[:1] == (64777,)),
        ({"source_address": other}, lambda: fabric.frr.established(other) and not session().established),
        ({"asn": 0, "dynamic_asn": "external"}, lambda: session().established and not fabric.frr.established(other)),
        ({"ebgp_multi_hop": True, "connect_time_s": 2}, lambda: session().established),
    ]  # fmt: skip
    for change, effect in changes:
        node.want(others | {"frr": frr(**change)}, told)
        wait_until(effect, deadline_s=60, what=f"{change} to count", every_ms=50)
        node.wait_established("frr")
        fabric.frr.wait_route(PREFIX, str(change.get("source_address", address)))
    node.want(others, {PREFIX: to(others)})
    fabric.frr.wait_no_route(PREFIX)
    assert since(address, fabric.bird, fabric.gobgp) == pytest.approx(before, abs=SAME_S)


def test_passwords_count_and_may_change(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    address = scene.address(node)
    for router in fabric.all:
        router.start(fabric.nodes(password="right"))
    scene.start(node.host)
    right, wrong = Password("right"), Password("wrong")
    node.want(
        {"frr": frr(password=wrong), "bird": bird(password=right), "gobgp": gobgp()},
        {PREFIX: to(["frr", "bird", "gobgp"])},
    )
    node.wait_established("bird")
    before = since(address, fabric.bird)
    assert not fabric.frr.established(address)
    assert not fabric.gobgp.established(address)
    node.want(
        {name: make(password=right) for name, make in (("frr", frr), ("bird", bird), ("gobgp", gobgp))},
        {PREFIX: to(["frr"])},
    )
    node.wait_established("frr", "bird", "gobgp")
    fabric.frr.wait_route(PREFIX, address)
    assert since(address, fabric.bird) == pytest.approx(before, abs=SAME_S)
    assert "right" not in node.process.output + node.daemon.output
    assert "wrong" not in node.process.output + node.daemon.output


def test_a_peer_may_be_many_hops_away(scene: Scene) -> None:
    node = scene.first
    far = Bird(scene.ring.client, 64699, [Peering(address=scene.address(node), asn=NODES_ASN, multihop=True)])
    far.start()
    scene.start(node.host)
    node.want({"far": peer("far", address="198.51.100.2", asn=64699, ebgp_multi_hop=True)}, {PREFIX: to(["far"])})
    (route,) = far.wait_route(PREFIX, scene.address(node))
    assert (route.next_hops, route.as_path) == ((scene.address(node),), (NODES_ASN,))


def test_a_peer_may_be_whoever_is_at_the_other_end_of_an_interface(scene: Scene) -> None:
    fabric, node = scene.fabric, scene.first
    to_frr = node.host.link(fabric.frr.host, name="tor0", peer_name="down0")
    to_bird = node.host.link(fabric.bird.host, name="tor1", peer_name="down0")
    fabric.frr.start([Peering(interface="down0", asn=NODES_ASN)])
    fabric.bird.start([Peering(address=f"{to_bird.link_local}%down0", asn=NODES_ASN)])
    scene.start(node.host)
    everybody = {
        "frr": frr(address="", interface="tor0", asn=0, dynamic_asn="external", dual_stack=True),
        "bird": bird(address="", interface="tor1", dual_stack=True),
    }
    node.want(everybody, {PREFIX: to(["frr"]), PREFIX_6: to(everybody, Attributes(communities=("65000:1",)))})
    node.wait_established(*everybody)
    for prefix in (PREFIX, PREFIX_6):
        (route,) = fabric.frr.wait_route(prefix, "down0")
        assert (route.as_path, route.next_hops[-1]) == ((NODES_ASN,), str(to_frr.link_local))
        wait_until(lambda each=prefix: fabric.frr.kernel_next_hops(each) == {str(to_frr.link_local)})  # type: ignore[misc]
    (route,) = fabric.bird.wait_route(PREFIX_6, f"{to_bird.link_local}%down0")
    assert (route.as_path, route.local_pref, route.communities) == ((), 100, frozenset({"65000:1"}))
