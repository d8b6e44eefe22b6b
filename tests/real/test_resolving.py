"""A real kernel asks, and its neighbour table says whether the answer was right; so do the tools that people use."""

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from lab import Advertisement, Arp, Lab, Link, Mac, Solicitation, State, wait_until
from lab.frames import ALL_NODES, REPLY, multicast_mac
from tests.real.stage import DEADLINE_S, Daemon, pair, received, sent

OWN = ["192.0.2.10", "2001:db8::10"]
PROXIED = "2001:db8:0:1::/64"


@pytest.fixture(scope="module")
def cable(_lab_is_possible: None) -> Iterator[tuple[Link, Link]]:
    """The peer's end and ours."""
    with Lab() as lab:
        near, far = pair(lab)
        near.host.route("2001:db8:0:1::/64", link=near)
        near.add_address("2001:db8:0:1::1/64")
        yield near, far


@pytest.fixture(scope="module", autouse=True)
def daemon(cable: tuple[Link, Link]) -> Daemon:
    settings = {
        "addresses": ["192.0.2.10-192.0.2.29", "2001:db8::10-2001:db8::2f", "2001:db8:0:1::77"],
        "proxy": ["192.0.2.128/26", PROXIED],
        "interfaces": ["eth0"],
        "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
    }
    daemon = Daemon(cable[1].host, settings=settings)
    daemon.wait_phase("2001:db8::10")
    return daemon


@pytest.fixture
def near(cable: tuple[Link, Link]) -> Link:
    """The peer's end."""
    return cable[0]


@pytest.fixture
def far(cable: tuple[Link, Link]) -> Link:
    """Our end."""
    return cable[1]


@pytest.mark.parametrize("address", [*OWN, "192.0.2.29", "2001:db8::2f", "192.0.2.130", "2001:db8:0:1::1234"])
def test_a_peer_resolves_what_no_kernel_owns(near: Link, far: Link, address: str) -> None:
    assert near.host.resolve(address, deadline_s=DEADLINE_S) == far.mac
    entry = near.host.neighbour(address)
    assert entry
    assert entry.state == State.REACHABLE


@pytest.mark.parametrize("address", ["192.0.2.9", "192.0.2.30", "2001:db8::f", "2001:db8::30"])
def test_the_addresses_next_to_ours_are_nobodys(near: Link, address: str) -> None:
    family = "ipv4" if "." in address else "ipv6"
    near.host.set({f"net.{family}.neigh.eth0.mcast_solicit": 1, f"net.{family}.neigh.eth0.retrans_time_ms": 50})
    assert near.host.resolve(address, deadline_s=DEADLINE_S) is None
    near.host.set({f"net.{family}.neigh.eth0.mcast_solicit": 3, f"net.{family}.neigh.eth0.retrans_time_ms": 1000})


@pytest.mark.parametrize("address", OWN)
def test_rfc_4861_7_3_a_unicast_reachability_probe_keeps_the_entry_alive(near: Link, far: Link, address: str) -> None:
    near.host.resolve(address, deadline_s=DEADLINE_S)
    with near.host.capture(near) as capture:
        near.host.netlink(
            "neigh", "change", dst=address, ifindex=near.index, lladdr=str(far.mac), state=int(State.PROBE)
        )
        near.host.wait_neighbour(address, mac=far.mac, state=State.REACHABLE, deadline_s=DEADLINE_S)
        asked = [frame.decoded for frame in capture.select(sent((Arp, Solicitation)))]
    assert [frame.destination for frame in asked if frame] == [far.mac], "the kernel asked by unicast, once"


def test_rfc_4861_7_2_3_a_unicast_solicitation_without_source_option_is_answered_to_the_frames_source(
    near: Link, far: Link
) -> None:
    question = Solicitation.ask(near.mac, "2001:db8::1", "2001:db8::10", to=far.mac, slla=None)
    with near.host.capture(near) as capture:
        near.host.inject(near, question.encode())
        answer = capture.wait_for(received(Advertisement), DEADLINE_S).decoded
    assert answer == Advertisement.tell(
        far.mac, "2001:db8::10", to=near.mac, ip_destination="2001:db8::1", solicited=True
    )


def test_rfc_4861_7_2_4_an_own_address_is_advertised_from_itself_with_override(near: Link, far: Link) -> None:
    with near.host.capture(near) as capture:
        near.host.inject(near, Solicitation.ask(near.mac, near.link_local, "2001:db8::11").encode())
        answer = capture.wait_for(received(Advertisement), DEADLINE_S)
    assert answer.decoded == Advertisement.tell(
        far.mac, "2001:db8::11", to=near.mac, ip_destination=near.link_local, solicited=True
    )
    assert len(answer.data) == 86


def test_rfc_4861_7_2_8_a_proxied_address_is_advertised_from_our_link_local_address_without_override(
    near: Link, far: Link
) -> None:
    with near.host.capture(near) as capture:
        near.host.inject(near, Solicitation.ask(near.mac, near.link_local, "2001:db8:0:1::99").encode())
        answer = capture.wait_for(received(Advertisement), DEADLINE_S)
    assert answer.decoded == Advertisement.tell(
        far.mac, "2001:db8:0:1::99", to=near.mac, ip_destination=near.link_local, source=far.link_local,
        solicited=True, override=False,
    )  # fmt: skip


