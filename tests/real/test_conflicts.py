"""Somebody else uses an address of ours: a real kernel or a forger. RFC 5227 §2.4 says what may be done about it."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from lab import Advertisement, Arp, Captured, Lab, Link, Mac, Solicitation, State, wait_until
from tests.real.stage import DEADLINE_S, Daemon, received

FORGER = Mac("02:00:00:cc:00:01")
NS = 1_000_000_000
OWN = ["192.0.2.10", "2001:db8::10"]


class Segment:
    """A peer, an intruder and a daemon of each policy, on one switch. Each daemon has addresses of its own."""

    POLICIES = {"defend": 10, "yield": 20, "report": 30}  # noqa: RUF012

    def __init__(self, lab: Lab) -> None:
        switch = lab.switch()
        self.peer = lab.host("peer").link(switch, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        self.intruder = lab.host("intruder").link(switch)
        self.links: dict[str, Link] = {}
        self.daemons: dict[str, Daemon] = {}
        for number, (policy, first) in enumerate(self.POLICIES.items(), 2):
            link = lab.host(policy).link(switch, addresses=[f"192.0.2.{number}/24", f"2001:db8::{number}/64"])
            settings = {
                "addresses": [f"192.0.2.{first}-192.0.2.{first + 9}", f"2001:db8::{first}-2001:db8::{first + 9}"],
                "announce": {"refresh": "off", "repeat": 1, "probe": "off"},
                "conflict": policy,
            }
            self.links[policy] = link
            self.daemons[policy] = Daemon(link.host, settings=settings)
            self.daemons[policy].wait_phase(f"2001:db8::{first}")

    def claim(self, address: str, mac: Mac = FORGER) -> None:
        """Use the address, as another host would say of itself."""
        frame = Advertisement.tell(mac, address) if ":" in address else Arp.request(mac, address, address)
        self.peer.host.inject(self.peer, frame.encode())


@pytest.fixture(scope="module")
def segment(_lab_is_possible: None) -> Iterator[Segment]:
    with Lab() as lab:
        yield Segment(lab)


def announcements(frames: list[Captured], address: str, mac: bytes) -> list[Captured]:
    if ":" in address:
        return list(filter(received(Advertisement, target=IPv6Address(address), source=mac, solicited=False), frames))
    own = IPv4Address(address)
    return list(filter(received(Arp, spa=own, tpa=own, source=mac), frames))


@pytest.mark.parametrize("address", OWN)
def test_a_real_kernel_that_takes_our_address_is_told_once_and_the_peer_keeps_to_us(
    segment: Segment, address: str
) -> None:
    ours, daemon = segment.links["defend"], segment.daemons["defend"]
    assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == ours.mac
    length = 64 if ":" in address else 24
    segment.intruder.add_address(f"{address}/{length}")
    with segment.peer.host.capture(segment.peer) as capture:
        segment.intruder.host.poke("192.0.2.1" if length == 24 else "2001:db8::1")  # asks from the address
        capture.wait_for(lambda _: announcements(capture.frames(), address, ours.mac), DEADLINE_S)
    segment.peer.host.wait_neighbour(address, mac=ours.mac, deadline_s=DEADLINE_S)
    told = daemon.wait_event("another host uses an address of ours", address=address)
    assert (told["mac"], told["interface"], told["policy"]) == (str(segment.intruder.mac), "eth0", "defend")
    assert told["level"] == "warning"
    explained = daemon.on(address)
    assert explained["phase"] == "answering"
    assert [(one["mac"], one["defended"] > 0) for one in explained["conflicts"]] == [(str(segment.intruder.mac), True)]
    segment.intruder.remove_address(f"{address}/{length}")


def test_rfc_5227_2_4_c_no_more_than_one_defence_in_ten_seconds_and_an_admin_told_once(segment: Segment) -> None:
    """Both families at once: claims go on until each address has been defended twice."""
    ours, daemon = segment.links["defend"], segment.daemons["defend"]
    addresses = ["192.0.2.12", "2001:db8::12"]
    with segment.peer.host.capture(segment.peer) as capture:

        def defended_twice() -> bool:
            for address in addresses:
                segment.claim(address)
            return all(len(announcements(capture.frames(), address, ours.mac)) == 2 for address in addresses)

        wait_until(defended_twice, 30, every_ms=100, what="two defences of each")
        frames = capture.frames()
    for address in addresses:
        defences = announcements(frames, address, ours.mac)
        for before, after in pairwise(defences):
            assert after.time_ns - before.time_ns > 9.5 * NS  # what counts is when they were due, not when they left
        assert isinstance(defences[0].decoded, Arp | Advertisement)
        if isinstance(defences[0].decoded, Arp):
            assert defences[0].decoded == Arp.request(ours.mac, address, address), "THA is zero"
        (conflict,) = daemon.on(address)["conflicts"]
        assert (conflict["mac"], conflict["defended"]) == (str(FORGER), 2)
        assert conflict["frames"] > 2
        assert len(daemon.events("another host uses an address of ours", address=address)) == 1
        assert daemon.on(address)["phase"] == "answering"
    assert daemon.ask("status")["conflicts"] >= 4


@pytest.mark.parametrize("address", ["192.0.2.20", "2001:db8::20"])
def test_rfc_5227_2_4_b_one_defence_and_then_the_address_is_given_up(segment: Segment, address: str) -> None:
    ours, daemon = segment.links["yield"], segment.daemons["yield"]
    assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == ours.mac
    with segment.peer.host.capture(segment.peer) as capture:
        segment.claim(address)
        capture.wait_for(lambda _: announcements(capture.frames(), address, ours.mac), DEADLINE_S)
        assert daemon.on(address)["phase"] == "answering"

        def given_up() -> bool:
            segment.claim(address)
            return bool(daemon.on(address)["phase"] == "yielded")

        wait_until(given_up, DEADLINE_S, every_ms=50)
        assert len(announcements(capture.frames(), address, ours.mac)) == 1
        capture.clear()
        silent = daemon.verdicts()
        question = (
            Solicitation.ask(segment.peer.mac, "2001:db8::1", address)
            if ":" in address
            else Arp.request(segment.peer.mac, "192.0.2.1", address)
        )
        segment.peer.host.inject(segment.peer, question.encode())
        other = "192.0.2.25" if "." in address else "2001:db8::25"
        assert segment.peer.host.resolve(other, deadline_s=DEADLINE_S) == ours.mac  # later, so the first was seen
        assert not [
            frame
            for frame in filter(received((Arp, Advertisement), source=ours.mac), capture.frames())
            if address in (str(getattr(frame.decoded, "spa", "")), str(getattr(frame.decoded, "target", "")))
        ]
        assert daemon.verdicts()["reply"] == silent["reply"] + 1
    told = daemon.wait_event("address given up to another host", address=address)
    assert told["mac"] == str(FORGER)
    assert daemon.on(address)["taken_by"] == str(FORGER)


@pytest.mark.parametrize("address", ["192.0.2.30", "2001:db8::30"])
def test_policy_report_tells_and_does_nothing(segment: Segment, address: str) -> None:
    ours, daemon = segment.links["report"], segment.daemons["report"]
    with segment.peer.host.capture(segment.peer) as capture:
        segment.claim(address)
        told = daemon.wait_event("another host uses an address of ours", address=address)
        assert (told["mac"], told["policy"]) == (str(FORGER), "report")
        wait_until(lambda: daemon.on(address)["conflicts"], DEADLINE_S)
        assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == ours.mac  # still answered
        assert not announcements(capture.frames(), address, ours.mac)
    assert daemon.on(address)["conflicts"][0]["defended"] == 0


@pytest.mark.parametrize(
    "frame",
    [
        Arp.reply(FORGER, "192.0.2.13", b"\xff" * 6, "192.0.2.1", destination=b"\xff" * 6),
        Arp.request(FORGER, "192.0.2.14", "192.0.2.15"),
        Solicitation.ask(FORGER, "2001:db8::14", "2001:db8::15"),
    ],
    ids=["an ARP reply from it", "a question from it for another of ours", "a solicitation from it"],
)
def test_rfc_5227_2_4_any_use_is_a_conflict_and_never_an_ordinary_request(
    segment: Segment, frame: Arp | Solicitation
) -> None:
    daemon = segment.daemons["defend"]
    address = str(frame.spa if isinstance(frame, Arp) else frame.ip_source)
    before = daemon.verdicts().get("reply", 0)
    segment.peer.host.inject(segment.peer, frame.encode())
    told = daemon.wait_event("another host uses an address of ours", address=address)
    assert told["mac"] == str(FORGER)
    assert daemon.verdicts().get("reply", 0) == before


def test_a_forger_of_many_addresses_and_macs_costs_little_and_hides_nobody(segment: Segment) -> None:
    """The log does not grow with the forger's diligence, and memory is bounded."""
    daemon = segment.daemons["report"]
    lines = len(daemon.process.lines)
    for batch in range(40):
        segment.peer.host.inject(
            segment.peer,
            *(
                Arp.request(
                    Mac(bytes([2, 0xFE, 0, 0, batch, one])), f"192.0.2.{31 + one % 9}", f"192.0.2.{31 + one % 9}"
                ).encode()
                for one in range(100)
            ),
        )
    wait_until(lambda: daemon.verdicts().get("conflict", 0) >= 4000, DEADLINE_S)
    assert segment.peer.host.resolve("192.0.2.31", deadline_s=DEADLINE_S) == segment.links["report"].mac
    assert len(daemon.process.lines) - lines < 100


def test_after_all_that_the_peer_still_reaches_us(segment: Segment) -> None:
    for address in OWN:
        assert segment.peer.host.resolve(address, deadline_s=DEADLINE_S) == segment.links["defend"].mac
        entry = segment.peer.host.neighbour(address)
        assert entry
        assert entry.state == State.REACHABLE
