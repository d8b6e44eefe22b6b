"""What must not be answered is not, and what is meant to hurt does not: tags, other hosts' frames, nonsense, scans."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import psutil
import pytest

from lab import Advertisement, Arp, Lab, Link, Mac, Solicitation, wait_until
from lab.frames import REPLY, checksum
from lab.generator import Flood
from tests.real.stage import DEADLINE_S, Daemon, pair, received

STRANGER = Mac("02:00:00:dd:00:01")
OWN4, OWN6, LAST4 = "192.0.2.10", "2001:db8::10", "192.0.2.20"


class Scene:
    """The two ends of a cable and the daemon."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = pair(lab)
        settings = {
            "addresses": ["192.0.2.10-192.0.2.29", "2001:db8::10-2001:db8::2f"],
            "proxy": ["2001:db8:0:1::/64"],
            "interfaces": ["eth0"],
            "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
        }
        self.daemon = Daemon(self.far.host, settings=settings)
        self.daemon.wait_phase(OWN6)

    def replies_to(self, *frames: bytes) -> list[Arp | Advertisement]:
        """What is answered to these frames: nothing more comes once a certain answer to a last question has come.

        That one is for the daemon, which gets it behind all that the kernel has answered or left to it: its tag says no
        more than a priority, but programs in the kernel leave tagged frames alone.
        """
        last = replace(Arp.request(STRANGER, "192.0.2.3", LAST4), tags=((0x8100, 0),)).encode()
        with self.near.host.capture(self.near) as capture:
            self.near.host.inject(self.near, *frames, last)
            capture.wait_for(received(Arp, operation=REPLY, tha=STRANGER), DEADLINE_S)
            answers = [frame.decoded for frame in capture.frames() if not frame.outgoing]
        return [
            said
            for said in answers
            if isinstance(said, Arp | Advertisement) and not (isinstance(said, Arp) and str(said.spa) == LAST4)
        ]


@pytest.fixture(scope="module")
def scene(_lab_is_possible: None) -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


def questions(near: Link) -> tuple[Arp, Solicitation]:
    """One correct question a family."""
    return Arp.request(near.mac, "192.0.2.1", OWN4), Solicitation.ask(near.mac, "2001:db8::1", OWN6)


@pytest.mark.parametrize(
    "tags",
    [((0x8100, 7),), ((0x88A8, 7),), ((0x8100, 0xE007),), ((0x88A8, 9), (0x8100, 7)), ((0x88A8, 0), (0x8100, 7))],
    ids=["VLAN 7", "service VLAN 7", "VLAN 7 with priority", "QinQ", "VLAN 7 below priority"],
)
def test_a_frame_of_another_vlan_is_never_answered(scene: Scene, tags: tuple[tuple[int, int], ...]) -> None:
    assert not scene.replies_to(*(replace(question, tags=tags).encode() for question in questions(scene.near)))


def test_ieee_802_1q_6_9_a_priority_tag_is_no_vlan(scene: Scene) -> None:
    """VLAN 0: the frame belongs to the untagged network, and only carries a priority."""
    frames = [replace(question, tags=((0x8100, 0xA000),)).encode() for question in questions(scene.near)]
    answers = scene.replies_to(*frames)
    assert {type(answer) for answer in answers} == {Arp, Advertisement}


def test_other_hosts_unicast_is_not_ours_to_answer(scene: Scene) -> None:
    """A switch that floods, or a port that is mirrored, shows us frames that are meant for others."""
    scene.far.host.netlink("link", "set", index=scene.far.index, flags=0x100, mask=0x100)  # promiscuous
    others = Mac("02:00:00:ee:00:01")
    assert not scene.replies_to(
        Arp.request(scene.near.mac, "192.0.2.1", OWN4, destination=others).encode(),
        Solicitation.ask(scene.near.mac, "2001:db8::1", OWN6, to=others).encode(),
    )
    scene.far.host.netlink("link", "set", index=scene.far.index, flags=0, mask=0x100)


MALFORMED: dict[str, Callable[[Link], bytes]] = {
    "RFC 4861 7.1.1: a hop limit of 254": lambda near: replace(questions(near)[1], hop_limit=254).encode(),
    "RFC 4861 7.1.1: a wrong checksum": lambda near: replace(questions(near)[1], checksum=0xBEEF).encode(),
    "RFC 4861 7.1.1: a checksum of zero": lambda near: replace(questions(near)[1], checksum=0).encode(),
    "RFC 4861 7.1.1: a code": lambda near: replace(questions(near)[1], code=1).encode(),
    "RFC 4861 7.1.1: a multicast target": lambda near: replace(
        questions(near)[1], target=IPv6Address("ff02::1")
    ).encode(),
    "RFC 4861 7.1.1: unspecified to a unicast address": lambda near: Solicitation.ask(
        near.mac, "::", OWN6, to=near.peer.mac if near.peer else b""
    ).encode(),
    "RFC 4861 7.1.1: unspecified with a source option": lambda near: replace(
        Solicitation.ask(near.mac, "::", OWN6), options=((1, bytes(near.mac)),)
    ).encode(),
    "RFC 4861 7.1.1: cut in the target": lambda near: questions(near)[1].encode()[:70],
    "RFC 4861 7.1.1: an option of no length": lambda near: _with_option(near, b"\x01\x00" + near.mac),
    "RFC 4861 7.1.1: an option beyond the end": lambda near: _with_option(near, b"\x01\x09" + near.mac),
    "RFC 4443 2.3: a payload length beyond the frame": lambda near: _patched(questions(near)[1], 18, b"\xff\xff"),
    "an extension header before it": lambda near: _patched(questions(near)[1], 20, b"\x00"),
    "RFC 826: another hardware type": lambda near: _patched(questions(near)[0], 14, b"\x00\x06"),
    "RFC 826: another protocol": lambda near: _patched(questions(near)[0], 16, b"\x86\xdd"),
    "RFC 826: a hardware address of eight bytes": lambda near: _patched(questions(near)[0], 18, b"\x08"),
    "RFC 826: a protocol address of sixteen bytes": lambda near: _patched(questions(near)[0], 19, b"\x10"),
    "RFC 826: an unknown operation": lambda near: _patched(questions(near)[0], 20, b"\x00\x07"),
    "RFC 826: a reverse request": lambda near: _patched(questions(near)[0], 20, b"\x00\x03"),
    "RFC 826: cut in the target": lambda near: questions(near)[0].encode()[:40],
    "a multicast sender": lambda near: _patched(questions(near)[0], 22, b"\x01\x00\x5e"),
    "a broadcast sender": lambda near: _patched(questions(near)[0], 22, b"\xff" * 6),
    "a sender of zeros": lambda near: _patched(questions(near)[0], 22, bytes(6)),
    "an ARP reply that nobody asked for": lambda near: Arp.reply(
        near.mac, "192.0.2.1", near.mac, OWN4, destination=b"\xff" * 6
    ).encode(),
    "an Ethernet header and no more": lambda near: questions(near)[0].encode()[:14],
}


