"""The lab against the kernel: what it promises to tests, and that it leaves nothing behind."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

import lab as lab_package
from lab import Advertisement, Arp, DeadlineError, Host, Lab, Link, ProcessFailed, Solicitation, State, wait_until
from lab.frames import REPLY, solicited_node
from lab.network import NAMES


@pytest.fixture
def pair(lab: Lab) -> tuple[Link, Link]:
    """Two hosts with a cable between them; both ends."""
    near = lab.host("a").link(
        lab.host("b"), addresses=["192.0.2.1/24", "2001:db8::1/64"], peer_addresses=["192.0.2.2/24", "2001:db8::2/64"]
    )
    assert near.peer
    return near, near.peer


def test_lab_is_the_repositorys() -> None:
    root = Path(__file__).parents[2]
    assert Path(lab_package.__file__ or "") == root / "lab" / "__init__.py"
    assert not list((root / "tests").rglob("__init__.py"))


def test_an_injected_solicitation_is_good_enough_for_the_kernel(pair: tuple[Link, Link]) -> None:
    near, far = pair
    with near.host.capture(near) as capture:
        near.host.inject(near, Solicitation.ask(near.mac, "2001:db8::1", "2001:db8::2").encode())
        answer = capture.wait_for(lambda frame: isinstance(frame.decoded, Advertisement))
    assert answer.decoded == Advertisement.tell(
        far.mac, "2001:db8::2", to=near.mac, ip_destination="2001:db8::1", solicited=True
    )


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_hosts_on_a_switch_resolve_each_other(lab: Lab, address: str) -> None:
    a, b, switch = lab.host(), lab.host(), lab.switch()
    a.link(switch, addresses=["192.0.2.1/24", "2001:db8::1/64"])
    far = b.link(switch, addresses=["192.0.2.2/24", "2001:db8::2/64"])
    assert a.resolve(address) == far.mac
    entry = a.neighbour(address)
    assert entry
    assert entry.state == State.REACHABLE
    assert entry.address == ip_address(address)


def test_nobody_answers_for_an_address_that_nobody_has(pair: tuple[Link, Link]) -> None:
    near, _ = pair
    near.host.set({"net.ipv4.neigh.eth0.mcast_solicit": 1, "net.ipv4.neigh.eth0.retrans_time_ms": 10})
    assert near.host.resolve("192.0.2.77") is None


def test_capture_sees_both_directions_and_decodes(pair: tuple[Link, Link]) -> None:
    near, far = pair
    with far.host.capture(far) as capture:
        near.host.resolve("192.0.2.2")
        near.host.resolve("2001:db8::2")
        question = capture.wait_for(lambda frame: isinstance(frame.decoded, Solicitation))
        answer = capture.wait_for(lambda frame: isinstance(frame.decoded, Advertisement))
    assert isinstance(question.decoded, Solicitation)
    assert question.decoded.ip_destination == solicited_node("2001:db8::2")
    assert not question.outgoing
    assert isinstance(answer.decoded, Advertisement)
    assert answer.decoded.target_mac == far.mac
    assert answer.outgoing
    assert answer.time_ns >= question.time_ns


def test_injected_frames_are_taken_by_the_kernel(pair: tuple[Link, Link]) -> None:
    near, far = pair
    with near.host.capture(near) as capture:
        near.host.inject(near, Arp.request(near.mac, "0.0.0.0", "192.0.2.2").encode())
        reply = capture.wait_for(lambda frame: isinstance(frame.decoded, Arp) and frame.decoded.operation == REPLY)
    assert reply.decoded == Arp.reply(far.mac, "192.0.2.2", near.mac, "0.0.0.0")


def test_a_vlan_tag_is_captured_as_it_was_sent(pair: tuple[Link, Link]) -> None:
    near, far = pair
    address = IPv4Address("192.0.2.2")
    tagged = Arp(source=near.mac, sha=near.mac, spa=address, tpa=address, tags=((0x88A8, 9), (0x8100, 7)))
    with far.host.capture(far) as capture:
        near.host.inject(near, tagged.encode())
        seen = capture.wait_for(lambda frame: isinstance(frame.decoded, Arp))
    assert seen.decoded == tagged
    assert seen.data == tagged.encode()


def test_a_capture_that_lost_frames_says_so(pair: tuple[Link, Link]) -> None:
    near, far = pair
    with far.host.capture(far, buffer_bytes=4096) as capture:
        near.host.inject(near, *[Arp.request(near.mac, "192.0.2.1", "192.0.2.2").encode()] * 200)
        with pytest.raises(OSError, match="lost"):
            capture.frames()


def test_cut_takes_the_carrier_and_mend_gives_it_back(pair: tuple[Link, Link]) -> None:
    near, _ = pair
    near.cut()
    assert (near.is_up, near.carrier) == (True, False)
    near.mend()
    assert (near.is_up, near.carrier) == (True, True)
    assert near.host.resolve("192.0.2.2")
    assert near.host.resolve("2001:db8::2")


def test_rename_set_mac_and_move(lab: Lab, pair: tuple[Link, Link]) -> None:
    near, far = pair
    near.rename("uplink")
    near.set_mac("02:00:00:00:00:99")
    assert near.name == "uplink"
    assert far.host.resolve("192.0.2.1") == bytes.fromhex("020000000099")
    elsewhere = lab.host()
    near.move(elsewhere, name="uplink")
    assert near.host is elsewhere
    near.up()
    near.add_address("192.0.2.1/24")
    assert elsewhere.resolve("192.0.2.2") == far.mac


def test_a_bridge_in_a_host_and_a_macvlan(lab: Lab) -> None:
    a, b = lab.host(), lab.host()
    near = a.link(b, peer_addresses=["192.0.2.2/24"])
    bridge = a.bridge("br0", [near], addresses=["192.0.2.1/24"])
    assert b.resolve("192.0.2.1") == bridge.mac
    near.release()
    guest = near.macvlan("mv0", host=lab.host(), mac="02:00:00:00:00:77", addresses=["192.0.2.3/24"])
    assert b.resolve("192.0.2.3") == guest.mac == bytes.fromhex("020000000077")


def test_a_route_leads_through_a_router(lab: Lab) -> None:
    a, router, b = lab.host(), lab.host(), lab.host()
    router.set({"net.ipv4.ip_forward": 1})
    a.link(router, addresses=["192.0.2.1/24"], peer_addresses=["192.0.2.254/24"])
    b.link(router, addresses=["198.51.100.1/24"], peer_addresses=["198.51.100.254/24"])
    a.route("default", via="192.0.2.254")
    b.route("192.0.2.0/24", via="198.51.100.254")
    with b.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        listener.bind(("198.51.100.1", 7))
        listener.settimeout(5)
        sender.sendto(b"through", ("198.51.100.1", 7))
        assert listener.recv(99) == b"through"


def test_duplicate_address_detection_when_asked_for(pair: tuple[Link, Link]) -> None:
    near, far = pair
    near.add_address("2001:db8::2/64", dad=True)
    assert [str(address) for address in wait_until(near.duplicates)] == ["2001:db8::2/64"]
    near.add_address("2001:db8::3/64", dad=True)
    wait_until(lambda: not near.tentative(), what="the kernel to be content")
    assert far.host.resolve("2001:db8::3") == near.mac


def test_a_snooping_switch_with_a_querier_delivers_only_to_members(lab: Lab) -> None:
    switch = lab.switch(snooping=True, querier=True)
    a, member, stranger = (lab.host(name) for name in ("asker", "member", "stranger"))
    asking = a.link(switch)
    joined, other = member.link(switch), stranger.link(switch)
    switch.wait_snooping()
    group = solicited_node("2001:db8::2")
    with member.socket(socket.AF_INET6, socket.SOCK_DGRAM) as join:
        join.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + joined.index.to_bytes(4, sys.byteorder)
        )
        assert joined.peer
        switch.wait_member(joined.peer, group)
        question = Solicitation.ask(asking.mac, asking.link_local, "2001:db8::2").encode()
        with member.capture(joined) as heard, stranger.capture(other) as silent:
            a.inject(asking, question)
            heard.wait_for(lambda frame: frame.data == question)
            a.inject(asking, Arp.request(asking.mac, "192.0.2.1", "192.0.2.2").encode())  # after it, and flooded
            silent.wait_for(lambda frame: isinstance(frame.decoded, Arp))
            assert not silent.select(lambda frame: frame.data == question)


def test_run_tells_what_a_program_said(lab: Lab) -> None:
    host = lab.host()
    finished = host.run(["sh", "-c", "cat; ls /proc/self/ns >/dev/null; echo bad >&2; exit 3"], stdin="in", check=False)
    assert (finished.status, finished.stdout, finished.stderr) == (3, "in", "bad\n")
    with pytest.raises(ProcessFailed, match="status 1"):
        host.run(["false"])
    with pytest.raises(DeadlineError):
        host.run(["sleep", "60"], timeout_s=0.05)


def test_a_program_runs_in_its_hosts_namespace_on_its_cpu(lab: Lab) -> None:
    host = lab.host()
    script = "import os; print(os.stat('/proc/self/ns/net').st_ino, os.sched_getaffinity(0))"
    process = host.spawn([sys.executable, "-c", script], cpus=[0])
    process.wait_for_line(rf"^{host.namespace.inode} \{{0\}}$")
    assert process.wait() == 0
    assert os.stat("/proc/self/ns/net").st_ino != host.namespace.inode  # noqa: PTH116


def test_a_program_is_heard_measured_and_stopped_with_its_children(lab: Lab) -> None:
    process = lab.host().spawn(["sh", "-c", "sleep 60 & echo child $!; echo ready >&2; wait"])
    child = int(process.wait_for_line(r"^child (\d+)$").group(1))
    process.wait_for_line("ready")
    assert process.rss_bytes() > 0
    assert process.cpu_s() >= 0
    assert process.wakeups() >= 0
    with pytest.raises(DeadlineError, match="never"):
        process.wait_for_line("never", 0.01)
    assert process.stop() == -signal.SIGTERM
    wait_until(lambda: not _runs(child), what="the child to end")
    with pytest.raises(ProcessFailed):
        process.wait_for_line("never")


def test_a_named_lab_can_be_entered_by_name_until_it_closes() -> None:
    name = f"lab-test-{os.getpid()}"
    with Lab(named=True) as lab:
        host = lab.host(name)
        assert (NAMES / name).stat().st_ino == host.namespace.inode
        assert lab.directory.is_dir()
    assert not (NAMES / name).exists()
    assert not lab.directory.exists()


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _open_namespaces() -> Iterator[int]:
    """The network namespaces that any thread is in or any process holds open."""
    for link in (*Path("/proc").glob("[0-9]*/task/*/ns/net"), *Path("/proc").glob("[0-9]*/fd/*")):
        with suppress(OSError):
            target = os.readlink(link)  # noqa: PTH115 (such a link leads nowhere)
            if target.startswith("net:["):
                yield int(target[5:-1])


CREATOR = """
import os, sys
from lab import Lab
with Lab(named=True) as lab:
    a, b = lab.host(sys.argv[1]), lab.host(sys.argv[1] + "-b")
    a.link(b)
    b.capture(a.link(b).peer)
    stays = b.link(a, name="gift")
    daemon = "import os; os.fork() and os._exit(0); os.setsid(); os.setuid(65534); print(os.getpid()); os.read(0, 1)"
    process = a.spawn([sys.executable, "-c", daemon], stdin=os.pipe()[0])
    daemon = process.wait_for_line(r"^\\d+$").group()
    print(daemon, lab.directory, a.namespace.inode, b.namespace.inode, flush=True)
    sys.stdin.readline()
    stays.host.netlink("link", "set", index=stays.index, net_ns_pid=int(sys.argv[2]))
    print("moved", flush=True)
    sys.stdin.readline()
