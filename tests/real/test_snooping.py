"""A switch with MLD snooping and a querier delivers a group only where it was joined: so ours must really be."""

from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from lab import Captured, Lab, Link, Switch, wait_until
from lab.frames import solicited_node
from tests.real.stage import DEADLINE_S, Daemon


class Scene:
    """A peer and arpfast's host on a snooping switch."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.switch: Switch = lab.switch(snooping=True, querier=True)
        self.near = lab.host("peer").link(self.switch, addresses=["2001:db8::1/64"])
        self.far = lab.host("arpfast").link(self.switch, addresses=["2001:db8::2/64"])
        self.settings: dict[str, Any] = {
            "addresses": ["2001:db8::a1:10"],
            "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
        }
        self.switch.wait_snooping()
        self.daemon = Daemon(self.far.host, settings=self.settings)

    def delivered(self, address: str, link: Link | None = None) -> None:
        """The switch knows of the group behind the port, and the peer's multicast question is answered."""
        link = link or self.far
        assert link.peer
        self.daemon.wait_phase(address, interface=link.name)
        self.switch.wait_member(link.peer, solicited_node(address), DEADLINE_S)
        assert self.near.host.resolve(address, deadline_s=DEADLINE_S) == link.mac


def _joined() -> set[IPv6Address]:
    lines = Path("/proc/thread-self/net/igmp6").read_text().splitlines()
    return {IPv6Address(bytes.fromhex(line.split()[2])) for line in lines}


@pytest.fixture(scope="module")
def scene(_lab_is_possible: None) -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


def test_the_switch_really_snoops(scene: Scene) -> None:
    """Without a join nothing is delivered: or all that follows would prove nothing."""
    with scene.far.host.capture(scene.far) as capture:
        scene.near.host.set({"net.ipv6.neigh.eth0.retrans_time_ms": 20})
        assert scene.near.host.resolve("2001:db8::77:7777", deadline_s=DEADLINE_S) is None
        scene.near.host.set({"net.ipv6.neigh.eth0.retrans_time_ms": 1000})
        assert not [frame for frame in capture.frames() if _target(frame) == "2001:db8::77:7777"]


def _target(frame: Captured) -> str:
    return str(getattr(frame.decoded, "target", ""))


def test_rfc_4861_7_2_the_group_of_an_address_from_the_start_is_joined(scene: Scene) -> None:
    scene.delivered("2001:db8::a1:10")


def test_the_group_of_an_address_that_a_reload_brings_is_joined(scene: Scene) -> None:
    scene.settings["addresses"].append("2001:db8::a2:10")
    scene.daemon.change(scene.settings)
    scene.delivered("2001:db8::a2:10")


def test_the_groups_are_joined_on_an_interface_that_comes_later(scene: Scene) -> None:
    later = scene.far.host.link(scene.switch, name="eth1")
    scene.daemon.wait_phase("2001:db8::a1:10", interface="eth1")
    assert later.peer
    for address in scene.settings["addresses"]:
        scene.switch.wait_member(later.peer, solicited_node(address), DEADLINE_S)
    later.delete()


def test_the_groups_are_joined_again_when_the_interface_was_down(scene: Scene) -> None:
    scene.far.down()
    wait_until(lambda: not scene.daemon.link(), DEADLINE_S)
    scene.far.up()
    scene.delivered("2001:db8::a1:10")


def test_the_group_of_an_address_that_is_no_longer_wanted_is_left(scene: Scene) -> None:
    scene.settings["addresses"].append("2001:db8::a3:10")
    scene.daemon.change(scene.settings)
    scene.delivered("2001:db8::a3:10")
    scene.settings["addresses"].pop()
    scene.daemon.change(scene.settings)
    assert scene.far.peer
    port = scene.far.peer
    wait_until(lambda: solicited_node("2001:db8::a3:10") not in scene.far.host.call(_joined), DEADLINE_S)
    assert solicited_node("2001:db8::a1:10") in scene.switch.members(port)


def test_rfc_4861_7_2_8_the_groups_of_a_proxied_prefix_are_delivered(scene: Scene) -> None:
    """Few addresses: their own groups are joined."""
    scene.settings["proxy"] = ["2001:db8::b1:0/124"]
    scene.daemon.change(scene.settings)
    scene.daemon.wait_phase("2001:db8::b1:5", "proxying")
    assert scene.far.peer
    scene.switch.wait_member(scene.far.peer, solicited_node("2001:db8::b1:5"), DEADLINE_S)
    assert scene.near.host.resolve("2001:db8::b1:5", deadline_s=DEADLINE_S) == scene.far.mac


def test_addresses_that_share_a_group_keep_it_until_the_last_is_gone(scene: Scene) -> None:
    """A group is the last 24 bits: half of all addresses with the same ending share it."""
    twins = ["2001:db8::c1:10", "2001:db8:0:0:9::c1:10"]
    scene.settings["addresses"] += twins
    scene.daemon.change(scene.settings)
    scene.delivered(twins[0])
    scene.settings["addresses"].remove(twins[1])
    scene.daemon.change(scene.settings)
    scene.daemon.wait_phase(twins[1], "absent")
    scene.near.host.forget()
    scene.delivered(twins[0])


def test_three_thousand_groups_are_joined_and_reported(scene: Scene) -> None:
    """More than one socket's option memory holds; fewer than the 4096 that the bridge remembers."""
    scene.settings["addresses"].append("2001:db8::d0:0-2001:db8::d0:bb7")
    scene.daemon.change(scene.settings)
    wanted = {solicited_node(f"2001:db8::d0:{number:x}") for number in range(3000)}
    assert scene.far.peer
    port = scene.far.peer
    wait_until(lambda: wanted <= set(scene.switch.members(port)), DEADLINE_S, what="3000 memberships", every_ms=50)
    for address in ("2001:db8::d0:0", "2001:db8::d0:400", "2001:db8::d0:bb7"):
        scene.delivered(address)
