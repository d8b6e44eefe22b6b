"""What arpfast says of itself: probes, announcements, and questions that prove the path, as captured on the wire."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from itertools import pairwise

import pytest

from lab import Advertisement, Arp, Captured, Lab, Link, Solicitation, State
from lab.frames import ALL_NODES, BROADCAST, NO_MAC, NONCE, UNSPECIFIED, multicast_mac, solicited_node
from tests.real.stage import DEADLINE_S, Daemon, pair, received

OWN4, OWN6 = IPv4Address("192.0.2.10"), IPv6Address("2001:db8::10")
PROXIED = "2001:db8:0:1::/64"
NS = 1_000_000_000


@pytest.fixture(scope="module")
def cable(_lab_is_possible: None) -> Iterator[tuple[Link, Link]]:
    """A router's end, and ours: our default routes lead through it."""
    with Lab() as lab:
        near, far = pair(lab)
        near.host.set({"net.ipv6.conf.all.forwarding": 1})
        far.host.route("default", via="192.0.2.1")
        far.host.route("default", via="2001:db8::1")
        yield near, far


@pytest.fixture(scope="module")
def began(cable: tuple[Link, Link]) -> tuple[Daemon, list[Captured]]:
    """A daemon with the defaults, and all that the peer saw of it until both families were announced twice."""
    near, far = cable
    with near.host.capture(near) as capture:
        settings = {"addresses": [str(OWN4), str(OWN6)], "proxy": [PROXIED], "announce": {"refresh": "off"}}
        daemon = Daemon(far.host, settings=settings)
        capture.wait_for(received(Arp, spa=OWN4, tpa=OWN4), DEADLINE_S, count=2)
        capture.wait_for(received(Advertisement, target=OWN6), DEADLINE_S, count=2)
        near.host.wait_neighbour(OWN4, mac=far.mac, deadline_s=DEADLINE_S)
        frames = capture.frames()
    return daemon, frames


@pytest.fixture
def daemon(began: tuple[Daemon, list[Captured]]) -> Daemon:
    """The one that began."""
    return began[0]


@pytest.fixture
def start(began: tuple[Daemon, list[Captured]]) -> list[Captured]:
    """What was seen of its start."""
    return began[1]


@pytest.fixture
def announced4(start: list[Captured]) -> list[Captured]:
    """The gratuitous requests."""
    return list(filter(received(Arp, spa=OWN4, tpa=OWN4), start))


@pytest.fixture
def announced6(start: list[Captured]) -> list[Captured]:
    """The unsolicited advertisements."""
    return list(filter(received(Advertisement, target=OWN6), start))


def test_rfc_5227_2_1_1_three_probes_with_nothing_but_the_candidate_in_them(
    cable: tuple[Link, Link], start: list[Captured]
) -> None:
    probes = list(filter(received(Arp, spa=IPv4Address(0)), start))
    assert len(probes) == 3
    for probe in probes:
        assert probe.decoded == Arp.request(cable[1].mac, "0.0.0.0", OWN4)
        assert probe.data == Arp.request(cable[1].mac, "0.0.0.0", OWN4).encode()


def test_rfc_5227_2_3_an_announcement_is_a_broadcast_request_from_and_for_the_address(
    cable: tuple[Link, Link], announced4: list[Captured]
) -> None:
    for frame in announced4:
        arp = frame.decoded
        assert arp == Arp.request(cable[1].mac, OWN4, OWN4)
        assert isinstance(arp, Arp)
        assert (arp.destination, arp.tha) == (BROADCAST, NO_MAC)
        assert len(frame.data) == 60
        assert frame.data[42:] == bytes(18)


def test_rfc_5227_2_3_two_announcements_two_seconds_apart(announced4: list[Captured]) -> None:
    assert len(announced4) == 2
    for before, after in pairwise(announced4):
        assert after.time_ns - before.time_ns > 1.5 * NS  # the clock starts when a frame was due, not when it left


def test_rfc_5227_2_3_the_first_announcement_comes_after_the_last_probe(
    start: list[Captured], announced4: list[Captured]
) -> None:
    last_probe = list(filter(received(Arp, spa=IPv4Address(0)), start))[-1]
    assert announced4[0].time_ns - last_probe.time_ns > 0.05 * NS


def test_rfc_4862_5_4_2_a_detection_is_unspecified_to_the_solicited_node_group_without_source_option(
    cable: tuple[Link, Link], start: list[Captured]
) -> None:
    detections = [frame.decoded for frame in filter(received(Solicitation, ip_source=UNSPECIFIED, target=OWN6), start)]
    assert detections
    for asked in detections:
        assert isinstance(asked, Solicitation)
        assert asked.ip_destination == solicited_node(OWN6)
        assert asked.destination == multicast_mac(solicited_node(OWN6))
        assert (asked.hop_limit, asked.checksum, asked.source) == (255, None, cable[1].mac)
        assert {kind for kind, _ in asked.options} <= {NONCE}


