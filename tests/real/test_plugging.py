"""Interfaces come, go, and change under a running daemon, which has long dropped its privileges."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from lab import Advertisement, Arp, Host, Lab, Link, Mac, State, wait_until
from lab.generator import Flood
from tests.real.stage import DEADLINE_S, Daemon, received

OWN4, OWN6 = "192.0.2.10", "2001:db8::10"


class Scene:
    """A peer and arpfast's host, which has one interface that stays (`mgmt0`) and no other yet."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.peer, self.host, self.other = lab.host("peer"), lab.host("arpfast"), lab.host("other")
        self.host.link(self.other, name="mgmt0", addresses=["198.51.100.2/24"], peer_addresses=["198.51.100.1/24"])
        settings = {
            "addresses": ["192.0.2.10-192.0.2.19", "2001:db8::10-2001:db8::1f"],
            "interfaces": ["eth*", "wan?"],
            "announce": {"refresh": "off", "repeat": 1, "probe": "quick"},
        }
        self.daemon = Daemon(self.host, settings=settings)

    def plug(self, name: str = "eth0") -> Link:
        """A cable between the two; our end, which has no address of its own."""
        near = self.peer.link(self.host, peer_name=name, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        assert near.peer
        return near.peer

    def answered(self, link: Link) -> None:
        """Both families are resolved by the peer, to this interface's MAC of now."""
        for address in (OWN4, OWN6):
            self.daemon.wait_phase(address, interface=link.name)
            assert self.peer.resolve(address, deadline_s=DEADLINE_S) == link.mac

    def wait_unused(self, name: str) -> None:
        wait_until(lambda: not self.daemon.link(name), DEADLINE_S, what=f"{name} to be let go")


@pytest.fixture(scope="module")
def scene(_lab_is_possible: None) -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture
def link(scene: Scene) -> Iterator[Link]:
    """A fresh cable, used by the daemon; gone afterwards."""
    link = scene.plug()
    scene.answered(link)
    yield link
    if link.host is scene.host and _exists(scene.host, link.index):
        name = link.name
        link.delete()
        scene.wait_unused(name)


def _exists(host: Host, index: int) -> bool:
    return any(message["index"] == index for message in host.netlink("get_links"))


def test_an_interface_that_comes_later_is_used_after_privileges_were_dropped(scene: Scene) -> None:
    """And one that returns under its old name with a new index is another interface."""
    assert not scene.daemon.link("eth0")
    first = scene.plug()
    scene.answered(first)
    first.delete()
    scene.wait_unused("eth0")
    second = scene.plug()
    assert second.index != first.index
    scene.answered(second)
    assert scene.daemon.on(OWN4)["ifindex"] == second.index
    second.delete()
    scene.wait_unused("eth0")


def test_interfaces_that_are_not_chosen_are_left_alone(scene: Scene, link: Link) -> None:
    assert not scene.daemon.link("mgmt0")
    assert "not among the interfaces" in scene.daemon.on(OWN4, "mgmt0")["why"]


def test_a_renamed_interface_is_chosen_by_its_new_name(scene: Scene, link: Link) -> None:
    link.rename("wan1")
    scene.answered(link)
    link.rename("lan0")
    scene.wait_unused("lan0")
    wait_until(lambda: scene.daemon.on(OWN4, "lan0").get("phase") == "absent", DEADLINE_S)
    assert "not among the interfaces" in scene.daemon.on(OWN4, "lan0")["why"]
    assert _unanswered(scene, link, OWN4)
    link.rename("eth0")
    scene.answered(link)


def _unanswered(scene: Scene, link: Link, address: str) -> bool:
    """Whether the peer asks three times and is not answered."""
    family = "ipv4" if "." in address else "ipv6"
    assert link.peer
    names = f"net.{family}.neigh.{link.peer.name}"
    scene.peer.set({f"{names}.mcast_solicit": 3, f"{names}.retrans_time_ms": 50})
    return scene.peer.resolve(address, deadline_s=DEADLINE_S) is None


def test_a_new_mac_is_announced_and_answered_with(scene: Scene, link: Link) -> None:
    assert link.peer
    new = Mac(b"\x02\x00\x00\xab\x00" + os.urandom(1))
    with scene.peer.capture(link.peer) as capture:
        link.set_mac(new)
        capture.wait_for(received(Arp, spa=IPv4Address(OWN4), tpa=IPv4Address(OWN4), sha=new), DEADLINE_S)
        told = capture.wait_for(received(Advertisement, target=IPv6Address(OWN6), source=new), DEADLINE_S).decoded
        assert isinstance(told, Advertisement)
        assert told.target_mac == new
    for address in (OWN4, OWN6):
        scene.peer.wait_neighbour(address, mac=new, deadline_s=DEADLINE_S)  # by the announcement alone
    scene.answered(link)
    assert not scene.daemon.on(OWN4, link.name)["conflicts"], "our own old MAC is no foreigner"


def test_a_port_of_a_bridge_is_not_used_and_is_again_when_it_leaves(scene: Scene, link: Link) -> None:
    bridge = scene.host.bridge("br0", [link])
    scene.wait_unused("eth0")
    assert "port of another interface" in scene.daemon.on(OWN4)["why"]
    assert _unanswered(scene, link, OWN4)
    link.release()
    scene.answered(link)
    bridge.delete()


def test_a_bridge_itself_is_an_interface_like_another(scene: Scene, link: Link) -> None:
    bridge = scene.host.bridge("wan9", [link])
    scene.wait_unused("eth0")
    scene.answered(bridge)
    bridge.delete()
    scene.answered(link)


def test_an_interface_that_is_set_down_is_let_go(scene: Scene, link: Link) -> None:
    link.down()
    scene.wait_unused("eth0")
    assert scene.daemon.on(OWN4)["why"].endswith("down")
    link.up()
    scene.answered(link)


def test_rfc_5227_2_1_after_a_loss_of_carrier_addresses_are_probed_and_announced_again(
    scene: Scene, link: Link
) -> None:
    assert link.peer
    link.cut()
    wait_until(lambda: scene.daemon.on(OWN4).get("phase") == "waiting", DEADLINE_S)
    assert scene.daemon.on(OWN4)["why"] == "the interface has no carrier"
    with scene.peer.capture(link.peer) as capture:
        link.mend()
        capture.wait_for(received(Arp, spa=IPv4Address(0), tpa=IPv4Address(OWN4)), DEADLINE_S)
        capture.wait_for(received(Arp, spa=IPv4Address(OWN4), tpa=IPv4Address(OWN4)), DEADLINE_S)
    scene.answered(link)


def test_an_address_that_was_taken_while_the_cable_was_out_is_found_taken(scene: Scene, link: Link) -> None:
    assert link.peer
    link.cut()
    wait_until(lambda: scene.daemon.on(OWN4).get("phase") == "waiting", DEADLINE_S)
    link.peer.add_address(f"{OWN4}/24")
    link.mend()
    assert scene.daemon.wait_phase(OWN4, "taken")["taken_by"] == str(link.peer.mac)
    link.peer.remove_address(f"{OWN4}/24")
    scene.daemon.run("announce", OWN4)
    scene.daemon.wait_phase(OWN4)


def test_carrier_is_lost_and_returns_under_load(scene: Scene, link: Link) -> None:
    assert link.peer
    flood = Flood.start(link.peer, OWN4, 10, seconds=60, rate_per_s=20_000, engine="socket")
    for _ in range(3):
        link.set_mac(Mac(b"\x02\x00\x00\xac\x00" + os.urandom(1)))
        link.down()
        wait_until(lambda: not scene.daemon.link("eth0"), DEADLINE_S)
        link.up()
        scene.daemon.wait_phase(OWN4)
    flooded = flood.stop()
    assert 0 < flooded.arp_replies < flooded.offered
    assert scene.daemon.process.alive
    scene.answered(link)


def test_two_interfaces_on_one_segment_are_kin_and_no_conflict(scene: Scene) -> None:
    switch = scene.lab.switch()
    near = scene.peer.link(switch, name="lan9", addresses=["203.0.113.1/24", "2001:db8:9::1/64"])
    links = [scene.host.link(switch, name=name) for name in ("eth8", "eth9")]
    daemon = Daemon(scene.host, "-i", "eth[89]", "203.0.113.10", "2001:db8:9::10", name="twins")
    for address in ("203.0.113.10", "2001:db8:9::10"):
        for link in links:
            daemon.wait_phase(address, interface=link.name)
        found = scene.peer.resolve(address, deadline_s=DEADLINE_S)
        assert found in [link.mac for link in links]
        daemon.run("announce", address)
    wait_until(lambda: all(daemon.verdicts(link.name).get("looped") for link in links), DEADLINE_S)
    for address in ("203.0.113.10", "2001:db8:9::10"):
        for link in links:
            assert daemon.on(address, link.name)["phase"] == "answering"
            assert not daemon.on(address, link.name)["conflicts"]
    assert not daemon.events("another host uses an address of ours")
    assert daemon.stop() == 0
    for link in links:
        link.delete()
    near.delete()


def test_twenty_interfaces_at_once(scene: Scene) -> None:
    """Plugged in a burst and pulled in a burst; the kernel's events may come faster than they are read."""
    links = [scene.other.link(scene.host, name=f"far{n}", peer_name=f"eth{100 + n}").peer for n in range(20)]
    names = {f"eth{100 + n}" for n in range(20)}

    def used() -> set[str]:
        return {link["interface"] for link in scene.daemon.ask("status")["links"] if link["answering"] == 26}

    wait_until(lambda: names <= used(), DEADLINE_S, every_ms=20)
    for link in links:
        assert link
        link.delete()
    wait_until(lambda: not names & used(), DEADLINE_S, every_ms=20)


def test_an_idle_daemon_after_all_that_answers_still(scene: Scene, link: Link) -> None:
    scene.answered(link)
    entry = scene.peer.neighbour(OWN4)
    assert entry
    assert entry.state == State.REACHABLE
    assert not [line for line in scene.daemon.process.lines if '"error"' in line or "Traceback" in line]
