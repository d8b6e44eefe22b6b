"""What the API server makes of the manifests: overlays, Pods, and what our two accounts may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import wait_until
from lab.manifests import NAMESPACE, render
from speaker.bgp.supervising import FLAGS

if TYPE_CHECKING:
    from lab.control_plane import ControlPlane

DEADLINE_S = 30.0


def test_an_overlay_adds_what_the_kernels_filter_needs(installed: ControlPlane) -> None:
    (speaker,) = (thing for thing in render("kernel-filter") if thing["kind"] == "DaemonSet")
    made = installed.api.apply(speaker)
    capabilities = made["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]
    assert capabilities == {"drop": ["ALL"], "add": ["NET_RAW", "BPF", "NET_ADMIN", "PERFMON"]}
    installed.api.apply(next(thing for thing in render() if thing["kind"] == "DaemonSet"))


def test_an_overlay_has_a_daemon_beside_the_speaker_that_may_do_nothing_else(installed: ControlPlane) -> None:
    things = render("bgp")
    (speaker,) = (thing for thing in things if thing["kind"] == "DaemonSet")
    made = installed.api.apply(speaker)["spec"]["template"]["spec"]
    (daemon,) = made["initContainers"]
    assert (daemon["restartPolicy"], daemon["securityContext"]["capabilities"]) == ("Always", {"drop": ["ALL"]})
    (socket,) = (each["value"] for each in made["containers"][0]["env"] if each["name"] == "ARPFAST_GOBGP")
    assert f"--api-hosts=unix://{socket} " in daemon["command"][-1]
    assert {*FLAGS} <= {*daemon["command"][-1].split()}
    assert made["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    for thing in things:
        if thing["metadata"]["name"] == "speaker-bgp":
            installed.api.apply(thing)
    asked = (installed, "speaker", "watch", "", "secrets", NAMESPACE, "bgp")
    wait_until(lambda: may(*asked), DEADLINE_S, what="the API server to heed the new binding")
    assert not may(installed, "speaker", "watch", "", "secrets", NAMESPACE, "memberlist")
    assert not may(installed, "speaker", "list", "", "secrets", NAMESPACE, "")
    with_both = render("bgp-and-kernel-filter")
    assert [each for each in with_both if each["kind"] != "DaemonSet"] == [
        each for each in things if each["kind"] != "DaemonSet"
    ]
    made = installed.api.apply(next(each for each in with_both if each["kind"] == "DaemonSet"))["spec"]["template"][
        "spec"
    ]
    assert made["initContainers"] == [daemon]
    assert made["containers"][0]["securityContext"]["capabilities"]["add"] == ["NET_RAW", "BPF", "NET_ADMIN", "PERFMON"]
    installed.api.apply(next(thing for thing in render() if thing["kind"] == "DaemonSet"))


def test_pods_are_what_the_manifests_say(installed: ControlPlane) -> None:
    """The API server has taken Deployment and DaemonSet, and defaults did not change what matters."""
    speaker = installed.api.get("daemonsets", "speaker", NAMESPACE)["spec"]["template"]["spec"]
    assert speaker["hostNetwork"]
    assert speaker["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    controller = installed.api.get("deployments", "controller", NAMESPACE)["spec"]["template"]["spec"]
    assert controller["securityContext"]["runAsNonRoot"]


MAY = [
    ("controller", "patch", "", "services/status", "shop", "", True),
    ("controller", "patch", "", "services", "shop", "", False),
    ("controller", "create", "", "events", "shop", "", True),
    ("controller", "get", "", "secrets", NAMESPACE, "memberlist", True),
    ("controller", "get", "", "secrets", NAMESPACE, "other", False),
    ("controller", "list", "", "secrets", NAMESPACE, "", False),
    ("controller", "watch", "", "secrets", NAMESPACE, "metallb-webhook-cert", True),
    ("controller", "patch", "", "secrets", NAMESPACE, "memberlist", False),
    ("controller", "list", "metallb.io", "bgppeers", NAMESPACE, "", True),
    ("controller", "patch", "metallb.io", "bgppeers", NAMESPACE, "", False),
    ("controller", "watch", "", "nodes", "", "", True),
    *(
        ("controller", "patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", name, allowed)
        for name, allowed in (("metallb-webhook-configuration", True), ("other", False))
    ),
    ("controller", "get", "", "secrets", "shop", "memberlist", False),
    ("controller", "update", "coordination.k8s.io", "leases", NAMESPACE, "controller", True),
    ("controller", "update", "coordination.k8s.io", "leases", NAMESPACE, "other", False),
    ("controller", "patch", "metallb.io", "ipaddresspools/status", NAMESPACE, "", True),
    ("controller", "patch", "metallb.io", "ipaddresspools", NAMESPACE, "", False),
    ("speaker", "watch", "discovery.k8s.io", "endpointslices", "", "", True),
    ("speaker", "watch", "metallb.io", "l2advertisements", NAMESPACE, "", True),
    ("speaker", "watch", "metallb.io", "l2advertisements", "shop", "", False),
    ("speaker", "patch", "metallb.io", "servicel2statuses/status", NAMESPACE, "", True),
    ("speaker", "watch", "metallb.io", "bgppeers", NAMESPACE, "", True),
    ("speaker", "patch", "metallb.io", "servicebgpstatuses/status", NAMESPACE, "", True),
    ("speaker", "watch", "", "secrets", NAMESPACE, "bgp", False),
    ("speaker", "patch", "", "services/status", "shop", "", False),
    ("speaker", "get", "", "secrets", NAMESPACE, "memberlist", False),
    ("speaker", "list", "", "pods", NAMESPACE, "", True),
    ("speaker", "list", "", "pods", "shop", "", False),
]


@pytest.mark.parametrize(
    ("account", "verb", "group", "resource", "namespace", "name", "allowed"), MAY,
    ids=["-".join((*filter(None, map(str, row[:-1])), "may" if row[-1] else "may not")) for row in MAY],
)  # fmt: skip
def test_accounts_may(
    installed: ControlPlane,
    account: str,
    verb: str,
    group: str,
    resource: str,
    namespace: str,
    name: str,
    allowed: bool,
) -> None:
    asked = (installed, account, verb, group, resource, namespace, name)
    if allowed:  # the API server heeds a binding a little after it has taken it
        wait_until(lambda: may(*asked), DEADLINE_S, what="the right to be there")
    else:
        assert not may(*asked)


def may(installed: ControlPlane, account: str, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
    plain, _, subresource = resource.partition("/")
    asked = {
        "verb": verb, "group": group, "resource": plain, "subresource": subresource,
        "namespace": namespace, "name": name,
    }  # fmt: skip
    review = installed.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{NAMESPACE}:{account}", "resourceAttributes": asked},
    })  # fmt: skip
    return bool(review["status"]["allowed"])
