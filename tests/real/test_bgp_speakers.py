"""Speakers that announce by BGP, on a real API server and with a real gobgpd beside each: a router's own view of it."""

from __future__ import annotations

import signal
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import Lab, wait_until
from lab.cluster import Cluster
from lab.fabric import GOBGP_ASN, NODES_ASN, Fabric
from lab.manifests import NAMESPACE, render
from lab.routers import Peering
from lab.routers.gobgp import heard
from tests.real.cluster_speakers import DEADLINE_S, Speaker, Speakers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.control_plane import ControlPlane
    from lab.process import Process
    from lab.routers import Gobgp, Route

V4, V6, OTHER = "192.0.2.100", "2001:db8::100", "192.0.2.101"
NODES = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
GRACEFUL_SHUTDOWN = "65535:0"


class Scene:
    """Speakers and a router, and what is wished of them."""

    def __init__(self, lab: Lab, control: ControlPlane, nodes: int = 3) -> None:
        self.cluster = Cluster(lab, control, nodes, proxy=None)
        self.fabric = Fabric(self.cluster.ring)
        self.router: Gobgp = self.fabric.gobgp
        self.speakers = Speakers(self.cluster, "--avoid-cordoned", bgp=True)
        self.api = self.cluster.api
        self.cluster.pod("web-b", self.cluster.nodes[-1])

    def make(self, kind: str, name: str, **spec: Any) -> None:
        version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
        self.api.create({
            "apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        })  # fmt: skip

    def peer(self, name: str = "tor", **spec: Any) -> None:
        address = self.fabric.address(self.router)
        self.make("BGPPeer", name, **{"myASN": NODES_ASN, "peerASN": GOBGP_ASN, "peerAddress": address} | spec)

    def change(self, resource: str, name: str, **spec: Any) -> None:
        self.api.patch(resource, name, {"spec": spec}, NAMESPACE)

    def since(self) -> dict[str, float]:
        return {peer: session.since_unix_s for peer, session in self.router.sessions().items()}

    def told(self) -> dict[str, list[tuple[str, Any]]]:
        """What each node says of each Service, by ServiceBGPStatus."""
        told: dict[str, list[tuple[str, Any]]] = {}
        for each in self.api.list("servicebgpstatuses", NAMESPACE):
            status = each.get("status", {})
            told.setdefault(status.get("serviceName", ""), []).append((status.get("node", ""), status.get("peers")))
        return {name: sorted(nodes) for name, nodes in told.items()}

    def names(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.api.list("servicebgpstatuses", NAMESPACE)}

    def wait_told(self, **services: list[tuple[str, Any]]) -> None:
        wait_until(lambda: self.told() == services, DEADLINE_S, what=f"{services} to be told", every_ms=100)

    def wait_prefixes(self, expected: Mapping[str, set[str]]) -> None:
        """Until the router has these prefixes, and no others, from the nodes at these addresses."""

        def there() -> bool:
            return {prefix: {one.peer for one in routes} for prefix, routes in self.router.routes().items()} == expected

        wait_until(there, DEADLINE_S, what=f"{expected} to be at the router", every_ms=100)

    def state(self, node: str) -> str:
        found = self.api.get("configurationstates", f"speaker-{node}", NAMESPACE)
        return str(found.get("status", {}).get("errorSummary", ""))

    def listen(self, prefix: str) -> Process:
        """Begin to listen to what the router is told of this prefix, and others."""
        listening = self.router.listen()
        wait_until(lambda: any(told == prefix for _, told, _ in heard(listening)), DEADLINE_S, what="to hear it")
        return listening

    def wait_withdrawn(self, listening: Process, prefix: str, node: str) -> None:
        """Until the node announces it no longer, having asked the router first to prefer others."""
        wait_until(
            lambda: _told(listening, prefix, node)[-1:] == [None], DEADLINE_S,
            what=f"{prefix} to be withdrawn by {node}", every_ms=50,
        )  # fmt: skip
        assert asked_to_avoid(listening, prefix, node)


def asked_to_avoid(listening: Process, prefix: str, node: str) -> bool:
    """Whether the router has been asked to prefer others to this node."""
    told = _told(listening, prefix, node)
    return any(route is not None and GRACEFUL_SHUTDOWN in route.communities for route in told)


def _told(listening: Process, prefix: str, node: str) -> list[Route | None]:
    return [route for peer, told, route in heard(listening) if (peer, told) == (node, prefix)]


def explained(speaker: Speaker, address: str) -> list[tuple[str, bool, str]]:
    return [(row["peer"], row["told"], row["why"]) for row in speaker.ask("explain", address)["routes"]]


def test_addresses_of_services_come_are_told_of_and_go(lab: Lab, installed: ControlPlane) -> None:
    scene = Scene(lab, installed)
    cluster, router = scene.cluster, scene.router
    a = scene.speakers.on("a")
    assert "grpc" not in Path(f"/proc/{a.process.pid}/maps").read_text()
    router.start(scene.fabric.nodes())
    scene.peer(dualStackAddressFamily=True)
    scene.make("BGPAdvertisement", "all", communities=["65000:1"])
    cluster.service("web", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"])
    cluster.set_ingress("web", V4, V6)
    everybody = set(NODES)
    scene.wait_prefixes({f"{V4}/32": everybody, f"{V6}/128": everybody})
    (route, *_) = router.routes()[f"{V4}/32"]
    assert (route.as_path, route.next_hops) == ((NODES_ASN,), (NODES[0],))
    assert route.communities == {"65000:1"}
    assert scene.speakers.wait_owner(V4), "expected ARP to be answered as well"

    three = [(name, ["tor"]) for name in "abc"]
    scene.wait_told(web=three)
    first, second, _ = scene.api.list("servicebgpstatuses", NAMESPACE)
    assert first["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    scene.api.delete("servicebgpstatuses", first["metadata"]["name"], NAMESPACE)
    edited = {"status": {"peers": ["nobody"]}}
    scene.api.patch("servicebgpstatuses", second["metadata"]["name"], edited, NAMESPACE, subresource="status")
    scene.wait_told(web=three)
    wait_until(lambda: len(scene.speakers.events("sessionUp")) == 3, DEADLINE_S, what="Events of sessions")
    assert {each["regarding"]["kind"] for each in scene.speakers.events("sessionUp")} == {"BGPPeer"}
    notes = {each["note"] for each in scene.speakers.events("nodeAssigned") if "bgp" in each["note"]}
    assert notes == {f'announcing from node "{name}" with protocol "bgp"' for name in "abc"}
    (peer,) = a.ask("status")["bgp"]["peers"]
    assert (peer["peer"], peer["state"], peer["announced"], peer["flaps"]) == ("tor", "established", 2, 0)
    assert explained(a, V4) == [("tor", True, "")]
    status, metrics = a.get("/metrics", 9120)
    assert status == 200
    assert 'metallb_bgp_session_up{peer="192.0.2.3:179"} 1.0' in metrics
    assert 'metallb_bgp_announced_prefixes_total{peer="192.0.2.3:179"} 2.0' in metrics
    assert 'metallb_bgp_updates_total{peer="192.0.2.3:179"} ' in metrics
    assert 'metallb_bgp_opens_sent{peer="192.0.2.3:179"} 1.0' in metrics
    assert "\nmetallb_layer2_responses_sent " in metrics
    assert f'metallb_speaker_announced{{ip="{V4}",node="a",protocol="bgp",service="default/web"}} 1.0' in metrics

    cluster.service("other", externalTrafficPolicy="Local")
    cluster.set_ingress("other", OTHER)
    scene.wait_told(web=three, other=[("c", ["tor"])])
    assert a.ask("explain", "other", "default")["bgp"]["nodes"] == {
        "a": "noLocalEndpoints", "b": "noLocalEndpoints", "c": None,
    }  # fmt: skip
    scene.api.delete("services", "web")
    scene.wait_prefixes({f"{OTHER}/32": {NODES[2]}})
    scene.api.delete("bgppeers", "tor", NAMESPACE)
    scene.wait_prefixes({})
    scene.wait_told()
    assert a.ask("status")["bgp"] is None


def test_what_need_not_end_a_session_does_not(lab: Lab, installed: ControlPlane) -> None:
    scene = Scene(lab, installed, nodes=2)
    cluster, router = scene.cluster, scene.router
    a, _ = scene.speakers.all
    both = set(NODES[:2])
    router.start(scene.fabric.nodes())
    scene.peer()
    scene.make("BGPAdvertisement", "all")
    cluster.service("web")
    cluster.set_ingress("web", V4)
    scene.wait_prefixes({f"{V4}/32": both})
    since = scene.since()

    # What changes of an advertisement
    scene.make("Community", "names", communities=[{"name": "blue", "value": "large:65000:1:2"}])
    scene.change("bgpadvertisements", "all", communities=["blue"], aggregationLength=28)
    scene.wait_prefixes({"192.0.2.96/28": both})
    assert {one.communities for one in router.routes()["192.0.2.96/28"]} == {frozenset({"large:65000:1:2"})}
    only = [{"matchLabels": {"kubernetes.io/hostname": "b"}}]
    red = {"app": "red"}
    scene.change("bgpadvertisements", "all", aggregationLength=None, communities=None, peers=["tor"],
                 nodeSelectors=only, serviceSelectors=[{"matchLabels": red}])  # fmt: skip
    scene.wait_prefixes({})
    scene.api.patch("services", "web", {"metadata": {"labels": red}})
    scene.wait_prefixes({f"{V4}/32": {NODES[1]}})
    assert explained(a, V4) == []
    scene.change("bgpadvertisements", "all", nodeSelectors=None)
    scene.wait_prefixes({f"{V4}/32": both})

    # A speaker that starts anew, and finds what it has written, too
    told = [("a", ["tor"]), ("b", ["tor"])]
    scene.wait_told(web=told)
    written = scene.names()
    a.process.kill()
    a.begin()
    wait_until(lambda: a.ready, DEADLINE_S, what="it to be ready again")
    wait_until(lambda: a.ask("status")["bgp"]["peers"][0]["announced"] == 1, DEADLINE_S, what="it to know its routes")
    assert scene.told() == {"web": told}
    assert scene.names() == written
    assert len(scene.speakers.events("sessionUp")) == 2

    # A peer that is wrong is told of, and the other stays
    scene.peer("twice")
    wait_until(lambda: "BGPPeer metallb-system/twice: spec.peerAddress" in scene.state("b"), DEADLINE_S, what="a word")
    scene.api.delete("bgppeers", "twice", NAMESPACE)
    wait_until(lambda: scene.state("b") == "", DEADLINE_S, what="it to be right again")
    assert scene.since() == since


def test_who_is_to_come_last_asks_routers_first(lab: Lab, installed: ControlPlane) -> None:
    scene = Scene(lab, installed, nodes=2)
    cluster, router = scene.cluster, scene.router
    a, b = scene.speakers.all
    both = set(NODES[:2])
    router.start([Peering(address=address, asn=GOBGP_ASN) for address in sorted(both)])
    scene.peer(myASN=GOBGP_ASN)
    scene.make("BGPAdvertisement", "all", localPref=200)
    cluster.service("web")
    cluster.set_ingress("web", V4)
    scene.wait_prefixes({f"{V4}/32": both})
    assert {route.local_pref for route in router.routes()[f"{V4}/32"]} == {200}
    since = scene.since()
    listening = scene.listen(f"{V4}/32")
    a.ask("drain")
    assert a.ask("status")["bgp"]["leaving"]
    scene.wait_withdrawn(listening, f"{V4}/32", NODES[0])
    assert explained(a, V4) == [("tor", False, "given up to other nodes, as this one is drained")]
    scene.wait_told(web=[("b", ["tor"])])
    b.ask("drain")
    scene.wait_prefixes({f"{V4}/32": both})
    a.ask("undrain")
    scene.wait_withdrawn(listening, f"{V4}/32", NODES[1])
    scene.api.patch("nodes", "a", {"spec": {"unschedulable": True}})
    b.ask("undrain")
    scene.wait_prefixes({f"{V4}/32": {NODES[1]}})
    assert scene.since() == since


def test_a_password_a_daemon_that_is_lost_and_a_speaker_that_stops(lab: Lab, installed: ControlPlane) -> None:
    scene = Scene(lab, installed, nodes=1)
    for thing in render("bgp"):
        if thing["metadata"]["name"] == "speaker-bgp":
            scene.api.apply(thing)
    (speaker,) = scene.speakers.all
    scene.make("BGPAdvertisement", "all")
    scene.cluster.service("web")
    scene.cluster.set_ingress("web", V4)
    scene.router.start(scene.fabric.nodes(password="sesame"))
    scene.peer(passwordSecret={"name": "bgp"}, connectTime="1s")
    wait_until(lambda: "that may be read" in scene.state("a"), DEADLINE_S, what="the Secret to be missed")
    secret: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp", "namespace": NAMESPACE},
        "type": "kubernetes.io/basic-auth", "data": {"password": b64encode(b"sesame").decode()},
    }  # fmt: skip
    scene.api.create(secret)
    scene.wait_prefixes({f"{V4}/32": {NODES[0]}})
    assert scene.state("a") == ""
    scene.router.restart(scene.fabric.nodes(password="open"))
    scene.api.patch("secrets", "bgp", {"data": {"password": b64encode(b"open").decode()}}, NAMESPACE)
    scene.wait_prefixes({f"{V4}/32": {NODES[0]}})
    assert not any(word in line for line in speaker.process.lines for word in ("sesame", 'open"', "c2VzYW1l"))

    assert speaker.gobgpd is not None
    speaker.gobgpd.kill()
    wait_until(
        lambda: speaker.get("/readyz") == (503, "GetBgp: unavailable: Connection refused\n"), DEADLINE_S,
        what="it not to be ready, and why", every_ms=50,
    )  # fmt: skip
    wait_until(lambda: scene.speakers.events("sessionDown"), DEADLINE_S, what="the Event", every_ms=50)
    scene.cluster.set_ingress("web", OTHER)
    assert scene.speakers.wait_owner(OTHER), "expected ARP to be answered all the same"
    speaker.begin_gobgpd()
    scene.wait_prefixes({f"{OTHER}/32": {NODES[0]}})
    wait_until(lambda: speaker.ready, DEADLINE_S, what="it to be ready again", every_ms=50)

    listening = scene.listen(f"{OTHER}/32")
    speaker.process.signal(signal.SIGTERM)
    scene.wait_prefixes({})
    assert asked_to_avoid(listening, f"{OTHER}/32", NODES[0])
    assert speaker.process.wait(DEADLINE_S) == 0


def test_bfd_and_what_the_daemon_cannot_do(lab: Lab, installed: ControlPlane) -> None:
    scene = Scene(lab, installed, nodes=1)
    (speaker,) = scene.speakers.all
    scene.router.start(scene.fabric.nodes(bfd_ms=300))
    scene.make("BGPAdvertisement", "all")
    scene.cluster.service("web")
    scene.cluster.set_ingress("web", V4)
    scene.make("BFDProfile", "quick", transmitInterval=300, receiveInterval=300)
    scene.peer(bfdProfile="quick")
    scene.wait_prefixes({f"{V4}/32": {NODES[0]}})
    wait_until(lambda: speaker.ask("status")["bgp"]["peers"][0]["bfd"] == "up", DEADLINE_S, what="BFD to be up")
    assert 'metallb_bfd_session_up{peer="192.0.2.3:179"} 1.0' in speaker.get("/metrics", 9120)[1]

    scene.change("bfdprofiles", "quick", echoMode=True)
    wait_until(
        lambda: "BGPPeer metallb-system/tor: spec.bfdProfile" in scene.state("a"), DEADLINE_S, what="it to be told"
    )
    scene.wait_prefixes({})
    scene.change("bfdprofiles", "quick", echoMode=None)
    scene.change("bgppeers", "tor", vrf="red")
    wait_until(lambda: "BGPPeer metallb-system/tor: spec.vrf" in scene.state("a"), DEADLINE_S, what="that to be told")