def test_rfc_4861_7_2_8_a_real_holder_beats_the_proxy(near: Link, far: Link) -> None:
    """O=0: who has the address itself says so with O=1, and the neighbour believes that one."""
    address = "2001:db8:0:1::abcd"
    assert near.host.resolve(address, deadline_s=DEADLINE_S) == far.mac
    holder = Mac("02:00:00:aa:aa:01")
    far.host.inject(far, Advertisement.tell(holder, address).encode())
    near.host.wait_neighbour(address, mac=holder, deadline_s=DEADLINE_S)
    with near.host.capture(near) as capture:
        far.host.inject(far, Advertisement.tell(far.mac, address, override=False).encode())
        capture.wait_for(received(Advertisement, source=far.mac), DEADLINE_S)
    entry = near.host.neighbour(address)
    assert entry
    assert entry.mac == holder


def test_an_own_address_inside_a_proxied_prefix_is_own(near: Link, far: Link) -> None:
    with near.host.capture(near) as capture:
        near.host.inject(near, Solicitation.ask(near.mac, near.link_local, "2001:db8:0:1::77").encode())
        answer = capture.wait_for(received(Advertisement, target=IPv6Address("2001:db8:0:1::77")), DEADLINE_S).decoded
    assert isinstance(answer, Advertisement)
    assert answer.override
    assert answer.ip_source == answer.target


def test_rfc_4861_4_4_the_router_flag_follows_the_kernels_forwarding(near: Link, far: Link, daemon: Daemon) -> None:
    question = Solicitation.ask(near.mac, near.link_local, "2001:db8::12").encode()
    for forwarding in (1, 0):
        far.host.set({"net.ipv6.conf.all.forwarding": forwarding})
        with near.host.capture(near) as capture:

            def is_told(expected: bool = bool(forwarding)) -> bool:
                near.host.inject(near, question)
                last = capture.wait_for(received(Advertisement), DEADLINE_S).decoded
                capture.clear()
                assert isinstance(last, Advertisement)
                return last.router is expected

            wait_until(is_told, DEADLINE_S, what=f"R={forwarding}", every_ms=20)


def test_rfc_4862_5_4_duplicate_detection_by_others_is_answered_to_all_nodes(near: Link, far: Link) -> None:
    question = Solicitation.ask(near.mac, "::", "2001:db8::13", nonce=b"\1\2\3\4\5\6")
    with near.host.capture(near) as capture:
        near.host.inject(near, question.encode())
        answer = capture.wait_for(received(Advertisement), DEADLINE_S).decoded
    assert answer == Advertisement.tell(far.mac, "2001:db8::13")
    assert isinstance(answer, Advertisement)
    assert answer.destination == multicast_mac(ALL_NODES)


def test_rfc_5227_2_6_a_probe_is_answered(near: Link, far: Link) -> None:
    with near.host.capture(near) as capture:
        near.host.inject(near, Arp.request(near.mac, "0.0.0.0", "192.0.2.10").encode())
        answer = capture.wait_for(received(Arp, operation=REPLY), DEADLINE_S)
    assert answer.decoded == Arp.reply(far.mac, "192.0.2.10", near.mac, "0.0.0.0")
    assert len(answer.data) == 60


def test_rfc_826_the_reply_goes_to_the_requesters_hardware_address(near: Link, far: Link) -> None:
    with near.host.capture(near) as capture:
        near.host.inject(near, Arp.request(near.mac, "192.0.2.1", "192.0.2.11", destination=far.mac).encode())
        answer = capture.wait_for(received(Arp, operation=REPLY), DEADLINE_S)
    assert answer.decoded == Arp.reply(far.mac, "192.0.2.11", near.mac, "192.0.2.1")
    assert answer.data[42:] == bytes(18), "padding holds nothing of the request or of our memory"


def test_a_proxied_prefix_neither_defends_nor_answers_probes(near: Link) -> None:
    """RFC 5227 leaves probing to who wants to use the address: a proxy must not keep it from a host that comes."""
    with near.host.capture(near) as capture:
        near.host.inject(
            near,
            Arp.request(near.mac, "0.0.0.0", "192.0.2.140").encode(),
            Arp.request(near.mac, "192.0.2.140", "192.0.2.140").encode(),
            Arp.request(near.mac, "192.0.2.1", "192.0.2.10").encode(),
        )
        first = capture.wait_for(received(Arp, operation=REPLY), DEADLINE_S).decoded
    assert isinstance(first, Arp)
    assert str(first.spa) == "192.0.2.10"


def test_arping_gets_an_answer(near: Link, far: Link) -> None:
    said = near.host.run(["arping", "-c", "2", "-w", "10", "-i", "eth0", "192.0.2.10"], timeout_s=DEADLINE_S).stdout
    assert str(far.mac) in said
    assert "2 packets received" in said


def test_arping_finds_one_answer_only_and_a_probe_answered(near: Link, far: Link) -> None:
    duplicates = ["arping", "-d", "-c", "2", "-w", "10", "-i", "eth0", "192.0.2.12"]
    near.host.run(duplicates, timeout_s=DEADLINE_S)  # status 1 if two MACs had answered
    probe = near.host.run(["arping", "-0", "-c", "1", "-w", "10", "-i", "eth0", "192.0.2.12"], timeout_s=DEADLINE_S)
    assert str(far.mac) in probe.stdout


def test_ndisc6_gets_an_answer(near: Link, far: Link) -> None:
    said = near.host.run(["ndisc6", "-1", "-n", "2001:db8::10", "eth0"], timeout_s=DEADLINE_S).stdout
    assert f"Target link-layer address: {str(far.mac).upper()}" in said
    assert "from 2001:db8::10" in said


def test_explain_says_who_asked_last(near: Link, daemon: Daemon) -> None:
    stranger = Mac("02:00:00:bb:00:01")
    near.host.inject(near, Arp.request(stranger, "192.0.2.1", "192.0.2.20").encode())
    asked = wait_until(lambda: daemon.explain("192.0.2.20")["last_asked"], DEADLINE_S)
    assert (asked["mac"], asked["interface"]) == (str(stranger), "eth0")