def test_rfc_7527_4_1_a_detection_carries_a_nonce(start: list[Captured]) -> None:
    detections = [frame.decoded for frame in filter(received(Solicitation, ip_source=UNSPECIFIED, target=OWN6), start)]
    nonces = {asked.nonce for asked in detections if isinstance(asked, Solicitation)}
    assert None not in nonces
    assert all(any(nonce) and len(nonce) == 6 for nonce in nonces if nonce)


def test_rfc_4861_7_2_6_an_advertisement_is_unsolicited_to_all_nodes_with_override(
    cable: tuple[Link, Link], announced6: list[Captured]
) -> None:
    for frame in announced6:
        told = frame.decoded
        assert told == Advertisement.tell(cable[1].mac, OWN6)
        assert isinstance(told, Advertisement)
        assert (told.override, told.solicited, told.ip_destination, told.hop_limit) == (True, False, ALL_NODES, 255)
        assert told.destination == multicast_mac(ALL_NODES)
        assert told.checksum is None, "the checksum is right"
        assert told.target_mac == cable[1].mac


def test_rfc_4861_7_2_6_at_most_three_a_second_apart(announced6: list[Captured]) -> None:
    assert 1 <= len(announced6) <= 3
    for before, after in pairwise(announced6):
        assert after.time_ns - before.time_ns > 1 * NS


def test_rfc_3810_groups_are_joined_before_the_detection_leaves(start: list[Captured]) -> None:
    """RFC 4862 §5.4.2: a snooping switch must know of the group before the question can be heard by anyone."""
    group = solicited_node(OWN6).packed
    report = next(frame for frame in start if not frame.outgoing and frame.data[20] == 0 and group in frame.data[54:])
    first = next(filter(received(Solicitation, ip_source=UNSPECIFIED, target=OWN6), start))
    assert report.time_ns <= first.time_ns


def test_a_router_confirms_and_has_an_entry_that_no_announcement_makes(
    cable: tuple[Link, Link], start: list[Captured]
) -> None:
    """A request from the address to the router's own creates its entry; a gratuitous one does not (arp_accept=0)."""
    near, far = cable
    asks = list(filter(received(Arp, spa=OWN4, tpa=IPv4Address("192.0.2.1")), start))
    assert asks
    assert asks[0].decoded == Arp.request(far.mac, OWN4, "192.0.2.1")
    for address in (OWN4, OWN6):
        entry = near.host.neighbour(address)
        assert entry
        assert entry.mac == far.mac
        assert entry.state & (State.STALE | State.DELAY | State.REACHABLE | State.PROBE)


def test_explain_says_which_router_confirmed(cable: tuple[Link, Link], daemon: Daemon) -> None:
    for address in (OWN4, OWN6):
        confirmed = daemon.on(str(address))["confirmed"]
        assert [one["mac"] for one in confirmed] == [str(cable[0].mac)]
        assert confirmed[0]["confirmed_ms"] >= 0


def test_a_router_is_solicited_from_the_address_with_the_source_option(
    cable: tuple[Link, Link], start: list[Captured]
) -> None:
    asked = next(filter(received(Solicitation, ip_source=OWN6), start)).decoded
    assert asked == Solicitation.ask(cable[1].mac, OWN6, "2001:db8::1")


def test_nothing_is_said_of_a_proxied_prefix(start: list[Captured]) -> None:
    said = [frame.decoded for frame in start if not frame.outgoing]
    targets = {frame.target for frame in said if isinstance(frame, Advertisement | Solicitation)}
    assert OWN6 in targets
    assert not [target for target in targets if target in IPv6Network(PROXIED)]


def test_all_that_is_said_is_well_formed(start: list[Captured]) -> None:
    for frame in start:
        if not frame.outgoing and isinstance(frame.decoded, Advertisement | Solicitation):
            assert frame.decoded.hop_limit == 255
            assert frame.decoded.checksum is None
            assert frame.decoded.code == 0


def test_the_command_announces_again(cable: tuple[Link, Link], daemon: Daemon) -> None:
    near, _ = cable
    with near.host.capture(near) as capture:
        daemon.run("announce", str(OWN4))
        daemon.run("announce", str(OWN6))
        capture.wait_for(received(Arp, spa=OWN4, tpa=OWN4), DEADLINE_S)
        capture.wait_for(received(Advertisement, target=OWN6), DEADLINE_S)


def test_an_announcement_updates_the_peers_entry(cable: tuple[Link, Link], daemon: Daemon) -> None:
    near, far = cable
    for address in (OWN4, OWN6):
        near.host.netlink("neigh", "replace", dst=str(address), ifindex=near.index, lladdr="02:00:00:00:00:99",
                          state=int(State.STALE))  # fmt: skip
        daemon.run("announce", str(address))
        near.host.wait_neighbour(address, mac=far.mac, deadline_s=DEADLINE_S)