"""


def test_nothing_is_left_when_the_creator_is_killed(lab: Lab) -> None:
    """Also not a daemon that forked, left its session and dropped root: what a parent-death signal would miss."""
    witness = lab.host("witness")
    resident = witness.spawn(["sleep", "100"])
    name = f"lab-killed-{os.getpid()}"
    root = Path(__file__).parents[2]
    with Popen(
        [sys.executable, "-c", CREATOR, name, str(resident.pid)], stdin=PIPE, stdout=PIPE, text=True, cwd=root
    ) as creator:
        assert creator.stdin
        assert creator.stdout
        daemon, directory, *inodes = creator.stdout.readline().split()
        creator.stdin.write("\n")
        creator.stdin.flush()
        assert creator.stdout.readline() == "moved\n"
        assert witness.index_of("gift")
        assert _runs(int(daemon))
        assert set(map(int, inodes)) <= set(_open_namespaces())
        creator.kill()
    wait_until(lambda: not _runs(int(daemon)), what="the daemon to be killed")
    wait_until(lambda: not set(map(int, inodes)) & set(_open_namespaces()), what="the namespaces to be let go of")
    wait_until(lambda: not _has(witness, "gift"), what="the kernel to remove the other end of a cable")
    wait_until(lambda: not (NAMES / name).exists() and not Path(directory).exists(), what="names to be removed")


def _has(host: Host, interface: str) -> bool:
    try:
        host.index_of(interface)
    except LookupError:
        return False
    return True
