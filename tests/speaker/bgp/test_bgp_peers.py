"""Peers as the daemon's API writes them, and those that it cannot serve."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from cluster.config import BFDProfile, Config, Password, Peer
from cluster.resources import Key
from speaker.bgp import messages, peers
from speaker.bgp.protobuf import decode, encode
from speaker.bgp.refusals import refusals
from speaker.bgp.wish import Neighbour

QUICK = BFDProfile(name="quick", receive_interval_ms=100, detect_multiplier=5)


def peer(name: str = "tor", **fields: Any) -> Peer:
    good = {"my_asn": 64512, "asn": 64513, "address": "192.0.2.1", "nodes": frozenset({"n1"})}
    return Peer(name=name, **{**good, **fields})


def written(which: Peer, bfd: BFDProfile | None = None, address: str = "") -> messages.Peer:
    return decode(messages.Peer, encode(peers.write(Neighbour(which, bfd), address or which.address)))


def test_what_is_not_said_has_values_that_suit_a_load_balancer() -> None:
    told = written(peer())
    assert told.conf is not None
    assert (told.conf.local_asn, told.conf.peer_asn, told.conf.neighbor_address) == (64512, 64513, "192.0.2.1")
    assert told.timers == messages.Timers(messages.TimersConfig(5, 90, 30, 1))
    assert told.transport == messages.Transport("", 179)
    assert (told.ebgp_multihop, told.graceful_restart, told.bfd) == (None, None, None)
    assert [each.config and each.config.family for each in told.afi_safis] == [messages.Family(1, 1)]


def test_everything_that_is_said_is_written() -> None:
    told = written(
        peer(
            local_asn=64999, source_address="192.0.2.9", port=1790, hold_time_s=10, keepalive_time_s=2,
            connect_time_s=7, password=Password("secret"), graceful_restart=True, ebgp_multi_hop=True, dual_stack=True,
        ),
        QUICK,
    )  # fmt: skip
    assert told.conf is not None
    assert (told.conf.local_asn, told.conf.auth_password) == (64999, "secret")
    assert "secret" not in repr(told) + repr(messages.AddPeerRequest(told))
    assert told.timers == messages.Timers(messages.TimersConfig(7, 10, 2, 1))
    assert told.transport == messages.Transport("192.0.2.9", 1790)
    assert told.ebgp_multihop == messages.EbgpMultihop(enabled=True, multihop_ttl=255)
    preserved = messages.GracefulRestart(enabled=True, restart_time=60, deferral_time=1, local_restarting=True)
    assert told.graceful_restart == preserved
    assert all(each.mp_graceful_restart == _ENABLED for each in told.afi_safis)
    assert {each.config.family.afi for each in told.afi_safis if each.config and each.config.family} == {1, 2}
    assert told.bfd == messages.BfdPeerConfig(True, 300_000, 100_000, 5)


_ENABLED = messages.MpGracefulRestart(messages.MpGracefulRestartConfig(True))


def test_a_family_is_always_named() -> None:
    """Without, the daemon panics."""
    for which in (peer(), peer(address="2001:db8::1"), peer(address="", interface="eth0"), peer(dual_stack=True)):
        for each in written(which, address="192.0.2.1").afi_safis:
            assert each.config is not None
            assert each.config.family is not None
            assert each.config.family.afi


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"asn": 64513}, 64513),
        ({"asn": 0, "dynamic_asn": "internal"}, 64512),
        ({"asn": 0, "dynamic_asn": "internal", "local_asn": 64999}, 64999),
        ({"asn": 0, "dynamic_asn": "external"}, 0),
    ],
)
def test_a_dynamic_number_is_ours_or_any(fields: dict[str, Any], expected: int) -> None:
    assert peers.expected_asn(peer(**fields)) == expected


CHANGES: list[dict[str, Any]] = [
    {"my_asn": 64514}, {"asn": 64514}, {"asn": 0, "dynamic_asn": "external"}, {"local_asn": 64515},
    {"address": "192.0.2.2"}, {"source_address": "192.0.2.9"}, {"port": 180}, {"hold_time_s": 9},
    {"keepalive_time_s": 1, "hold_time_s": 90}, {"password": Password("one")},
    {"password": Password("two")}, {"graceful_restart": True}, {"ebgp_multi_hop": True}, {"dual_stack": True},
]  # fmt: skip


def test_what_makes_another_session_has_another_digest_and_nothing_else_has() -> None:
    digests = [peers.known(written(peer(**fields))).digest for fields in [{}, *CHANGES]]
    assert len(set(digests)) == len(digests)
    same = peer(nodes=frozenset({"n1", "n2"}), router_id="192.0.2.7", bfd_profile="none")
    assert peers.known(written(same)) == peers.known(written(peer()))
    soft = written(peer(connect_time_s=9))
    assert peers.known(soft).digest == digests[0]
    assert peers.known(soft).soft != peers.known(written(peer())).soft
    with_bfd = peers.known(written(peer(), QUICK))
    assert with_bfd.digest not in digests
    assert with_bfd.digest != peers.known(written(peer(), PROFILES["far"])).digest
    late = peers.known(peers.write(Neighbour(peer(), QUICK), "192.0.2.1", bfd=False))
    assert (late.digest, late.soft) == (with_bfd.digest, peers.known(written(peer())).soft)
    assert late.soft != with_bfd.soft


def test_ours_are_known_again_and_strangers_are_not() -> None:
    ours = written(peer())
    assert peers.known(ours)[0] == "tor"
    assert peers.known(ours)[2] == "192.0.2.1"
    assert ours.conf is not None
    for described in ("", "tor", "arpfast tor", "arpfast tor x y", "somebody tor 1234"):
        conf = msgspec.structs.replace(ours.conf, description=described)
        assert peers.known(msgspec.structs.replace(ours, conf=conf)) == peers.Known("", "", "192.0.2.1")


@pytest.mark.parametrize("bad", ["", "invalid IP", "foo", "192.0.2.1/32"])
def test_an_address_that_would_end_the_daemon_is_none(bad: str) -> None:
    peer = messages.Peer(messages.PeerConf(neighbor_address=bad), state=messages.PeerState(neighbor_address=bad))
    assert peers.known(peer).address == ""
    both = messages.Peer(
        messages.PeerConf(neighbor_address=bad), state=messages.PeerState(neighbor_address="fe80::1%a")
    )
    assert peers.known(both).address == "fe80::1%a"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"vrf": "red"}, "spec.vrf"),
    ({"router_id": "2001:db8::1"}, "spec.routerID"),
    ({"hold_time_s": 0}, "spec.holdTime"),
    ({"hold_time_s": 1}, "spec.holdTime"),
    ({"hold_time_s": 65536}, "spec.holdTime"),
    ({"hold_time_s": 9, "keepalive_time_s": 0}, "spec.keepaliveTime"),
    ({"address": "fe80::1"}, "spec.peerAddress"),
    ({"address": "::ffff:192.0.2.1"}, "spec.peerAddress"),
    ({"address": "224.0.0.1"}, "spec.peerAddress"),
    ({"address": "0.0.0.0"}, "spec.peerAddress"),
    ({"source_address": "2001:db8::1"}, "spec.sourceAddress"),
    ({"address": "", "interface": "eth0", "source_address": "2001:db8::1"}, "spec.sourceAddress"),
    ({"address": "", "interface": "an interface"}, "spec.interface"),
    ({"address": "", "interface": "0123456789abcdef"}, "spec.interface"),
    ({"password": Password("x" * 81)}, "spec.passwordSecret"),
    ({"bfd_profile": "echo"}, "spec.bfdProfile"),
    ({"bfd_profile": "passive"}, "spec.bfdProfile"),
    ({"bfd_profile": "quick", "ebgp_multi_hop": True}, "spec.bfdProfile"),
]
PROFILES = {
    "quick": QUICK,
    "echo": BFDProfile(name="echo", echo_mode=True),
    "passive": BFDProfile(name="passive", passive_mode=True),
    "far": BFDProfile(name="far", minimum_ttl=200),
}


@pytest.mark.parametrize(("fields", "field"), REFUSED)
def test_what_the_daemon_cannot_do_is_said(fields: dict[str, Any], field: str) -> None:
    config = Config(peers=(peer("good"), peer("bad", **{"address": "192.0.2.2", **fields})), bfd_profiles=PROFILES)
    (problem,) = refusals(config, "metallb-system")
    assert (problem.kind, problem.key, problem.field) == ("BGPPeer", Key("metallb-system", "bad"), field)
    assert "x" * 81 not in str(problem)


def test_what_it_can_do_is_not_refused() -> None:
    fine = (
        peer("a", bfd_profile="quick"),
        peer("b", address="2001:db8::1", source_address="2001:db8::2", bfd_profile="far"),
        peer("c", address="", interface="eth0", hold_time_s=3, keepalive_time_s=1),
        peer("d", address="192.0.2.4", ebgp_multi_hop=True, router_id="192.0.2.7", password=Password("x" * 80)),
        peer("e", address="192.0.2.4", nodes=frozenset({"n2"})),
    )
    assert refusals(Config(peers=fine, bfd_profiles=PROFILES), "") == []


def test_bfd_that_would_leave_from_another_address_than_the_session_is_refused() -> None:
    def found(ours: str | None, **fields: Any) -> list[str]:
        there = peer(**{"source_address": "192.0.2.9", "bfd_profile": "quick", **fields})
        config = Config(peers=(there,), bfd_profiles=PROFILES)
        return [each.field for each in refusals(config, "", lambda _: None if ours is None else ip_address(ours))]

    assert found("192.0.2.8") == ["spec.sourceAddress"]
    assert found("192.0.2.9") == found(None) == []
    assert found("192.0.2.8", bfd_profile="") == found("192.0.2.8", source_address="") == []
    v6 = {"address": "2001:db8::1", "source_address": "2001:DB8:0::2"}
    assert found("2001:db8::2", **v6) == []


def test_keepalives_come_three_times_in_a_hold_time() -> None:
    """MetalLB lets them be as far apart as the hold time: FRR does this of itself, GoBGP would lose the session."""

    def interval_s(**fields: Any) -> int:
        timers = written(peer(**fields)).timers
        assert timers is not None
        assert timers.config is not None
        return timers.config.keepalive_interval

    assert interval_s(hold_time_s=90, keepalive_time_s=90) == 30
    assert interval_s(hold_time_s=3, keepalive_time_s=3) == 1
    assert interval_s(hold_time_s=90, keepalive_time_s=5) == 5


def test_two_texts_of_one_address_are_one_address() -> None:
    both = peer("a", address="2001:db8::1"), peer("b", address="2001:DB8:0:0::1")
    (problem,) = refusals(Config(peers=both), "")
    assert problem.key.name == "b"
    assert "of a," in problem.expected
    apart = peer("a", address="2001:db8::1"), peer("b", address="2001:DB8:0:0::1", nodes=frozenset({"n2"}))
    assert refusals(Config(peers=apart), "") == []
