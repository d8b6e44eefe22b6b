"""Speakers on real kernels, told by hand what the cluster is: who answers, and that nothing is lost on the way."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from arpfast.control import Refused
from lab import Lab, wait_until
from lab.ring import Cut, Ring
from tests.real.handmade import DEADLINE_S, Speakers, ad, service

V4, V6 = "192.0.2.100", "2001:db8::100"
ADDRESSES = (V4, V6)
MODES = pytest.mark.parametrize("profile", ["default", "fast"])


def test_a_service_is_answered_by_the_first_in_its_order(lab: Lab) -> None:
    with Speakers(Ring(lab, 3, addresses=ADDRESSES)) as speakers:
        speakers.tell([service("web", V4, V6)])
        owner = min(speakers.names, key=lambda name: sha256(f"{name}#{V4}".encode()).digest())
        hosts = {speaker.name: speaker.host for speaker in speakers.all}
        for address in ADDRESSES:
            speakers.wait_owner(address, owner)
            assert speakers.ring.wait_owner(address, hosts[owner])
        first = next(speaker for speaker in speakers.all if speaker.name == owner)
        speakers.ring.witness.host.run(["arping", "-c", "1", "-w", "10", "-i", "eth0", V4], timeout_s=DEADLINE_S)
        (link,) = first.ask("status")["links"]
        assert (link["backend"], link["in_kernel"] > 0) == ("tc", True)
        told = json.loads(speakers.all[0].run("explain", "-n", "shop", "web", "--json"))
        assert [each["address"] for each in told["addresses"]] == [V4, V6]
        assert [node["why"] for node in told["nodes"]] == [[], [], []]
        assert f"shop/web has {V4}, owned by {owner}" in speakers.all[0].run("explain", "-n", "shop", "web")
        with pytest.raises(Refused, match="no Service shop/other of our class is known"):
            speakers.all[0].ask("explain", "other", "shop")
        wait_until(
            lambda: all(each.ask("status")["ready"] for each in speakers.all), DEADLINE_S, what="all to be ready"
        )
        first.ask("drain")

        def drained() -> list[str]:
            nodes = speakers.all[0].ask("explain", "web", "shop")["nodes"]
            return [node["node"] for node in nodes if node["why"] == ["drained"]]

        wait_until(lambda: drained() == [owner], DEADLINE_S, what="it to be told who is drained")
        speakers.tell([])
        speakers.wait_owner(V4, None)


def test_who_has_no_endpoint_any_more_hands_over(lab: Lab) -> None:
    with Speakers(Ring(lab, 3, addresses=ADDRESSES)) as speakers:
        speakers.tell([service("web", V4, local=True)], served={"web": ["a"]})
        speakers.wait_owner(V4, "a")
        speakers.tell([service("web", V4, local=True)], served={"web": ["c"]})
        speakers.wait_owner(V4, "c")
        assert speakers.ring.wait_owner(V4, speakers.ring.hosts[2])
        speakers.tell([service("web", V4, local=True)], served={"web": []})
        speakers.wait_owner(V4, None)
        told = speakers.all[1].ask("explain", "web", "shop")
        assert told["reason"] == "noEndpoints"


@MODES
def test_an_owner_that_dies_is_succeeded_by_who_may(lab: Lab, profile: str) -> None:
    with Speakers(Ring(lab, 3, addresses=ADDRESSES), profile=profile) as speakers:
        a, b, c = speakers.all
        speakers.tell([service("web", V4, V6)], ads=[ad("ac", preferences={"a": 10})])
        speakers.wait_owner(V4, "a")
        a.process.kill()
        for address in ADDRESSES:
            speakers.wait_owner(address, "c", [b, c])
            assert speakers.ring.wait_owner(address, c.host)
        a.start()
        a.tell(speakers.told)
        speakers.wait_owner(V4, "a")


def test_who_is_told_to_stop_has_handed_over_before(lab: Lab) -> None:
    with Speakers(Ring(lab, 3, addresses=ADDRESSES)) as speakers:
        a, b, c = speakers.all
        speakers.tell([service("web", V4)], ads=[ad("abc", preferences={"a": 10, "b": 5})])
        speakers.wait_owner(V4, "a")
        speakers.ring.wait_owner(V4, a.host)
        a.stop()
        events = [json.loads(line) for line in a.process.lines if line.startswith("{")]
        assert any(event["event"] == "handed over" for event in events)
        assert not any(event["event"] == "left with addresses in hand" for event in events)
        speakers.wait_owner(V4, "b", [b, c])
        assert speakers.ring.wait_owner(V4, b.host)


def test_an_address_is_answered_on_the_interfaces_of_its_advertisement(lab: Lab) -> None:
    with Speakers(Ring(lab, 3, addresses=ADDRESSES)) as speakers:
        speakers.tell([service("web", V4)], ads=[ad("abc", interfaces=["eth7"], preferences={"a": 10})])
        speakers.wait_owner(V4, "a")
        phases = {each["phase"] for each in speakers.all[0].ask("explain", V4)["links"]}
        assert phases == {"absent"}
        speakers.tell([service("web", V4)], ads=[ad("abc", interfaces=["eth0"], preferences={"a": 10})])
        assert speakers.ring.wait_owner(V4, speakers.all[0].host)


def test_who_is_heard_on_another_network_only_is_succeeded_where_its_address_is_at_home(lab: Lab) -> None:
    """Nobody loses a carrier, gossip is whole, and on its other network it answers: only the wire can tell."""
    ring = Ring(lab, 3, addresses=(V4,), gossip_apart=True)
    with Speakers(ring, profile="fast", choice={"patterns": ["eth*"]}) as speakers:
        speakers.tell([service("web", V4)], ads=[ad("ab", preferences={"a": 10})])
        a, b, _ = ring.hosts
        speakers.wait_owner(V4, "a")
        ring.wait_owner(V4, a)
        ring.cut(a, Cut.WIRE)
        ring.wait_owner(V4, b)
        ring.heal()
        ring.wait_owner(V4, a)


def test_who_loses_the_carrier_of_one_interface_leaves_what_is_answered_there(lab: Lab) -> None:
    """Gossip goes by another one, which has it still: what is on the subnet of the first, and what is answered on that
    alone, is another's from then on.
    """
    nowhere = "203.0.114.5"
    ring = Ring(lab, 3, addresses=(V4,), gossip_apart=True)
    with Speakers(ring, choice={"patterns": ["eth*"]}) as speakers:
        services = [service("on-subnet", V4), service("on-eth0", nowhere)]
        ads = [
            ad("abc", preferences={"a": 10}),
            ad("abc", preferences={"a": 10}, pools=["far"], interfaces=["eth0"]),
        ]
        line = speakers.line(services, ads=ads)
        line["pools"]["far"] = ["203.0.114.0/24"]
        for speaker in speakers.all:
            speaker.tell(line)
        for address in (V4, nowhere):
            speakers.wait_owner(address, "a")
        ring.cut(ring.hosts[0])
        heirs = {address: speakers.wait_other(address, "a") for address in (V4, nowhere)}
        assert ring.wait_owner(V4, heirs[V4].host)
        ring.heal()
        for address in (V4, nowhere):
            speakers.wait_owner(address, "a")
