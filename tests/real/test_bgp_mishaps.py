"""What goes wrong with the daemon, with our half, and with peers; and that nobody else notices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.config import BFDProfile
from lab import wait_until
from tests.real.bgp_stage import OUR_ASN, Stage, peer, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

ONE, TWO = "198.51.100.1/32", "198.51.100.2/32"


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    stage = Stage(lab)
    stage.start_daemon(patience_s=100)
    stage.start()
    try:
        yield stage
    finally:
        stage.close()


def test_a_restart_of_our_half_is_noticed_by_nobody(stage: Stage) -> None:
    router = stage.router()
    router.accept(stage.address, graceful=True)
    tor = peer("tor", router, graceful_restart=True)
    routes = {ONE: told("tor"), TWO: told("tor", communities=("65000:1",))}
    stage.want([tor], routes)
    stage.wait_up("tor")
    wait_until(lambda: router.table().keys() == {ONE, TWO}, what="both")
    updates = router.peer(stage.address).messages
    stage.stop()
    stage.start()
    stage.want([tor], routes)
    stage.wait_up("tor")
    stage.settled()
    after = stage.bgp.statistics()
    assert (after.announced, after.withdrawn, after.routes, after.daemon_starts) == (0, 0, 2, 0)
    assert router.peer(stage.address).flops == 0
    assert router.peer(stage.address).messages == updates
    assert stage.session("tor").announced == 2

    # What has changed in between is made good, and a peer that is wanted no more is gone.
    other = stage.router()
    other.accept(stage.address)
    stage.stop()
    stage.start()
    stage.want([tor, peer("other", other)], {ONE: told("tor", "other")})
    stage.wait_up("tor", "other")
    wait_until(lambda: router.table().keys() == other.table().keys() == {ONE}, what="the other to be withdrawn")
    assert router.peer(stage.address).flops == 0
    stage.stop()
    stage.start()
    stage.want([tor], {ONE: told("tor")})
    wait_until(lambda: not other.table(), what="the session to end")
    assert router.table().keys() == {ONE}
    stage.inside.do(stage.bgp.leave(withdraw=True))
    wait_until(lambda: not router.table(), what="it to drop what it would have kept")


def test_a_daemon_whose_socket_is_gone_is_replaced(stage: Stage) -> None:
    router = stage.router()
    router.accept(stage.address)
    stage.want([peer("tor", router)], {ONE: told("tor")})
    stage.wait_up("tor")
    stage.stop()
    Path(stage.socket).unlink()
    stage.start()
    stage.want([peer("tor", router)], {TWO: told("tor")})
    wait_until(lambda: stage.bgp.trouble, what="it to be noticed")
    wait_until(lambda: not router.table(), what="the daemon to be killed")
    router.forget(stage.address)
    wait_until(lambda: router.table().keys() == {TWO}, 40, what="what is wanted now")
    assert stage.daemon is not None
    assert stage.daemon.starts == 2


def test_a_peer_that_cannot_be_had_is_nobody_elses_trouble(stage: Stage) -> None:
    good, locked, foreign, ours = (stage.router(asn) for asn in (65000, 65001, 65002, OUR_ASN))
    good.accept(stage.address)
    locked.accept(stage.address, password="right")
    foreign.accept(stage.address)
    ours.accept(stage.address)
    there = [
        peer("good", good),
        peer("locked", locked, password="wrong"),
        peer("foreign", foreign, asn=65099),
        peer("any", ours, asn=0, dynamic_asn="external"),
    ]
    routes = {ONE: told("good", "locked", "foreign", "any")}
    stage.want(there, routes)
    stage.wait_up("good")
    wait_until(lambda: good.table().keys() == {ONE}, what="the good one to have it")
    wait_until(lambda: "AS 65099" in stage.session("foreign").why, what="why another AS is refused")
    wait_until(lambda: "another AS" in stage.session("any").why, what="why our own AS is refused")
    wait_until(lambda: not ours.table(), what="it to be told nothing")
    assert stage.session("locked").state != "established"
    assert not locked.table()

    # Put right, one by one: who is well does not notice.
    foreign.forget(stage.address)
    ours.forget(stage.address)
    there[1:] = [
        peer("locked", locked, password="right"),
        peer("foreign", foreign, asn=65002),
        peer("any", ours, asn=0, dynamic_asn="internal"),
    ]
    stage.want(there, routes)
    stage.wait_up("good", "locked", "foreign", "any")
    wait_until(lambda: all(each.table().keys() == {ONE} for each in stage.routers), what="all to have it")
    assert (stage.session("good").flaps, good.peer(stage.address).flops) == (0, 0)
    assert "right" not in repr(stage.bgp.sessions())


def test_who_drains_is_avoided_and_who_leaves_is_kept_only_where_it_was_agreed(stage: Stage) -> None:
    other, own = stage.router(65000), stage.router(OUR_ASN)
    other.accept(stage.address, graceful=True)
    own.accept(stage.address)
    peers = [peer("other", other, graceful_restart=True), peer("own", own)]
    stage.want(peers, {ONE: told("other", "own", local_pref=300, communities=("65000:1",))})
    stage.wait_up("other", "own")
    wait_until(lambda: other.table().keys() == own.table().keys() == {ONE}, what="the route")
    stage.inside.call(stage.bgp.drain)
    wait_until(lambda: all("65535:0" in each.table()[ONE].communities for each in (other, own)), what="the community")
    assert own.table()[ONE].local_pref == 0
    assert other.table()[ONE].communities == {"65000:1", "65535:0"}
    stage.inside.call(lambda: stage.bgp.drain(False))
    wait_until(lambda: own.table()[ONE].local_pref == 300, what="everything as before")
    assert (other.peer(stage.address).flops, own.peer(stage.address).flops) == (0, 0)
    stage.inside.do(stage.bgp.leave())
    wait_until(lambda: not own.table(), what="the one without graceful restart to drop it")
    wait_until(lambda: other.stale(ONE), what="the other to keep it")


def test_silence_is_noticed_by_bfd(stage: Stage) -> None:
    router = stage.router()
    router.accept(stage.address, bfd_ms=100, hold_s=90)
    quick = BFDProfile(name="quick", receive_interval_ms=100, transmit_interval_ms=100, detect_multiplier=3)
    tor = peer("tor", router, hold_time_s=90, bfd_profile="quick")
    stage.want([tor], {ONE: told("tor")}, quick)
    stage.wait_up("tor")
    wait_until(lambda: stage.session("tor").bfd == "up", what="BFD")
    wait_until(lambda: router.table().keys() == {ONE}, what="the route")
    # How often a connection is tried is changed without the session.
    stage.want([peer("tor", router, hold_time_s=90, bfd_profile="quick", connect_time_s=2)], {ONE: told("tor")}, quick)
    stage.settled()
    assert (stage.session("tor").flaps, router.peer(stage.address).flops) == (0, 0)
    router.link.down()
    wait_until(lambda: stage.session("tor").state != "established", what="the session to end")
    wait_until(lambda: not router.table(), what="the route to be dropped")
    assert stage.session("tor").flaps == 1


def test_another_router_id_takes_another_daemon_whose_planned_end_takes_no_route(stage: Stage) -> None:
    router, plain, graceful = (stage.router() for _ in range(3))
    router.accept(stage.address, graceful=True)
    plain.accept(stage.address)
    graceful.accept(stage.address, graceful=True)
    tor, routes = peer("tor", router, graceful_restart=True), {ONE: told("tor", "plain", "graceful")}
    stage.want([tor], routes)
    stage.wait_up("tor")
    wait_until(lambda: router.table().keys() == {ONE}, what="the route")
    assert router.peer(stage.address).router_id == stage.address
    seen = set()

    def known() -> str:
        seen.add(ONE in router.table())
        return router.peer(stage.address).router_id

    named = peer("tor", router, graceful_restart=True, router_id="192.0.2.222")
    stage.want([named], routes)
    wait_until(lambda: known() == "192.0.2.222", what="the other identity")
    stage.wait_up("tor")
    assert known() == "192.0.2.222"
    assert seen == {True}, "graceful restart has bridged it"
    assert stage.daemon is not None
    assert stage.daemon.starts == 2

    stage.want([peer("plain", plain), peer("graceful", graceful, graceful_restart=True)], routes)
    wait_until(lambda: plain.table().keys() == graceful.table().keys() == {ONE}, what="the route")
    assert not graceful.stale(ONE)
    stage.stop_daemon()
    wait_until(lambda: not plain.table(), what="the one without graceful restart to drop it")
    wait_until(lambda: graceful.stale(ONE), what="the other to keep it")