def _patched(question: Arp | Solicitation, at: int, new: bytes) -> bytes:
    frame = bytearray(question.encode())
    frame[at : at + len(new)] = new
    return bytes(frame)


def _with_option(near: Link, option: bytes) -> bytes:
    """The option's own length is what is wrong, so it is put in where a right one was."""
    whole = replace(questions(near)[1], options=((1, bytes(near.mac)),))
    frame = bytearray(whole.encode())
    frame[-8:] = option
    frame[56:58] = bytes(2)
    total = checksum(whole.ip_source, whole.ip_destination, bytes(frame[54:]))
    frame[56:58] = total.to_bytes(2, "big")
    return bytes(frame)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_frames_are_not_answered(scene: Scene, name: str) -> None:
    assert not scene.replies_to(MALFORMED[name](scene.near))


def test_a_flood_of_noise_neither_ends_nor_confuses_it(scene: Scene) -> None:
    """Frames that begin rightly and end anyhow, from a fixed seed."""
    chance = random.Random(5227)
    seeds = [question.encode() for question in questions(scene.near)] + [
        Advertisement.tell(STRANGER, "2001:db8::99").encode()
    ]
    noise = []
    for _ in range(5000):
        frame = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            frame[chance.randrange(12, len(frame))] = chance.randrange(256)
        noise.append(bytes(frame[: chance.randint(14, len(frame))]))
    scene.replies_to(*noise)
    assert scene.daemon.process.alive
    for address in (OWN4, OWN6):
        assert scene.near.host.resolve(address, deadline_s=DEADLINE_S) == scene.far.mac


@pytest.mark.parametrize(
    ("first", "why"), [("2001:db8:0:1::", "a proxied /64"), ("2001:db8:0:9::", "a /64 that is nobody's")]
)
def test_rfc_6583_a_scan_of_a_64_costs_no_memory(scene: Scene, first: str, why: str) -> None:
    """No state for a question: what is resident does not grow with the addresses that are asked for."""
    process = psutil.Process(scene.daemon.process.pid)
    Flood.start(scene.near, first, 1 << 20, seconds=0.2, rate_per_s=20_000).wait()
    before = process.memory_info().rss
    offered = 0
    for _ in range(20):  # on a loaded machine the generator gets less done at a time
        flooded = Flood.start(scene.near, first, 1 << 20, seconds=1.5, rate_per_s=60_000, sources=1000).wait()
        assert flooded.wrong == 0
        assert (flooded.replies > 0) == ("proxied" in why)
        offered += flooded.offered
        if offered > 30_000:
            break
    assert offered > 30_000
    assert process.memory_info().rss - before < 1 << 20, why
    for address in (OWN4, OWN6):
        assert scene.near.host.resolve(address, deadline_s=DEADLINE_S) == scene.far.mac


def test_our_own_kernels_address_is_left_alone(scene: Scene) -> None:
    """The host's own addresses, and what is nobody's, are the kernel's: answered by it once, by us never."""
    answers = scene.replies_to(Arp.request(scene.near.mac, "192.0.2.1", "192.0.2.2").encode())
    assert [str(answer.spa) for answer in answers if isinstance(answer, Arp)] == ["192.0.2.2"]


def test_an_address_that_the_kernel_owns_too_is_answered_with_the_same_mac_and_check_says_so(scene: Scene) -> None:
    scene.far.add_address(f"{LAST4[:-2]}21/24")
    address = f"{LAST4[:-2]}21"
    answers = scene.replies_to(Arp.request(scene.near.mac, "192.0.2.1", address).encode())
    assert {bytes(answer.sha) for answer in answers if isinstance(answer, Arp)} == {bytes(scene.far.mac)}
    wait_until(lambda: scene.daemon.explain(address)["kernel_interfaces"] == ["eth0"], DEADLINE_S)
    assert not scene.daemon.on(address)["conflicts"]
    assert scene.daemon.on(address)["phase"] == "answering"
    arpfast = Path(__file__).parents[2] / ".venv" / "bin" / "arpfast"
    said = scene.far.host.run([arpfast, "check", "-i", "eth0", address], timeout_s=DEADLINE_S, check=False)
    assert address in said.stdout
    scene.far.remove_address(f"{address}/24")
