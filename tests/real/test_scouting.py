"""An address that a stranger has on the wire is not given to a Service: speakers probe, the controller heeds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import Lab, wait_until
from lab.cluster import Cluster
from lab.manifests import NAMESPACE
from tests.real.cluster_speakers import DEADLINE_S, Speakers
from tests.real.replica import LONG_S, Replica, wait_addresses

if TYPE_CHECKING:
    from lab.control_plane import ControlPlane

FOUR, SIX = "192.0.2.100", "2001:db8::100"


def test_a_stranger_has_what_comes_next(lab: Lab, installed: ControlPlane) -> None:
    cluster = Cluster(lab, installed, 2, proxy=None)
    stranger = lab.host("stranger")
    link = stranger.link(cluster.ring.switch, addresses=[f"{FOUR}/24", f"{SIX}/64"])
    replica = Replica(installed, "one", "--probe-ahead=8").start()
    try:
        speakers = Speakers(cluster)
        quarantined = 'arpfast_controller_quarantined_addresses{pool="it"}'
        wait_until(lambda: replica.number(quarantined) == 2, LONG_S, what="both to be found", every_ms=50)
        told = wait_until(
            lambda: [each for each in speakers.events("AddressInUse") if f"{FOUR} " in each["note"]],
            DEADLINE_S, what="the pool's Event", every_ms=50,
        )  # fmt: skip
        event = told[0]
        assert (event["regarding"]["kind"], event["regarding"]["name"]) == ("IPAddressPool", "it")
        assert str(link.mac) in event["note"]
        cluster.pod("web", cluster.nodes[0])
        cluster.service("four")
        cluster.service("six", ipFamilies=["IPv6"])
        wait_addresses(installed, four=("192.0.2.101",), six=("2001:db8::101",))
        # what a Service has stays its own, though the pool is read anew and the controller begins anew
        speakers.wait_owner("192.0.2.101")
        replica.kill()
        replica.start()
        wait_until(lambda: replica.number(quarantined) == 2, LONG_S, what="both to be known", every_ms=50)
        cluster.service("both", ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"])
        wait_addresses(installed, four=("192.0.2.101",), six=("2001:db8::101",), both=("192.0.2.102", "2001:db8::102"))
        # who asks for a stranger's address is told so, and gets it when the stranger is gone
        cluster.service("bold", annotations={"metallb.io/loadBalancerIPs": FOUR})
        said = wait_until(
            lambda: [each for each in speakers.events("AllocationFailed") if each["regarding"]["name"] == "bold"],
            DEADLINE_S, what="it to be told", every_ms=50,
        )  # fmt: skip
        assert f"{FOUR}: another host has it, {link.mac}" in said[0]["note"]
        link.down()
        for speaker in speakers.all:
            speaker.process.kill()
        speakers.start()
        wait_until(lambda: replica.number(quarantined) == 0, LONG_S, what="both to be free", every_ms=50)
        wait_until(lambda: cluster.ingress("bold") == [FOUR], LONG_S, what="it to have it", every_ms=50)
        asked = installed.api.get("configurationstates", "controller", NAMESPACE)["metadata"]["annotations"]
        assert "metallb.io/candidates" in asked
    finally:
        replica.kill()
