"""What the API server makes of the custom resources: what it takes, refuses and fills in, and what kubectl shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from lab.api import ApiError
from lab.manifests import NAMESPACE

if TYPE_CHECKING:
    from lab.api import Api, Json
    from lab.control_plane import ControlPlane

APP, OTHER = {"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "shop"}}
IN, EXISTS = {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists"}
POOL, L2, BGP, BFD = "IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BFDProfile"
PEER, OLD_PEER, COMMUNITY = "BGPPeer", "BGPPeer v1beta1", "Community"
BOTH = (PEER, OLD_PEER)
TCP = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"}
NEIGHBOUR = {"myASN": 64500, "peerASN": 64501}


def wish(kind: str, spec: Any, name: str = "it") -> Json:
    """The object; a kind may have its version after a space."""
    kind, _, version = kind.partition(" ")
    version = version or ("v1beta2" if kind == PEER else "v1beta1")
    thing = {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}
    return thing if spec is None else thing | {"spec": spec}


def propose(api: Api, thing: Json) -> Json:
    """What would become of it if it were created."""
    path = api.resource(f"{thing['kind']}.metallb.io").path(namespace=NAMESPACE)
    version = thing["apiVersion"].partition("/")[2]
    made: Json = api.call("POST", f"/apis/metallb.io/{version}/{path.split('/', 4)[4]}?dryRun=All", thing)
    return made


def expressions(*told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"matchExpressions": list(told)}]


class Case(NamedTuple):
    """A wish, and what the API server says: nothing, or words of its refusal."""

    name: str
    kind: str
    spec: Any
    refused: str | None = None


EVERYWHERE = [
    Case("no expectation", "{kind}", {"{field}": [{"matchLabels": {}}]}),
    Case("twice the same", "{kind}", {"{field}": [APP, APP]}),  # for who reads it to tell
    Case("no such operator", "{kind}", {"{field}": expressions({"key": "a", "operator": "Like"})}, "Unsupported value"),
    Case("no operator", "{kind}", {"{field}": expressions({"key": "a"})}, "Required value"),
    Case("no key", "{kind}", {"{field}": expressions({"operator": "Exists"})}, "Required value"),
    Case("In without values", "{kind}", {"{field}": expressions(IN)}, "need values"),
    Case("Exists with values", "{kind}",
         {"{field}": expressions(EXISTS | {"values": ["x"]})}, "need values"),
]  # fmt: skip

CASES = [
    Case("no spec", POOL, None, "Required value"),
    Case("no addresses", POOL, {}, "Required value"),
    Case("empty addresses", POOL, {"addresses": []}, "at least 1"),
    Case("a prefix", POOL, {"addresses": ["192.0.2.0/24"]}),
    Case("a prefix with host bits", POOL, {"addresses": ["192.0.2.1/24"]}),
    Case("a range", POOL, {"addresses": ["192.0.2.1-192.0.2.9"]}),
    Case("a range with spaces", POOL, {"addresses": ["  192.0.2.1 -  192.0.2.9 "]}),
    Case("both families", POOL, {"addresses": ["2001:db8::/64", "2001:db8:1::1-2001:db8:1::9", "192.0.2.0/24"]}),
    Case("a range of both families", POOL, {"addresses": ["192.0.2.1-2001:db8::1"]}, "one family"),
    Case("a single address", POOL, {"addresses": ["192.0.2.1"]}, "expected a prefix"),
    Case("a prefix that is too long", POOL, {"addresses": ["192.0.2.0/33"]}, "expected a prefix"),
    Case("a prefix with spaces", POOL, {"addresses": [" 192.0.2.0/24"]}, "expected a prefix"),
    Case("a range with a wrong end", POOL, {"addresses": ["192.0.2.1-192.0.2.256"]}, "expected a prefix"),
    Case("three ends", POOL, {"addresses": ["192.0.2.1-192.0.2.2-192.0.2.3"]}, "expected a prefix"),
    Case("a good one and a bad one", POOL, {"addresses": ["192.0.2.0/24", "x"]}, r"addresses\[1\].*expected a prefix"),
    Case("for some", POOL, {"addresses": ["192.0.2.0/24"], "serviceAllocation": {
        "priority": 7, "namespaces": ["a", "b"], "namespaceSelectors": [APP, OTHER], "serviceSelectors": [APP]}}),
    Case("negative priority", POOL, {"addresses": ["192.0.2.0/24"], "serviceAllocation": {"priority": -7}}),
    Case("namespaces twice", POOL, {"addresses": ["192.0.2.0/24"], "serviceAllocation": {"namespaces": ["a", "a"]}},
         "Duplicate value"),
    *[Case(f"{field} twice", POOL, {"addresses": ["192.0.2.0/24"], "serviceAllocation": {field: [APP, APP]}})
      for field in ("namespaceSelectors", "serviceSelectors")],
    Case("no spec", L2, None),
    Case("no wish", L2, {}),
    *[Case(f"{case.name} in {field}", kind, {field: case.spec["{field}"]}, case.refused)
      for kind in (L2, BGP) for field in ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")
      for case in EVERYWHERE],
    *[Case("pools twice", kind, {"ipAddressPools": ["a", "a"]}, "Duplicate value") for kind in (L2, BGP)],
    Case("interfaces", L2, {"interfaces": ["eth0", "eth1"]}),
    *[Case(f"weight {weight}", L2, {"preferredNodeSelectors": [{"weight": weight, "preference": APP}]}, refused)
      for weight, refused in ((0, "greater than or equal to 1"), (1, None), (100, None), (101, "or equal to 100"))],
    Case("no weight", L2, {"preferredNodeSelectors": [{"preference": APP}]}, "Required value"),
    Case("no preference", L2, {"preferredNodeSelectors": [{"weight": 1}]}, "Required value"),
    Case("the same preference twice", L2, {"preferredNodeSelectors": [{"weight": 1, "preference": APP}] * 2}),
    *[Case(f"aggregation {length}", BGP, {"aggregationLength": length}, refused)
      for length, refused in ((0, "greater than or equal to 1"), (1, None), (32, None), (33, "or equal to 32"))],
    *[Case(f"aggregation V6 {length}", BGP, {"aggregationLengthV6": length}, refused)
      for length, refused in ((64, None), (128, None), (129, "less than or equal to 128"))],
    Case("Services of an aggregate", BGP, {"aggregationLength": 24, "serviceSelectors": [APP]}, "whole addresses"),
    Case("Services of an aggregate V6", BGP, {"aggregationLengthV6": 64, "serviceSelectors": [APP]}, "whole addresses"),
    Case("no Services of an aggregate", BGP, {"aggregationLength": 24, "serviceSelectors": []}),
    Case("Services of whole addresses", BGP,
         {"aggregationLength": 32, "aggregationLengthV6": 128, "serviceSelectors": [APP]}),
    Case("greatest preference", BGP, {"localPref": 4294967295}),
    Case("too great a preference", BGP, {"localPref": 4294967296}, "less than or equal to"),
    Case("peers twice", BGP, {"peers": ["a", "a"]}, "Duplicate value"),
    Case("communities twice", BGP, {"communities": ["1:2", "1:2"]}, "Duplicate value"),
    Case("communities", BGP, {"communities": ["65535:65281", "large:4294967295:0:1", "a-name"]}),
    *[Case(f"community {literal}", BGP, {"communities": [literal]}, "expected two numbers") for literal in
      ("65536:1", "1:65536", "large:4294967296:0:1", "large:1:2", "small:1:2:3", "1:2:3", "large:1:2:x", "1:")],
    Case("communities", COMMUNITY,
         {"communities": [{"name": "a", "value": "1:2"}, {"name": "b", "value": "large:1:2:3"}]}),
    Case("a name twice", COMMUNITY, {"communities": [{"name": "a", "value": "1:2"}, {"name": "a", "value": "1:3"}]},
         "Duplicate value"),
    *[Case(f"value {literal}", COMMUNITY, {"communities": [{"name": "a", "value": literal}]}, "expected two numbers")
      for literal in ("", "1", "65536:1", "large:1:2:4294967296", "big:1:2:3")],
    *[Case(f"{field} {value}", BFD, {field: value}, refused)
      for field, least, most in (("receiveInterval", 10, 60000), ("transmitInterval", 10, 60000),
                                 ("echoInterval", 10, 60000), ("detectMultiplier", 2, 255), ("minimumTtl", 1, 254))
      for value, refused in ((least, None), (most, None), (least - 1, "greater than or"), (most + 1, "less than or"))],
    Case("no spec", PEER, None, "Required value"),
    *[Case("by address", kind, TCP) for kind in BOTH],
    *[Case("own AS 0", kind, TCP | {"myASN": 0}, "greater than or equal to 1") for kind in BOTH],
    *[Case("greatest AS", kind, TCP | {"peerASN": 4294967295}) for kind in BOTH],
    *[Case("too great an AS", kind, TCP | {"peerASN": 4294967296}, "less than or equal to") for kind in BOTH],
    *[Case("no own AS", kind, {"peerASN": 64501, "peerAddress": "192.0.2.1"}, "Required value") for kind in BOTH],
    Case("no AS of the peer", PEER, {"myASN": 64500, "peerAddress": "192.0.2.1"}, "peerASN or dynamicASN"),
    Case("no AS of the peer", OLD_PEER, {"myASN": 64500, "peerAddress": "192.0.2.1"}, "Required value"),
    Case("an AS of 0", OLD_PEER, TCP | {"peerASN": 0}, "the AS of the peer"),
    Case("two kinds of AS", PEER, TCP | {"dynamicASN": "external"}, "peerASN or dynamicASN"),
    *[Case(f"an AS that is {word}", PEER, {"myASN": 64500, "peerAddress": "192.0.2.1", "dynamicASN": word}, refused)
      for word, refused in (("internal", None), ("external", None), ("any", "Unsupported value"))],
    *[Case("several hops inside", kind, TCP | {"peerASN": 64500, "ebgpMultiHop": True}, "another AS") for kind in BOTH],
    *[Case("several hops", kind, TCP | {"ebgpMultiHop": True}) for kind in BOTH],
    Case("by interface", PEER, NEIGHBOUR | {"interface": "eth0"}),
    Case("by neither", PEER, NEIGHBOUR, "peerAddress or interface"),
    Case("by both", PEER, TCP | {"interface": "eth0"}, "peerAddress or interface"),
    Case("no address", OLD_PEER, NEIGHBOUR, "Required value"),
    Case("an empty address", OLD_PEER, NEIGHBOUR | {"peerAddress": ""}, "the address of the peer"),
    *[Case(f"{field} {value}", kind, TCP | {field: value}, refused) for kind in BOTH
      for field in ("peerAddress", "sourceAddress", "routerID")
      for value, refused in (("2001:db8::1", None), ("192.0.2", "an IP address"), ("router", "an IP address"))],
    *[Case(f"port {port}", kind, TCP | {"peerPort": port}, refused) for kind, port, refused in (
        (PEER, 0, "greater than or"), (OLD_PEER, 0, None), (PEER, 1, None), (PEER, 16384, None),
        (PEER, 16385, "less than or"), (OLD_PEER, 16385, "less than or"))],
    *[Case(f"hold {text}", kind, TCP | {"holdTime": text}, refused) for kind in BOTH
      for text, refused in (("0s", None), ("0s500ms", None), ("1s", "3s or more"), ("2.9s", "3s or more"), ("3s", None),
                            ("1m30s", None), ("-3s", "3s or more"), ("soon", "."))],
    *[Case(f"hold {hold}, keepalive {keepalive}", PEER, TCP | {"holdTime": hold, "keepaliveTime": keepalive}, refused)
      for hold, keepalive, refused in (("90s", "30s", None), ("90s", "90s", None), ("90s", "91s", "at most holdTime"))],
    *[Case(f"connect {text}", PEER, TCP | {"connectTime": text}, refused)
      for text, refused in (("1s", None), ("65535s", None), ("0s", "whole seconds"), ("65536s", "whole seconds"),
                            ("1500ms", "whole seconds"))],
    *[Case(f"local AS {number}", PEER, TCP | {"localASN": number}, refused)
      for number, refused in ((0, "greater than or"), (1, None), (4294967295, None), (4294967296, "less than or"))],
    Case("a password", PEER, TCP | {"password": "x"}),
    Case("a password in a Secret", PEER, TCP | {"passwordSecret": {"name": "x"}}),
    Case("both", PEER, TCP | {"password": "x", "passwordSecret": {"name": "x"}}, "password or passwordSecret"),
    *[Case(f"{case.name} in nodeSelectors", kind, TCP | {"nodeSelectors": case.spec["{field}"]}, case.refused)
      for kind in BOTH for case in EVERYWHERE],
    *[Case("a value twice", kind, TCP | {"nodeSelectors": expressions(IN | {"values": ["x", "x"]})}, "Duplicate value")
      for kind in BOTH],
    *[Case("a requirement twice", kind, TCP | {"nodeSelectors": expressions(EXISTS, EXISTS)}) for kind in BOTH],
]  # fmt: skip


@pytest.mark.parametrize("kind", dict.fromkeys(case.kind for case in CASES))
def test_what_one_object_can_tell_is_judged_by_the_api_server(installed: ControlPlane, kind: str) -> None:
    """A row that is refused says why, and where; one that is not becomes an object. All rows are told at once."""
    wrong = []
    for case in (case for case in CASES if case.kind == kind):
        try:
            propose(installed.api, wish(kind, case.spec))
        except ApiError as error:
            if case.refused is None or error.status != 422 or not re.search(case.refused, error.message):
                wrong.append(f"{case.name}: {error}")
        else:
            if case.refused is not None:
                wrong.append(f"{case.name}: taken")
    assert wrong == []


@pytest.mark.parametrize(("kind", "spec", "filled"), [
    (POOL, {"addresses": ["192.0.2.0/24"]}, {"autoAssign": True, "avoidBuggyIPs": False}),
    (POOL, {"addresses": ["192.0.2.0/24"], "autoAssign": False}, {"autoAssign": False, "avoidBuggyIPs": False}),
    (L2, {}, {}),
    (BGP, {}, {"aggregationLength": 32, "aggregationLengthV6": 128}),
    (PEER, TCP, {"peerPort": 179, "disableMP": False, "dualStackAddressFamily": False}),
    (OLD_PEER, TCP, {"peerPort": 179}),  # what is stored is of the new version
    (BFD, {}, {}),
])  # fmt: skip
def test_what_is_absent_is_filled_in(installed: ControlPlane, kind: str, spec: Json, filled: Json) -> None:
    assert propose(installed.api, wish(kind, spec))["spec"] == spec | filled


COLUMNS = {
    "ipaddresspools": (["Auto Assign", "Avoid Buggy IPs", "Addresses"], []),
    "l2advertisements": (["IPAddressPools", "IPAddressPool Selectors", "Interfaces"], ["Node Selectors"]),
    "bgpadvertisements": (["IPAddressPools", "IPAddressPool Selectors", "Peers"], ["Node Selectors"]),
    "bgppeers": (["Address", "ASN", "BFD Profile", "Multi Hops"], []),
    "bfdprofiles": (["Passive Mode", "Transmit Interval", "Receive Interval", "Multiplier"], []),
    "communities": (["Age"], []),
    "servicel2statuses": (["Allocated Node", "Service Name", "Service Namespace"], []),
    "servicebgpstatuses": (["Node", "Service Name", "Service Namespace"], []),
    "configurationstates": (["Result", "ErrorSummary", "Age"], []),
}


@pytest.mark.parametrize("plural", COLUMNS)
def test_kubectl_shows(installed: ControlPlane, plural: str) -> None:
    path = installed.api.resource(f"{plural}.metallb.io").path(namespace=NAMESPACE)
    table = installed.api.call("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    columns, wide = COLUMNS[plural]
    assert [(each["name"], each["priority"]) for each in table["columnDefinitions"]] == [
        ("Name", 0), *((name, 0) for name in columns), *((name, 10) for name in wide),
    ]  # fmt: skip


SELECTING: dict[str, Any] = {
    POOL: {"addresses": ["192.0.2.0/24"],
           "serviceAllocation": {"namespaces": ["a"], "namespaceSelectors": [APP, OTHER], "serviceSelectors": [APP]}},
    L2: {"ipAddressPools": ["a"], "nodeSelectors": [APP, OTHER], "interfaces": ["eth0"],
         "preferredNodeSelectors": [{"weight": 1, "preference": APP}, {"weight": 1, "preference": OTHER}]},
    BGP: {"communities": ["1:2"], "peers": ["a"], "ipAddressPoolSelectors": [APP], "nodeSelectors": [APP]},
    PEER: TCP | {"nodeSelectors": [*expressions(EXISTS), APP]},
    OLD_PEER: TCP | {"nodeSelectors": expressions(IN | {"values": ["x"]})},
    COMMUNITY: {"communities": [{"name": "a", "value": "1:2"}]},
}  # fmt: skip


@pytest.mark.parametrize("kind", SELECTING)
def test_server_side_apply_takes_it_twice(installed: ControlPlane, kind: str) -> None:
    """As `kubectl apply --server-side` and GitOps do: lists of objects are replaced as a whole."""
    for owner in ("one", "other"):
        installed.api.apply(wish(kind, SELECTING[kind]), owner)


def test_status_is_written_apart_and_says_of_whom_once_for_all(installed: ControlPlane) -> None:
    api = installed.api
    said = {"node": "a", "serviceName": "web", "serviceNamespace": "shop", "interfaces": [{"name": "eth0"}]}
    made = api.create(wish("ServiceL2Status", {}, "l2-a") | {"status": said})
    assert "status" not in made
    api.patch("servicel2statuses", "l2-a", {"status": said}, NAMESPACE, subresource="status")
    assert api.get("servicel2statuses", "l2-a", NAMESPACE)["status"] == said
    for field in ("node", "serviceName", "serviceNamespace"):
        with pytest.raises(ApiError, match="cannot be changed"):
            api.patch("servicel2statuses", "l2-a", {"status": {field: "other"}}, NAMESPACE, subresource="status")


def test_a_pool_counts_in_all_four_ways_or_in_none(installed: ControlPlane) -> None:
    api = installed.api
    api.create(wish(POOL, {"addresses": ["192.0.2.0/24"]}))
    counts = {"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 255, "availableIPv6": 2**63 - 1}
    api.patch("ipaddresspools", "it", {"status": counts}, NAMESPACE, subresource="status")
    assert api.get("ipaddresspools", "it", NAMESPACE)["status"] == counts
    with pytest.raises(ApiError, match="Required value"):
        api.patch("ipaddresspools", "it", {"status": {"assignedIPv4": None}}, NAMESPACE, subresource="status")


def test_graceful_restart_cannot_be_changed(installed: ControlPlane) -> None:
    installed.api.create(wish(PEER, TCP | {"enableGracefulRestart": True}))
    with pytest.raises(ApiError, match="cannot be changed"):
        installed.api.patch("bgppeers", "it", {"spec": {"enableGracefulRestart": False}}, NAMESPACE)


def test_a_peer_of_the_old_version_is_one_of_the_new(installed: ControlPlane) -> None:
    api = installed.api
    old = TCP | {"holdTime": "90s", "nodeSelectors": expressions({"key": "a", "operator": "In", "values": ["x"]})}
    api.create(wish(OLD_PEER, old))
    path = f"/apis/metallb.io/{{}}/namespaces/{NAMESPACE}/bgppeers/it"
    new = {"peerPort": 179, "disableMP": False, "dualStackAddressFamily": False}
    assert api.call("GET", path.format("v1beta2"))["spec"] == old | new
    api.patch("bgppeers", "it", {"spec": {"vrf": "red"}}, NAMESPACE)
    assert "vrf" not in api.call("GET", path.format("v1beta1"))["spec"]


def test_a_configuration_state_has_one_of_three_results(installed: ControlPlane) -> None:
    api = installed.api
    api.create(wish("ConfigurationState", None, "controller"))
    for result in ("Valid", "Invalid", "Unknown"):
        api.patch("configurationstates", "controller", {"status": {"result": result}}, NAMESPACE, subresource="status")
    with pytest.raises(ApiError, match="Unsupported value"):
        api.patch("configurationstates", "controller", {"status": {"result": "Fine"}}, NAMESPACE, subresource="status")
