"""Before an address is used: whoever has it, or asks for it at the same time, is noticed, and nothing is answered."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from lab import Advertisement, Arp, Captured, Lab, Mac, Solicitation, wait_until
from lab.frames import UNSPECIFIED
from tests.real.stage import DEADLINE_S, Daemon, received

RIVAL = Mac("02:00:00:cc:00:01")
HELD4, HELD6 = "192.0.2.100", "2001:db8::100"


class Segment:
    """A peer, an intruder and arpfast's host on one switch, whose ports flood."""

    def __init__(self, lab: Lab) -> None:
        switch = lab.switch()
        self.peer = lab.host("peer").link(switch, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        self.intruder = lab.host("intruder").link(switch, addresses=["198.51.100.3/24"])
        self.ours = lab.host("arpfast").link(switch, addresses=["192.0.2.2/24", "2001:db8::2/64"])
        self.settings: dict[str, Any] = {
            "addresses": ["192.0.2.10", "2001:db8::10"],
            "announce": {"refresh": "off", "repeat": 1, "probe": "quick"},
        }
        self.daemon = Daemon(self.ours.host, settings=self.settings)
        self.daemon.wait_phase("2001:db8::10")

    def want(self, *addresses: str, probe: str = "quick") -> None:
        """Have these answered too."""
        self.settings["addresses"] = [*self.settings["addresses"], *addresses]
        self.settings["announce"] = {"refresh": "off", "repeat": 1, "probe": probe}
        self.daemon.change(self.settings)


@pytest.fixture(scope="module")
def segment(_lab_is_possible: None) -> Iterator[Segment]:
    with Lab() as lab:
        yield Segment(lab)


def probe_for(address: str) -> Arp | Solicitation:
    """Another host's question whether the address is free."""
    if ":" in address:
        return Solicitation.ask(RIVAL, "::", address, nonce=b"\7" * 6)
    return Arp.request(RIVAL, "0.0.0.0", address)


def use_of(address: str) -> Arp | Advertisement:
    """Another host's claim to have the address."""
    if ":" in address:
        return Advertisement.tell(RIVAL, address)
    return Arp.reply(RIVAL, address, b"\xff" * 6, address)


def is_probe_for(address: str) -> Callable[[Captured], bool]:
    """Holds of our question whether the address is free."""
    if ":" in address:
        return received(Solicitation, ip_source=UNSPECIFIED, target=IPv6Address(address))
    return received(Arp, spa=IPv4Address(0), tpa=IPv4Address(address))


def answers(frames: list[Captured], address: str) -> list[Captured]:
    """Those that could make somebody believe that we have the address: replies, announcements, questions from it."""
    return [
        frame
        for frame in frames
        if not frame.outgoing
        and (
            (isinstance(frame.decoded, Arp) and str(frame.decoded.spa) == address)
            or (isinstance(frame.decoded, Advertisement) and str(frame.decoded.target) == address)
            or (isinstance(frame.decoded, Solicitation) and str(frame.decoded.ip_source) == address)
        )
    ]


@pytest.mark.parametrize("address", [HELD4, HELD6])
def test_an_address_that_a_real_kernel_has_is_left_to_it_and_taken_up_when_it_leaves(
    segment: Segment, address: str
) -> None:
    """RFC 5227 §2.1.1 and RFC 4862 §5.4.4."""
    length = 64 if ":" in address else 24
    segment.intruder.add_address(f"{address}/{length}")
    with segment.ours.host.capture(segment.ours) as capture:
        segment.want(address)
        taken = segment.daemon.wait_phase(address, "taken")
        assert taken["taken_by"] == str(segment.intruder.mac)
        assert 0 < taken["retry_in_s"] <= 75
        told = segment.daemon.wait_event("address is in use by another host: not answered", address=address)
        assert (told["mac"], told["interface"], told["level"]) == (str(segment.intruder.mac), "eth0", "warning")
        assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == segment.intruder.mac
        ours = [frame for frame in capture.frames() if frame.outgoing]
    assert not answers([_as_received(frame) for frame in ours], address)
    assert segment.daemon.link()["taken"] >= 1

    segment.daemon.run("announce", address)  # try now what is tried again by itself, but later
    wait_until(lambda: segment.daemon.on(address)["retry_in_s"] is not None, DEADLINE_S)
    assert segment.daemon.on(address)["phase"] == "taken"

    segment.intruder.remove_address(f"{address}/{length}")
    segment.daemon.run("announce", address)
    segment.daemon.wait_phase(address)
    segment.daemon.wait_event("address is free again: now answered", address=address)
    assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == segment.ours.mac


def _as_received(frame: Captured) -> Captured:
    return Captured(frame.time_ns, False, frame.data)


@pytest.mark.parametrize("address", ["192.0.2.101", "2001:db8::101"])
def test_rfc_5227_2_1_while_probing_nothing_is_answered(segment: Segment, address: str) -> None:
    """With the RFCs' own times there is long enough to ask."""
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address, probe="rfc")
        capture.wait_for(is_probe_for(address), DEADLINE_S)
        segment.peer.host.poke(address)
        capture.wait_for(
            lambda frame: (
                frame.outgoing
                and isinstance(frame.decoded, Arp | Solicitation)
                and str(getattr(frame.decoded, "tpa", None) or getattr(frame.decoded, "target", None)) == address
            ),
            DEADLINE_S,
        )
        wait_until(lambda: segment.daemon.verdicts().get("tentative"), DEADLINE_S)
        phase = segment.daemon.on(address)["phase"]
        early = answers(capture.frames(), address)
        if phase == "probing":  # asked before the frames were looked at: nothing can have been said yet
            assert not early
        segment.daemon.wait_phase(address)
    segment.peer.host.wait_neighbour(address, mac=segment.ours.mac, deadline_s=DEADLINE_S)


