"""The kernel answers: seen from the wire and by `status`, and when the daemon is stopped, killed or replaced."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from arpfast import keeping
from arpfast.answer import Link as Identity
from arpfast.answer import Table
from arpfast.bpf.answering import Attachment, Way
from arpfast.bpf.programs import Filter
from arpfast.spans import Spans
from lab import Arp, Lab, Link, wait_until
from lab.frames import REPLY
from lab.generator import Flood
from tests.real.in_kernel import Kernel
from tests.real.stage import DEADLINE_S, Daemon, pair, received

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arpfast.config import Backend

KERNEL: list[Backend] = ["xdp", "xdp-generic", "tc"]
OWN4, OWN6, PROXY4, PROXY6 = "192.0.2.10", "2001:db8::10", "192.0.2.77", "2001:db8::2:77"
SETTINGS = {
    "addresses": [OWN4, "192.0.2.128/26", OWN6],
    "proxy": ["192.0.2.64/27", "2001:db8::2:0/112"],
    "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
    "metrics": "127.0.0.1:9707",
}


class Stranger:
    """An XDP program of somebody else's that passes everything: a veth's other end needs one, or it is in our way."""

    def __init__(self, link: Link) -> None:
        self.programs = Filter(answers=True)
        self.attached = link.host.call(Attachment, self.programs.answer_program(True), link.index, Way.NATIVE)

    def close(self) -> None:
        self.attached.close()
        self.programs.close()


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    """What is kept for a restart goes with the interface that it is on."""
    yield
    if keeping.is_mounted():
        wait_until(_cleared, DEADLINE_S, what="all links to be gone")


def _cleared() -> bool:
    keeping.clear()
    return not list(keeping.MOUNTED.glob("arpfast/*"))


@pytest.fixture
def bare(lab: Lab) -> tuple[Link, Link]:
    """For floods, which bring a program of their own to the near end."""
    return pair(lab)


@pytest.fixture
def cable(lab: Lab) -> Iterator[tuple[Link, Link]]:
    near, far = pair(lab)
    near.host.set({f"net.ipv{version}.neigh.eth0.retrans_time_ms": 100 for version in (4, 6)})
    program = Stranger(near)
    yield near, far
    program.close()


def start(far: Link, backend: Backend, **settings: Any) -> Daemon:
    daemon = Daemon(far.host, "-i", far.name, "--backend", backend, settings=SETTINGS | settings)
    daemon.wait_phase(OWN6, interface=far.name)
    return daemon


def in_kernel(daemon: Daemon, interface: str = "eth0") -> int:
    return int(daemon.link(interface)["in_kernel"])


@pytest.mark.parametrize("backend", KERNEL)
def test_every_kind_of_address_is_answered_by_the_kernel(cable: tuple[Link, Link], backend: Backend) -> None:
    near, far = cable
    daemon = start(far, backend)
    for address in (OWN4, OWN6, PROXY4, PROXY6):
        before = in_kernel(daemon)
        assert near.host.resolve(address, deadline_s=DEADLINE_S) == far.mac
        assert in_kernel(daemon) > before
        assert daemon.explain(address)["last_asked"]["mac"] == str(near.mac)
    told = daemon.link()
    assert (told["backend"], told["why"]) == (backend, "")
    assert told["verdicts"]["reply"] == told["in_kernel"]
    assert daemon.stop() == 0
    near.host.forget()
    with near.host.capture(near) as capture:
        near.host.poke(OWN4)
        capture.wait_for(lambda frame: frame.outgoing and isinstance(frame.decoded, Arp))
        assert not capture.select(received(Arp, operation=REPLY))


@pytest.mark.parametrize("backend", KERNEL)
def test_a_question_of_another_vlan_is_not_answered(cable: tuple[Link, Link], backend: Backend) -> None:
    near, far = cable
    start(far, backend)
    with near.host.capture(near) as capture:
        tagged = replace(Arp.request(near.mac, "192.0.2.1", OWN4), tags=((0x8100, 7),)).encode()
        plain = Arp.request(near.mac, "192.0.2.1", PROXY4).encode()
        near.host.inject(near, tagged, plain)
        capture.wait_for(received(Arp, operation=REPLY, spa=IPv4Address(PROXY4)))
        assert not capture.select(received(Arp, operation=REPLY, spa=IPv4Address(OWN4)))


def test_auto_takes_what_does_no_harm_and_says_why(cable: tuple[Link, Link]) -> None:
    _, far = cable
    daemon = start(far, "auto")
    told = daemon.link()
    assert told["backend"] == "tc"
    assert "xdp: a veth drops what XDP sends" in told["why"]
    assert "eth0: tc, since xdp: a veth" in daemon.run("status").stdout


def test_a_strangers_program_stays_where_it_is(cable: tuple[Link, Link]) -> None:
    near, far = cable
    stranger = Stranger(far)
    daemon = start(far, "xdp")
    told = daemon.link()
    assert (told["backend"], told["why"]) == ("raw", "xdp: another XDP program is there")
    assert near.host.resolve(OWN4, deadline_s=DEADLINE_S) == far.mac
    daemon.stop()
    assert stranger.attached.holds()
    daemon = Daemon(far.host, "--backend", "auto", settings=SETTINGS)
    daemon.wait_phase(OWN6)
    assert daemon.link()["backend"] == "tc"
    stranger.close()


@pytest.mark.parametrize("backend", ["xdp", "tc"])
def test_a_frozen_daemon_is_answered_for_until_its_term_is_over(cable: tuple[Link, Link], backend: Backend) -> None:
    near, far = cable
    daemon = start(far, backend)
    before = in_kernel(daemon)
    daemon.process.signal(signal.SIGSTOP)

    def answered() -> bool:
        with near.host.capture(near) as capture:
            near.host.inject(near, Arp.request(near.mac, "192.0.2.1", OWN4).encode())
            near.host.inject(near, Arp.request(near.mac, "192.0.2.1", "192.0.2.2").encode())
            # the kernel's own, which is asked after it
            capture.wait_for(received(Arp, operation=REPLY, spa=IPv4Address("192.0.2.2")))
            return bool(capture.select(received(Arp, operation=REPLY, spa=IPv4Address(OWN4))))

    wait_until(lambda: not answered(), DEADLINE_S, what="the term to be over")
    daemon.process.signal(signal.SIGCONT)
    wait_until(answered, DEADLINE_S, what="it to answer again")
    wait_until(lambda: in_kernel(daemon) > before, DEADLINE_S, what="the kernel to have answered")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait(DEADLINE_S)
    assert not answered(), "what is not kept goes with the process"


@pytest.mark.parametrize("backend", ["xdp", "tc"])
def test_nothing_is_missed_over_kill_and_restart(bare: tuple[Link, Link], backend: Backend) -> None:
    """Killed, started anew, probing all that it answers for; ended as for an upgrade, and started again."""
    near, far = bare
    settings = SETTINGS | {"restart": "60s", "announce": {"probe": "quick", "repeat": 1}}
    daemon = start(far, backend, **settings)
    flood = Flood.start(near, OWN4, 1, seconds=60, rate_per_s=1000, engine="socket")
    wait_until(lambda: in_kernel(daemon) > 100, DEADLINE_S, what="the flood to arrive")
    for end in (signal.SIGKILL, signal.SIGTERM):
        daemon.process.signal(end)
        daemon.process.wait(DEADLINE_S)
        daemon.start()
        daemon.wait_phase(OWN6)
        wait_until(lambda: in_kernel(daemon) > 100, DEADLINE_S, what="the new run to have taken over")
        assert daemon.link()["backend"] == backend
        daemon.change(settings | {"addresses": [OWN4, OWN6, "192.0.2.11"]})
        daemon.wait_phase("192.0.2.11")
        daemon.write(settings)
    assert daemon.link()["backend"] == backend
    flooded = flood.stop()
    assert flooded.replies == flooded.offered


@pytest.mark.parametrize("backend", ["xdp", "tc"])
def test_nothing_is_missed_over_reloads(bare: tuple[Link, Link], backend: Backend) -> None:
    near, far = bare
    daemon = start(far, backend)
    flood = Flood.start(near, "192.0.2.128", 64, seconds=60, rate_per_s=1000, engine="socket")
    for last in range(200, 212):
        daemon.change(SETTINGS | {"addresses": [*SETTINGS["addresses"], f"192.0.2.{last}"]})
    flooded = flood.stop()
    assert flooded.replies == flooded.offered
    assert in_kernel(daemon) >= flooded.replies
    daemon.wait_phase("192.0.2.211")


# Devices


def test_an_interface_that_is_made_anew_is_answered_on_by_the_kernel_again(lab: Lab) -> None:
    """Also after privileges were dropped: a link needs CAP_BPF, which is kept."""
    near, far = pair(lab)
    daemon = start(far, "tc", restart="60s", interfaces=["eth0"])
    for _ in range(2):
        assert near.host.resolve(OWN4, deadline_s=DEADLINE_S) == far.mac
        assert in_kernel(daemon) > 0
        far.delete()
        wait_until(lambda: not daemon.link(), DEADLINE_S, what="the interface to be gone")
        near = near.host.link(far.host, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        assert near.peer
        far = near.peer
        daemon.wait_phase(OWN6, interface="eth0")
        wait_until(lambda: daemon.link().get("backend") == "tc", DEADLINE_S, what="the kernel to answer")


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
@pytest.mark.parametrize("backend", ["auto", "xdp-generic"])
def test_devices_upon_devices(lab: Lab, kind: str, backend: Backend) -> None:
    near, host = lab.host("peer"), lab.host("arpfast")
    cable = near.link(host, addresses=["192.0.2.1/24", "2001:db8::1/64"])
    assert cable.peer
    addresses = ["192.0.2.2/24", "2001:db8::2/64"]
    if kind == "bridge":
        link = host.bridge("upper0", [cable.peer], addresses=addresses)
    else:
        link = cable.peer.macvlan("upper0", addresses=addresses)
    daemon = start(link, backend)
    for address in (OWN4, OWN6, PROXY4, PROXY6):
        assert near.resolve(address, deadline_s=DEADLINE_S) == link.mac
    told = daemon.link("upper0")
    assert told["backend"] == ("tc" if backend == "auto" else backend)
    assert told["verdicts"]["reply"] == told["in_kernel"] > 0


def test_a_classifier_answers_where_tc_has_no_links(lab: Lab) -> None:
    """As before Linux 6.6; whoever comes next replaces one that was left."""
    near, far = pair(lab)
    for _ in range(2):
        kernel = Kernel(Way.TC, far.index)
        kernel.sit(Identity(bytes(far.mac)), Table(own=Spans.parse(OWN4)))
        attached = far.host.call(partial(Attachment, kernel.program, far.index, Way.TC, classify=True))
        assert attached.holds()
        assert near.host.resolve(OWN4, deadline_s=DEADLINE_S) == far.mac
        kernel.close()
    far.host.call(attached.close)
    near.host.set({"net.ipv4.neigh.eth0.retrans_time_ms": 50})
    assert near.host.resolve(OWN4, deadline_s=DEADLINE_S) is None
