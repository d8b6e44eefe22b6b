"""Which changes of the configuration are refused, and with what words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cluster import custom, kinds
from cluster.gathering import FIELDS
from controller.admission import ALLOWED, PATHS, TOLD_AT_MOST, Verdict, answer, judge, read
from tests.cluster.configuring import NAMESPACE, NODES, bfd, bgp, community, l2, peer, pool

if TYPE_CHECKING:
    from cluster.kinds import Kind
    from cluster.resources import Object

OVERLAPPING = pool("a", "192.0.2.0/24"), pool("b", "192.0.2.128/25")


def judged(*there: Object, new: Object | None = None, old: Object | None = None, namespace: str = NAMESPACE) -> Verdict:
    """What becomes of a change, when there are these objects (the one that is changed is among them)."""
    one = new or old
    assert one is not None
    kind = kind_of(one)
    operation = "DELETE" if new is None else "CREATE" if old is None else "UPDATE"
    body = json.dumps({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": operation, "namespace": namespace, "kind": {"kind": kind.name},
            "object": written(new), "oldObject": written(old),
        },
    }).encode()  # fmt: skip
    objects: dict[str, Any] = {
        field: [each for each in there if kind_of(each) is kind] for kind, field in FIELDS.items()
    }
    return judge(read(body), kind, NAMESPACE, custom.Objects(**objects), NODES)


def kind_of(one: Object) -> Kind[Any]:
    return next(kind for kind in FIELDS if isinstance(one, kind.struct))


def written(one: Object | None) -> Any:
    return None if one is None else json.loads(msgspec.json.encode(one))


def test_paths_are_metallbs() -> None:
    assert set(PATHS) == {
        "/validate-metallb-io-v1beta2-bgppeer", "/validate-metallb-io-v1beta1-bfdprofile",
        "/validate-metallb-io-v1beta1-bgpadvertisement", "/validate-metallb-io-v1beta1-community",
        "/validate-metallb-io-v1beta1-ipaddresspool", "/validate-metallb-io-v1beta1-l2advertisement",
    }  # fmt: skip


GOOD = {
    "a pool": ((), pool("a", "192.0.2.0/24")),
    "a pool beside another": ((pool("a", "192.0.2.0/25"),), pool("b", "192.0.2.128/25")),
    "an advertisement of a pool": ((pool("a", "192.0.2.0/24"),), l2("a", ipAddressPools=["a"])),
    "two preferences for other nodes": (
        (pool("a", "192.0.2.0/24"), bgp("a", localPref=1, nodeSelectors=[{"matchLabels": {"rack": "a"}}])),
        bgp("b", localPref=2, nodeSelectors=[{"matchLabels": {"rack": "b"}}]),
    ),
    "a peer beside another": ((peer("a"),), peer("b", peerAddress="192.0.2.2")),
}
BAD = {
    "a pool that overlaps": (OVERLAPPING[:1], OVERLAPPING[1], "IPAddressPool metallb-system/b: spec.addresses[0]"),
    "a pool that another overlaps": (OVERLAPPING[1:], OVERLAPPING[0], "IPAddressPool metallb-system/b"),
    "a pool too small for its advertisement": (
        (bgp("a", aggregationLength=24),), pool("a", "192.0.2.0/28"), "BGPAdvertisement metallb-system/a",
    ),
    "an advertisement too wide for its pool": (
        (pool("a", "192.0.2.0/28"),), bgp("a", aggregationLength=24), "at least 28, as pool a has",
    ),
    "two preferences for one prefix": (
        (pool("a", "192.0.2.0/24"), bgp("a", localPref=1)), bgp("b", localPref=2), "expected 1, as a has",
    ),
    "two identifiers on one node": (
        (peer("a", routerID="10.0.0.1"),), peer("b", peerAddress="192.0.2.2", routerID="10.0.0.2"), "spec.routerID",
    ),
    "one neighbour twice": ((peer("a"),), peer("b"), "another neighbour than that of a"),
    "an alias twice": ((community("a", one="1:1"),), community("b", one="1:2"), "each alias once"),
    "echoes to a peer of IPv6": (
        (pool("a", "2001:db8::/64"), bgp("a"), bfd("echo", echoMode=True)), peer("a", bfdProfile="echo"), "echoMode",
    ),
    "a pool of IPv6 for a peer with echoes": (
        (bgp("a"), bfd("echo", echoMode=True), peer("a", bfdProfile="echo")), pool("a", "2001:db8::/64"),
        "BGPPeer metallb-system/a: spec.bfdProfile",
    ),
    "a selector twice": ((), l2("a", nodeSelectors=[{"matchLabels": {"a": "b"}}] * 2), "each selector once"),
    "a range downwards": ((), pool("a", "192.0.2.9-192.0.2.1"), "a range that runs upwards"),
}  # fmt: skip


@pytest.mark.parametrize(("there", "new"), GOOD.values(), ids=GOOD)
def test_what_may_come(there: tuple[Object, ...], new: Object) -> None:
    assert judged(*there, new=new) == ALLOWED


@pytest.mark.parametrize(("there", "new", "said"), BAD.values(), ids=BAD)
def test_what_may_not_come(there: tuple[Object, ...], new: Object, said: str) -> None:
    problems = judged(*there, new=new).problems
    assert len(problems) == 1, problems
    assert said in problems[0]


def test_everything_that_is_wrong_is_told_the_objects_own_first() -> None:
    there = (pool("a", "192.0.2.0/24"), pool("z", "198.51.100.0/24"))
    new = pool("b", "192.0.2.0/28", "198.51.100.0/28", "nonsense")
    problems = judged(*there, new=new).problems
    assert [problem.split(":")[0] for problem in problems] == [
        "IPAddressPool metallb-system/b", "IPAddressPool metallb-system/b", "IPAddressPool metallb-system/z",
    ]  # fmt: skip


def test_a_fault_elsewhere_is_no_reason() -> None:
    assert judged(*OVERLAPPING, new=pool("c", "198.51.100.0/24")) == ALLOWED
    assert judged(*OVERLAPPING, new=bgp("a")) == ALLOWED
    assert judged(*OVERLAPPING, bgp("a", aggregationLength=8), new=peer("a")) == ALLOWED


def test_a_fault_elsewhere_hides_none() -> None:
    """What refers to a pool is checked against it, though pools overlap."""
    assert judged(*OVERLAPPING, new=bgp("a", aggregationLength=8)).problems


def test_several_faults_are_put_right_one_after_the_other() -> None:
    wide = bgp("a", aggregationLength=8)
    assert judged(*OVERLAPPING, wide, old=wide, new=bgp("a")) == ALLOWED
    assert judged(*OVERLAPPING, wide, old=OVERLAPPING[0], new=pool("a", "192.0.2.0/25")).problems, "it suits no pool"
    assert judged(*OVERLAPPING, bgp("a"), old=OVERLAPPING[0], new=pool("a", "192.0.2.0/25")) == ALLOWED


def test_an_object_at_fault_that_does_not_change() -> None:
    """Its own fault is told if it is changed otherwise."""
    old = OVERLAPPING[1]
    assert judged(*OVERLAPPING, old=old, new=pool("b", "192.0.2.128/25")) == ALLOWED
    assert judged(*OVERLAPPING, old=old, new=pool("b", "192.0.2.128/25", autoAssign=False)).problems


def test_labels_are_a_change() -> None:
    there = (
        pool("a", "192.0.2.0/28"),
        bgp("a", aggregationLength=24, ipAddressPoolSelectors=[{"matchLabels": {"net": "x"}}]),
    )
    assert judged(*there, old=there[0], new=pool("a", "192.0.2.0/28", labels={"net": "x"})).problems


def test_what_is_referred_to_stays() -> None:
    used = peer("a", bfdProfile="quick")
    assert "BGPPeer metallb-system/a: spec.bfdProfile" in judged(bfd(), used, old=bfd()).problems[0]
    assert judged(bfd(), peer("a"), old=bfd()) == ALLOWED
    names, advertisement = community("names", no_export="65535:65281"), bgp("a", communities=["no-export"])
    assert "BGPAdvertisement metallb-system/a" in judged(names, advertisement, old=names).problems[0]
    assert judged(names, advertisement, old=names, new=community("names", other="1:1")).problems
    assert judged(names, advertisement, old=names, new=community("names", no_export="1:1")) == ALLOWED
    assert judged(names, bgp("a"), old=names) == ALLOWED


def test_what_is_yet_to_come_is_warned_of() -> None:
    verdict = judged(new=peer("a", bfdProfile="quick", passwordSecret={"name": "password"}))
    assert verdict.problems == ()
    (warning,) = verdict.warnings
    assert "expected the name of a BFDProfile, not 'quick'" in warning


def test_names_that_mean_nothing_yet_are_warned_of() -> None:
    there = pool("a", "192.0.2.0/24"), peer("a")
    verdict = judged(*there, new=bgp("ad", ipAddressPools=["a", "later"], peers=["a", "none"]))
    assert verdict.problems == ()
    assert verdict.warnings == (
        "BGPAdvertisement metallb-system/ad: spec.ipAddressPools: there is no IPAddressPool 'later' yet",
        "BGPAdvertisement metallb-system/ad: spec.peers: there is no BGPPeer 'none' yet",
    )
    assert judged(new=l2("ad", ipAddressPools=["later"])).warnings


def test_only_one_namespace_is_read() -> None:
    refused = judged(new=pool("a", "192.0.2.0/24"), namespace="shop").problems
    assert refused == ("IPAddressPool: expected namespace metallb-system, where alone it is read, not shop",)
    assert judged(old=pool("a", "x"), new=pool("a", "y"), namespace="shop") == ALLOWED


def test_what_is_no_object() -> None:
    body = b'{"request": {"uid": "u", "operation": "CREATE", "object": {"metadata": {"name": "a"}, "spec": 5}}}'
    assert judge(read(body), kinds.ADDRESS_POOL, NAMESPACE, custom.Objects(), {}).problems


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"request": {}}', b"\xff", b"[" * 100_000, b'{"request": 1}'])
def test_what_is_no_review(body: bytes) -> None:
    with pytest.raises(ValueError, match="expected an AdmissionReview"):
        read(body)


def test_answers() -> None:
    said = json.loads(answer("u", Verdict(("a", "b"), ("w",))))
    assert said["kind"] == "AdmissionReview"
    assert said["response"] == {
        "uid": "u", "allowed": False, "warnings": ["w"],
        "status": {"code": 422, "reason": "Invalid", "message": "a\nb"},
    }  # fmt: skip
    assert json.loads(answer("u", ALLOWED))["response"] == {"uid": "u", "allowed": True}
    many = json.loads(answer("u", Verdict(tuple(map(str, range(100))))))["response"]["status"]["message"]
    assert many.splitlines()[TOLD_AT_MOST:] == ["and 80 more"]