@pytest.mark.parametrize("address", ["192.0.2.102", "2001:db8::102"])
def test_rfc_5227_2_1_1_a_simultaneous_probe_is_a_conflict(segment: Segment, address: str) -> None:
    """And RFC 4862 §5.4.3: two that ask for one address at a time have both lost it."""
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address)
        capture.wait_for(is_probe_for(address), DEADLINE_S)
        segment.peer.host.inject(segment.peer, probe_for(address).encode())
        taken = segment.daemon.wait_phase(address, "taken")
        assert taken["taken_by"] == str(RIVAL)
        assert not answers(capture.frames(), address)


@pytest.mark.parametrize("address", ["192.0.2.103", "2001:db8::103"])
def test_rfc_5227_2_1_1_any_use_of_the_candidate_is_a_conflict(segment: Segment, address: str) -> None:
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address)
        capture.wait_for(is_probe_for(address), DEADLINE_S)
        segment.peer.host.inject(segment.peer, use_of(address).encode())
        segment.daemon.wait_phase(address, "taken")
        assert not answers(capture.frames(), address)


@pytest.mark.parametrize("address", ["192.0.2.104", "2001:db8::104"])
def test_rfc_7527_our_own_probe_that_comes_back_is_no_duplicate(segment: Segment, address: str) -> None:
    """A loop, or a bond without LACP, gives us back every broadcast."""
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address)
        for count in (1, 2, 3):
            echo = capture.wait_for(is_probe_for(address), DEADLINE_S, count=count)
            segment.peer.host.inject(segment.peer, echo.data)
    segment.daemon.wait_phase(address)
    assert segment.daemon.verdicts()["looped"] > 0


def test_rfc_7527_our_nonce_from_another_mac_is_no_duplicate(segment: Segment) -> None:
    """Some loops change the source."""
    address = "2001:db8::105"
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address)
        echo = capture.wait_for(is_probe_for(address), DEADLINE_S).data
        segment.peer.host.inject(segment.peer, echo[:6] + RIVAL + echo[12:])
    segment.daemon.wait_phase(address)


@pytest.mark.parametrize("address", ["192.0.2.106", "2001:db8::106"])
def test_probing_is_for_what_is_new_only(segment: Segment, address: str) -> None:
    """RFC 5227 §2.1: a host must not probe periodically, nor again for what it has."""
    with segment.peer.host.capture(segment.peer) as capture:
        segment.want(address)
        segment.daemon.wait_phase(address)
        probed = {
            str(getattr(frame.decoded, "tpa", None) or getattr(frame.decoded, "target", None))
            for frame in capture.frames()
            if received(Arp, spa=IPv4Address(0))(frame) or received(Solicitation, ip_source=UNSPECIFIED)(frame)
        }
    assert probed == {address}


def test_a_whole_pool_that_a_real_kernel_has_is_left_to_it(segment: Segment) -> None:
    """8192 addresses are found taken within seconds; not one of them is missed for the number of answers."""
    segment.intruder.host.netlink("route", "add", dst="10.9.0.0/19", type="local", scope="host", table=255, oif=1)
    segment.want("10.9.0.0/19")
    wait_until(
        lambda: segment.daemon.link()["taken"] >= 8192, 3 * DEADLINE_S, what="8192 addresses taken", every_ms=100
    )
    assert segment.daemon.link()["probing"] == segment.daemon.link()["waiting"] == 0
    assert not segment.daemon.events("address is free again: now answered", address="10.9.0.0")
    assert len(segment.daemon.events("address is in use by another host: not answered")) < 100, "the log is not flooded"
    segment.settings["addresses"].remove("10.9.0.0/19")
    segment.daemon.change(segment.settings)
    segment.intruder.host.netlink("route", "del", dst="10.9.0.0/19", type="local", scope="host", table=255, oif=1)


def test_rfc_4862_5_4_an_intruder_with_detection_finds_our_address_duplicate(segment: Segment) -> None:
    segment.intruder.host.set({"net.ipv6.conf.all.accept_dad": 1, "net.ipv6.conf.eth0.accept_dad": 1})
    segment.intruder.add_address("2001:db8::10/64", dad=True)
    wait_until(segment.intruder.duplicates, DEADLINE_S, what="DADFAILED on the intruder")
    assert segment.daemon.on("2001:db8::10")["phase"] == "answering"
    assert not segment.daemon.on("2001:db8::10")["conflicts"], "asking is no conflict"
    segment.intruder.remove_address("2001:db8::10/64")


def test_rfc_5227_2_1_1_an_intruder_that_probes_with_arping_finds_our_address_taken(segment: Segment) -> None:
    said = segment.intruder.host.run(
        ["arping", "-0", "-c", "1", "-w", "10", "-i", "eth0", "192.0.2.10"], timeout_s=DEADLINE_S
    )
    assert str(segment.ours.mac) in said.stdout


def test_an_address_taken_at_the_start_of_the_daemon(segment: Segment) -> None:
    """Two daemons on one segment: the second finds the first one's address taken, and the first is not disturbed."""
    second = Daemon(segment.intruder.host, "192.0.2.10", "2001:db8::10", "192.0.2.111")
    for address in ("192.0.2.10", "2001:db8::10"):
        assert second.wait_phase(address, "taken")["taken_by"] == str(segment.ours.mac)
    second.wait_phase("192.0.2.111")
    assert segment.daemon.on("192.0.2.10")["phase"] == "answering"
    assert not segment.daemon.on("192.0.2.10")["conflicts"]
    assert second.stop() == 0
