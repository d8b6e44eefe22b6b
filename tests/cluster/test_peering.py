"""BGPPeers and BFDProfiles: what is refused, row by row, and what the good ones resolve to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster.config import Password
from cluster.peering import duration_ns
from tests.cluster.configuring import bfd, bgp, parsed, peer, pool, secret, told

if TYPE_CHECKING:
    from cluster.resources import Object

ASN = "1 to 4294967295"
RACK_A, RACK_B = {"matchLabels": {"rack": "a"}}, {"matchLabels": {"rack": "b"}}
HUNTER2 = "aHVudGVyMg=="


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


REFUSED: dict[str, tuple[list[Object], list[str]]] = {
    "myASN 0": ([peer(myASN=0)], [f"spec.myASN: {ASN}"]),
    "neither peerASN nor dynamicASN": ([peer(peerASN=None)], [f"spec.peerASN: {ASN}, or spec.dynamicASN"]),
    "both peerASN and dynamicASN": (
        [peer(dynamicASN="external")],
        ["spec.dynamicASN: none beside spec.peerASN"],
    ),
    "dynamicASN neither internal nor external": (
        [peer(peerASN=None, dynamicASN="either")],
        ["spec.dynamicASN: internal or external"],
    ),
    "multihop to one's own number": (
        [peer(peerASN=64512, ebgpMultiHop=True)],
        ["spec.ebgpMultiHop: false towards a peer of our own number"],
    ),
    "numbers beyond 32 bits": (
        [peer(myASN=1 << 32, peerASN=1 << 32, localASN=1 << 32)],
        [f"spec.{field}: {ASN}" for field in ("myASN", "peerASN", "localASN")],
    ),
    "port": ([peer(peerPort=16385)], ["spec.peerPort: 1 to 16384"]),
    "neither address nor interface": (
        [peer(peerAddress=None)],
        ["spec.peerAddress: an address, or spec.interface"],
    ),
    "both address and interface": (
        [peer(interface="eth0")],
        ["spec.interface: none beside spec.peerAddress"],
    ),
    "hold time of 1 s": ([peer(holdTime="1s")], ["spec.holdTime: 0s, or 3s and more"]),
    "hold time of 2.9 s": ([peer(holdTime="2900ms")], ["spec.holdTime: 0s, or 3s and more"]),
    "keepalive above hold": (
        [peer(holdTime="9s", keepaliveTime="10s")],
        ["spec.keepaliveTime: not more than spec.holdTime"],
    ),
    "no duration": ([peer(holdTime="soon")], ["spec.holdTime: a duration such as 90s or 1m30s"]),
    "connect time with a fraction": (
        [peer(connectTime="1500ms")],
        ["spec.connectTime: 1s to 65535s, in whole seconds"],
    ),
    "bad address": ([peer(peerAddress="192.0.2.300")], ["spec.peerAddress: an address"]),
    "bad routerID": ([peer(routerID="one")], ["spec.routerID: an address"]),
    "bad sourceAddress": ([peer(sourceAddress="10.0.0.0/8")], ["spec.sourceAddress: an address"]),
    "duplicate nodeSelectors": (
        [peer(nodeSelectors=[RACK_A, RACK_A])],
        ["spec.nodeSelectors[1]: each selector once"],
    ),
    "duplicate match expressions": (
        [peer(nodeSelectors=[{"matchExpressions": [
            expression("rack", "In", "a", "b"), expression("rack", "In", "b", "a"),
        ]}])],
        ["spec.nodeSelectors[0].matchExpressions[1]: each expression once"],
    ),
    "duplicate values in an expression": (
        [peer(nodeSelectors=[{"matchExpressions": [expression("rack", "In", "a", "b", "a")]}])],
        ["spec.nodeSelectors[0].matchExpressions[0].values[2]: each once"],
    ),
    "selector without a key": (
        [peer(nodeSelectors=[{"matchExpressions": [expression("", "Exists")]}])],
        ["spec.nodeSelectors[0].matchExpressions[0].key: a label's name, such as app or example.com/app"],
    ),
    "selector without an operator": (
        [peer(nodeSelectors=[{"matchExpressions": [expression("rack", "")]}])],
        ["spec.nodeSelectors[0].matchExpressions[0].operator: In, NotIn, Exists or DoesNotExist"],
    ),
    "selector with another operator": (
        [peer(nodeSelectors=[{"matchExpressions": [expression("rack", "Gt", "1")]}])],
        ["spec.nodeSelectors[0].matchExpressions[0].operator: In, NotIn, Exists or DoesNotExist"],
    ),
    "both password and passwordSecret": (
        [peer(password="hunter2", passwordSecret={"name": "gone"})],
        [
            "spec.passwordSecret: none beside spec.password",
            "spec.passwordSecret: the name of a Secret of MetalLB's namespace that may be read (T)",
        ],
    ),
    "secret missing": (
        [peer(passwordSecret={"name": "gone"})],
        ["spec.passwordSecret: the name of a Secret of MetalLB's namespace that may be read (T)"],
    ),
    "secret of another type": (
        [peer(passwordSecret={"name": "opaque"})],
        ["spec.passwordSecret: a Secret of type kubernetes.io/basic-auth"],
    ),
    "secret without a password": (
        [peer(passwordSecret={"name": "empty"})],
        ["spec.passwordSecret: a Secret with the key password"],
    ),
    "secret that is no text": (
        [peer(passwordSecret={"name": "binary"})],
        ["spec.passwordSecret: a Secret whose key password is text"],
    ),
    "BFD profile unknown": (
        [peer(bfdProfile="gone")],
        ["spec.bfdProfile: the name of a BFDProfile (T)"],
    ),
    "duplicate name": (
        [peer("a"), peer("a", peerAddress="192.0.2.2")],
        ["metadata.name: each name once"],
    ),
    "two router identifiers on a node": (
        [peer("a", routerID="10.0.0.1"), peer("b", peerAddress="192.0.2.2", routerID="10.0.0.2")],
        ["spec.routerID: 10.0.0.1, as a has, which runs on the same nodes"],
    ),
    "a router identifier and none on a node": (
        [peer("a"), peer("b", peerAddress="192.0.2.2", routerID="10.0.0.2")],
        ["spec.routerID: none, as a has, which runs on the same nodes"],
    ),
    "one neighbour twice on a node": (
        [peer("a"), peer("b", nodeSelectors=[RACK_A])],
        ["spec.peerAddress: another neighbour than that of a, which runs on the same nodes"],
    ),
    "one interface twice on a node": (
        [peer("a", peerAddress=None, interface="eth0"), peer("b", peerAddress=None, interface="eth0")],
        ["spec.interface: another neighbour than that of a, which runs on the same nodes"],
    ),
    "profile without a name": ([bfd("")], ["metadata.name: a name"]),
    "duplicate profile": ([bfd("a"), bfd("a")], ["metadata.name: each name once"]),
    "profile below all ranges": (
        [bfd(receiveInterval=9, transmitInterval=9, detectMultiplier=1, echoInterval=9, minimumTtl=0)],
        [
            "spec.receiveInterval: 10 to 60000",
            "spec.transmitInterval: 10 to 60000",
            "spec.detectMultiplier: 2 to 255",
            "spec.echoInterval: 10 to 60000",
            "spec.minimumTtl: 1 to 254",
        ],
    ),
    "profile above all ranges": (
        [bfd(receiveInterval=60001, transmitInterval=60001, detectMultiplier=256, echoInterval=60001, minimumTtl=255)],
        [
            "spec.receiveInterval: 10 to 60000",
            "spec.transmitInterval: 10 to 60000",
            "spec.detectMultiplier: 2 to 255",
            "spec.echoInterval: 10 to 60000",
            "spec.minimumTtl: 1 to 254",
        ],
    ),
    "echo profile on a peer that is told of IPv6": (
        [pool("six", "2001:db8::/64"), bfd("echo", echoMode=True), peer(bfdProfile="echo"), bgp()],
        ["spec.bfdProfile: a profile without echoMode, as pool six has IPv6 and is announced to it"],
    ),
}  # fmt: skip
SECRETS = (secret("opaque", "Opaque", password=HUNTER2), secret("empty"), secret("binary", password="/w=="))

ACCEPTED: dict[str, list[Object]] = {
    "a dynamic number": [peer(peerASN=None, dynamicASN="internal")],
    "an interface": [peer(peerAddress=None, interface="eth0")],
    "no hold time at all": [peer(holdTime="0s", keepaliveTime="0s")],
    "the least hold time": [peer(holdTime="3s")],
    "two numbers of our own": [peer("a"), peer("b", peerAddress="192.0.2.2", myASN=64999)],
    "router identifiers on other nodes": [
        peer("a", routerID="10.0.0.1", nodeSelectors=[RACK_A]),
        peer("b", peerAddress="192.0.2.2", routerID="10.0.0.2", nodeSelectors=[RACK_B]),
    ],
    "one neighbour in two tables": [peer("a"), peer("b", vrf="red")],
    "a profile at the ends of its ranges": [
        bfd("a", receiveInterval=10, transmitInterval=60000, detectMultiplier=2, echoInterval=10, minimumTtl=254),
    ],
    "echo profile on a peer that is told of IPv4": [
        pool("six", "2001:db8::/64"), pool("four", "192.0.2.0/24"), bfd("echo", echoMode=True), peer(bfdProfile="echo"),
        bgp(ipAddressPools=["four"]), bgp("others", ipAddressPools=["six"], peers=["another"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(written: list[Object], expected: list[str]) -> None:
    assert told(*written, secrets=SECRETS) == expected


@pytest.mark.parametrize("written", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(written: list[Object]) -> None:
    assert told(*written) == []


@pytest.mark.parametrize(
    ("hold", "keepalive", "expected"),
    [
        (None, None, (None, None)),
        ("90s", None, (90, 30)),
        (None, "10s", (30, 10)),
        ("9s", "2s", (9, 2)),
        ("1m30.5s", "1s", (90, 1)),
        ("0", None, (0, 0)),
        ("0s", "0s", (None, None)),
    ],
)
def test_one_time_follows_from_the_other(
    hold: str | None, keepalive: str | None, expected: tuple[int | None, int | None]
) -> None:
    (one,) = parsed(peer(holdTime=hold, keepaliveTime=keepalive)).config.peers
    assert (one.hold_time_s, one.keepalive_time_s) == expected


@pytest.mark.parametrize(("text", "expected"), [("1h1m1s", 3661 * 10**9), ("1.5ms", 1_500_000), (".5s", 5 * 10**8)])
def test_a_duration(text: str, expected: int) -> None:
    assert duration_ns(text) == expected


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1s ", "1d", "1s1", "9" * 40 + "s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        duration_ns(text)


def test_a_password_from_a_secret_is_shown_nowhere() -> None:
    secrets = (secret("bgp", password=HUNTER2),)
    config = parsed(peer(passwordSecret={"name": "bgp"}), secrets=secrets).config
    assert config.peers[0].password == Password("hunter2")
    plain = peer(password="hunter2")
    assert parsed(plain).config.peers[0].password == Password("hunter2")
    for shown in (repr(config), str(config), repr(plain), repr(secrets)):
        assert "hunter2" not in shown
        assert HUNTER2 not in shown


def test_a_password_that_is_refused_is_not_told() -> None:
    problems = parsed(peer(password="hunter2", passwordSecret={"name": "x"}, holdTime="1s")).problems
    assert "hunter2" not in "".join(map(str, problems))
