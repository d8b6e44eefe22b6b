"""What routers hear of what is wanted, and what they do not; each by the router's own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import wait_until
from tests.real.bgp_stage import OUR_ASN, Heard, Stage, peer, prefixes, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    stage = Stage(lab)
    stage.start_daemon()
    stage.start()
    try:
        yield stage
    finally:
        stage.close()


ONE, TWO, THREE = "198.51.100.1/32", "198.51.100.0/24", "2001:db8:1::1/128"


def test_each_peer_is_told_what_is_for_it_and_nothing_else(stage: Stage) -> None:
    other, own = stage.router(65000), stage.router(OUR_ASN)
    other.accept(stage.address)
    own.accept(stage.address)
    peers = [peer("other", other), peer("own", own)]
    both = told("other", "own", local_pref=200, communities=("65000:1", "large:65000:1:2"))
    apart = told("other", communities=("65000:7",)) | told("own", local_pref=50, communities=("large:64512:3:4",))
    routes = {ONE: both, TWO: apart, "203.0.113.9/32": told("own")}
    stage.want(peers, routes)
    stage.wait_up("other", "own")
    all_of_both = frozenset({"65000:1", "large:65000:1:2"})
    for_other = {
        ONE: Heard(stage.address, (OUR_ASN,), None, all_of_both),
        TWO: Heard(stage.address, (OUR_ASN,), None, frozenset({"65000:7"})),
    }
    for_own = {
        ONE: Heard(stage.address, (), 200, all_of_both),
        TWO: Heard(stage.address, (), 50, frozenset({"large:64512:3:4"})),
        "203.0.113.9/32": Heard(stage.address, (), 100, frozenset()),
    }
    wait_until(lambda: other.table() == for_other, what="what is for the other AS")
    wait_until(lambda: own.table() == for_own, what="what is for our own")
    assert [stage.session(name).announced for name in ("other", "own")] == [2, 3]
    wait_until(
        lambda: all(stage.bgp.traffic()[name].updates_sent for name in ("other", "own")),
        what="the UPDATEs to be counted",
    )

    # One moves, one has its attributes changed, one goes; nobody is disturbed.
    stage.want(peers, {ONE: told("own"), TWO: told("other", "own", communities=("65000:8",))})
    stage.settled()
    changed = frozenset({"65000:8"})
    now_other = {TWO: Heard(stage.address, (OUR_ASN,), None, changed)}
    now_own = {ONE: Heard(stage.address, (), 100, frozenset()), TWO: Heard(stage.address, (), 100, changed)}
    wait_until(lambda: other.table() == now_other, what="what is for the other AS now")
    wait_until(lambda: own.table() == now_own, what="what is for our own now")

    # A peer that comes is told all that is for it, and one that goes is gone; the third has noticed nothing.
    third = stage.router(65003)
    third.accept(stage.address)
    stage.want(
        [peers[0], peer("third", third)], {ONE: told("third", "own"), TWO: told("other", communities=("65000:8",))}
    )
    stage.wait_up("other", "third")
    wait_until(lambda: third.table().keys() == {ONE} and not own.table(), what="the third to stand in")
    assert other.table()[TWO].communities == {"65000:8"}
    assert stage.session("other").flaps == 0
    assert other.peer(stage.address).flops == 0
    stage.want([peers[0]], {})
    wait_until(lambda: not other.table() and not third.table(), what="everything to be withdrawn")
    assert other.peer(stage.address).flops == 0


def test_both_families_over_one_session_and_each_over_its_own(stage: Stage) -> None:
    four, six, dual = stage.router(), stage.router(), stage.router()
    four.accept(stage.address, both=True)
    six.accept(stage.address6)
    dual.accept(stage.address, both=True)
    peers = [peer("four", four), peer("six", six, v6=True), peer("dual", dual, dual_stack=True)]
    stage.want(peers, {ONE: told("four", "six", "dual"), THREE: told("four", "six", "dual")})
    stage.wait_up("four", "six", "dual")
    wait_until(lambda: len(dual.table(1)) == len(dual.table(2)) == 1, what="both over one session")
    assert dual.table(1)[ONE].next_hop == stage.address
    assert dual.table(2)[THREE].next_hop == stage.address6
    wait_until(lambda: six.table(2).keys() == {THREE}, what="IPv6 over IPv6")
    assert six.table(2)[THREE].next_hop == stage.address6
    wait_until(lambda: four.table(1).keys() == {ONE}, what="IPv4 over IPv4")
    assert not four.table(2)
    assert not six.table(1)
    # Without an address that a router could send to nothing is told, and that alone is taken back.
    stage.link.remove_address(f"{stage.address6}/64")
    stage.picture()
    wait_until(lambda: not dual.table(2), what="IPv6 to be withdrawn")
    assert dual.table(1)[ONE].next_hop == stage.address
    assert stage.session("dual").flaps == 0


def test_a_router_is_found_on_an_interface(stage: Stage) -> None:
    router = stage.router()
    cable = stage.node.link(router.host, name="tor0", peer_name="node0")
    assert cable.peer is not None
    ours, theirs = cable.link_local, cable.peer.link_local
    router.accept(f"{ours}%node0", both=True)
    stage.want([peer("tor", router, interface="tor0")], {ONE: told("tor"), THREE: told("tor")})
    stage.wait_up("tor")
    assert stage.session("tor").address == f"{theirs}%tor0"
    wait_until(lambda: len(router.table(1)) == len(router.table(2)) == 1, what="both families")
    assert router.table(1)[ONE].next_hop == router.table(2)[THREE].next_hop == str(ours)
    assert stage.session("tor").announced == 2
    stage.want([peer("tor", router, interface="tor1")], {ONE: told("tor")})
    wait_until(lambda: "tor1" in stage.session("tor").why, what="what is missing")
    assert stage.session("tor").why == "expected a router on tor1, found none yet"
    wait_until(lambda: not router.table(1), what="it to be told nothing")


def test_ten_thousand_routes_and_a_hundred_thousand_of_a_peers(stage: Stage) -> None:
    router = stage.router()
    router.accept(stage.address)
    many = list(prefixes(10_000))
    stage.want([peer("tor", router)], {prefix: told("tor") for prefix in many})
    stage.settled()
    stage.wait_up("tor")
    wait_until(lambda: router.count() == len(many), what="ten thousand routes")
    assert stage.bgp.statistics().announced == len(many)
    stage.want([peer("tor", router)], {prefix: told("tor") for prefix in [*many[:-1], ONE]})
    stage.settled()
    assert stage.bgp.statistics().announced == len(many) + 1
    assert stage.bgp.statistics().withdrawn == 1
    wait_until(lambda: router.count() == len(many), what="one more, one less")
    # What it tells us goes nowhere: not to anybody, and not to our half.
    other = stage.router(65001)
    other.accept(stage.address)
    router.originate(f"100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32" for n in range(100_000))
    stage.want([peer("tor", router), peer("other", other)], {TWO: told("other")})
    stage.settled()
    wait_until(lambda: router.count() == 100_000, what="ours to be withdrawn", deadline_s=40)
    wait_until(lambda: stage.kept_of(router) == 100_000, what="all of theirs to have come", deadline_s=40)
    wait_until(lambda: other.table().keys() == {TWO}, what="what the other is to have")
    assert other.count() == 1, "what one peer tells goes to no other"
    stage.stop()
    stage.start()
    stage.want([peer("tor", router)], {ONE: told("tor")})
    stage.settled()
    assert stage.bgp.statistics().routes == 1
    assert router.peer(stage.address).flops == 0
