"""Speakers on a real API server, with the rights of `deploy/`: a client's request through the address of a Service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import Lab, wait_until
from lab.cluster import Cluster
from lab.manifests import NAMESPACE
from tests.real.cluster_speakers import DEADLINE_S, Speakers

if TYPE_CHECKING:
    from lab.control_plane import ControlPlane

V4, V6 = "192.0.2.100", "2001:db8::100"


def test_a_service_is_reached_told_of_and_taken_over(lab: Lab, installed: ControlPlane) -> None:
    cluster = Cluster(lab, installed)
    speakers = Speakers(cluster)
    cluster.service("web", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"])
    cluster.pod("web-b", cluster.node("b"))
    cluster.set_ingress("web", V4, V6)
    owner = speakers.wait_owner(V4)
    assert speakers.wait_owner(V6) is owner
    for address in (V4, V6):
        assert cluster.wait_answer(address).node == "b"
        assert cluster.wait_answer(address, protocol="udp").node == "b"

    told: list[tuple[str, str, list[str]]] = [("web", owner.name, [])]
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the status to be told", every_ms=50)
    (written,) = cluster.api.list("servicel2statuses", NAMESPACE)
    cluster.api.delete("servicel2statuses", written["metadata"]["name"], NAMESPACE)
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the status to be told again", every_ms=50)
    (written,) = cluster.api.list("servicel2statuses", NAMESPACE)
    edited = {"status": {"interfaces": [{"name": "eth9"}]}}
    cluster.api.patch("servicel2statuses", written["metadata"]["name"], edited, NAMESPACE, subresource="status")
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the status to be put right", every_ms=50)
    wait_until(lambda: speakers.events("nodeAssigned"), DEADLINE_S, what="the Event to be told", every_ms=50)
    (event,) = speakers.events("nodeAssigned")
    assert (event["reportingController"], event["regarding"]["name"]) == ("metallb-speaker", "web")
    assert owner.name in event["note"]
    state = cluster.api.get("configurationstates", f"speaker-{owner.name}", "metallb-system")
    assert state["status"]["result"] == "Valid"
    assert owner.get("/readyz") == (200, "ok\n")
    status, metrics = owner.get("/metrics", 9120)
    assert status == 200
    announced = (
        f'metallb_speaker_announced{{ip="{V4}",node="{owner.name}",protocol="layer2",service="default/web"}} 1.0'
    )
    assert announced in metrics
    assert "metallb_k8s_client_config_loaded_bool 1.0" in metrics
    for name in ("requests_received", "responses_sent", "gratuitous_sent"):
        assert f"\nmetallb_layer2_{name} " in metrics, "expected the name that dashboards know"

    owner.process.kill()
    heir = speakers.wait_owner(V4, speakers.but(owner))
    assert cluster.wait_answer(V4).node == "b"
    told = [("web", heir.name, [])]
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the status to move", every_ms=50)

    installed.kill_apiserver()
    heir.process.kill()
    last = speakers.wait_owner(V4, speakers.but(owner, heir))
    assert speakers.wait_owner(V6, [last]) is last
    assert cluster.wait_answer(V4).node == "b", "expected owners to be succeeded without the API server"


def test_who_has_no_endpoint_any_more_hands_over(lab: Lab, installed: ControlPlane) -> None:
    cluster = Cluster(lab, installed)
    speakers = Speakers(cluster)
    cluster.service("web", externalTrafficPolicy="Local")
    before = cluster.pod("web-c", cluster.node("c"))
    cluster.set_ingress("web", V4)
    assert speakers.wait_owner(V4).name == "c"
    assert cluster.wait_answer(V4).asker == "198.51.100.2"
    cluster.pod("web-a", cluster.node("a"))
    cluster.set_ready(before, False)
    wait_until(lambda: speakers.wait_owner(V4).name == "a", DEADLINE_S, what="it to be a's")
    assert cluster.wait_answer(V4).node == "a"
    told = speakers.on("b").ask("explain", "web", "default")
    assert {each["node"]: each["why"] for each in told["nodes"]} == {
        "a": [], "b": ["noLocalEndpoints"], "c": ["noLocalEndpoints"],
    }  # fmt: skip
    label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
    cluster.api.patch("nodes", "a", {"metadata": {"labels": label}})
    wait_until(lambda: not speakers.on("a").ask("explain", V4)["ring"]["ours"], DEADLINE_S, what="it to be nobody's")
    wait_until(lambda: speakers.statuses() == [], DEADLINE_S, what="the status to go", every_ms=50)


def test_advertisements_choose_nodes_and_interfaces(lab: Lab, installed: ControlPlane) -> None:
    cluster = Cluster(lab, installed)
    speakers = Speakers(cluster)
    cluster.service("web")
    cluster.pod("web-b", cluster.node("b"))
    cluster.set_ingress("web", V4)
    speakers.wait_owner(V4)
    selector = {"matchLabels": {"kubernetes.io/hostname": "b"}}
    speakers.advertise(nodeSelectors=[selector], interfaces=["eth0"])
    wait_until(lambda: speakers.wait_owner(V4).name == "b", DEADLINE_S, what="it to be b's")
    assert cluster.wait_answer(V4).node == "b"
    told = [("web", "b", ["eth0"])]
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the interface to be told", every_ms=50)
    speakers.advertise(nodeSelectors=[selector], interfaces=["eth7"])
    wait_until(lambda: speakers.events("announceFailed"), DEADLINE_S, what="the Event to be told", every_ms=50)
    wait_until(lambda: speakers.statuses() == [], DEADLINE_S, what="the status to go", every_ms=50)
    speakers.advertise(nodeSelectors=[selector], interfaces=["eth7", "eth0"])
    wait_until(lambda: speakers.statuses() == told, DEADLINE_S, what="the status to come back", every_ms=50)
