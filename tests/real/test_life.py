"""The daemon's life: started, asked, given good and bad settings, ended well and badly; and what it may do."""

import json
import os
import resource
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import psutil
import pytest

from arpfast.control import Client, Refused, Request, Unreachable
from lab import Advertisement, Arp, Lab, Mac, Solicitation, wait_until
from lab.waiting import wait_readable
from tests.real.stage import ARPFAST, DEADLINE_S, Daemon, pair, received

CAP_NET_RAW, CAP_BPF = 1 << 13, 1 << 39


class Scene:
    def __init__(self, lab: Lab) -> None:
        self.near, self.far = pair(lab)
        self.settings: dict[str, Any] = {
            "addresses": ["192.0.2.10", "2001:db8::10"],
            "interfaces": ["eth0"],
            "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
            "metrics": "127.0.0.1:9707",
        }
        self.daemon = Daemon(self.far.host, settings=self.settings)
        self.daemon.wait_phase("2001:db8::10")

    def answers(self, address: str) -> bool:
        """Whether the peer resolves the address to us, asking three times."""
        family = "ipv4" if "." in address else "ipv6"
        self.near.host.set({f"net.{family}.neigh.eth0.retrans_time_ms": 100})
        return self.near.host.resolve(address, deadline_s=DEADLINE_S) == self.far.mac

    def http(self, path: str) -> str:
        def get() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:9707{path}", timeout=DEADLINE_S) as answer:
                text: str = answer.read().decode()
                return text

        return self.far.host.call(get)


@pytest.fixture(scope="module")
def scene(_lab_is_possible: None) -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


def threads(pid: int) -> list[dict[str, str]]:
    """/proc/…/status of every thread."""
    return [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]


def test_every_thread_has_dropped_root_and_kept_what_answering_takes(scene: Scene) -> None:
    found = threads(scene.daemon.process.pid)
    assert len(found) >= 2, "the event loop's and the responder's"
    for thread in found:
        assert "0" not in thread["Uid"].split()
        assert "0" not in thread["Gid"].split()
        assert thread["Groups"].split() == []
        for mask in ("CapEff", "CapPrm", "CapBnd"):
            assert int(thread[mask], 16) in {CAP_NET_RAW, CAP_NET_RAW | CAP_BPF}, mask
        assert int(thread["CapInh"], 16) == 0
        assert int(thread["CapAmb"], 16) == 0
        assert thread["NoNewPrivs"].strip() == "1"


def test_it_takes_the_descriptors_that_many_interfaces_need(scene: Scene) -> None:
    limits = Path(f"/proc/{scene.daemon.process.pid}/limits").read_text()
    soft = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(soft) >= min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)


def test_the_control_socket_is_the_daemons_user_s_alone(scene: Scene) -> None:
    found = Path(scene.daemon.control).stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_uid != 0


def test_a_change_is_applied_and_nothing_else_touched(scene: Scene) -> None:
    since = scene.daemon.on("192.0.2.10")["since_unix_s"]
    changed = scene.daemon.change({**scene.settings, "addresses": [*scene.settings["addresses"], "192.0.2.11"]})
    assert (changed["added"], changed["removed"], changed["changed"]) == (1, 0, ["addresses"])
    scene.daemon.wait_phase("192.0.2.11")
    assert scene.answers("192.0.2.11")
    assert abs(scene.daemon.on("192.0.2.10")["since_unix_s"] - since) < 0.01
    changed = scene.daemon.change(scene.settings)
    assert (changed["added"], changed["removed"]) == (0, 1)
    scene.daemon.wait_phase("192.0.2.11", "absent")
    assert not scene.answers("192.0.2.11")


def test_a_reload_that_is_done_is_in_force(scene: Scene) -> None:
    """The very next question is answered by the new settings: here, with the override flag or without."""
    near, mac = scene.near, Mac("02:00:00:00:77:77")
    ask = Solicitation.ask(mac, "2001:db8::77", "2001:db8::10").encode()
    proxied = {**scene.settings, "addresses": ["192.0.2.10"], "proxy": ["2001:db8::10"]}
    with near.host.capture(near) as wire:
        for settings, override in ((proxied, False), (scene.settings, True)) * 5:
            scene.daemon.change(settings)
            wire.clear()
            near.host.inject(near, ask)
            answer = wire.wait_for(received(Advertisement, destination=mac), DEADLINE_S).decoded
            assert isinstance(answer, Advertisement)
            assert answer.override is override


def test_sighup_reloads_too(scene: Scene) -> None:
    scene.daemon.write({**scene.settings, "addresses": [*scene.settings["addresses"], "192.0.2.12"]})
    scene.daemon.reload()
    scene.daemon.wait_phase("192.0.2.12")
    scene.daemon.write(scene.settings)
    scene.daemon.reload()
    scene.daemon.wait_phase("192.0.2.12", "absent")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"addresses": ["192.0.2.10", "192.0.2.300"]}', "192.0.2.300"),
        ('{"adresses": ["192.0.2.10"]}', "addresses"),
        ("addresses: [192.0.2.10\n", ""),
        ("addresses:\n  - 192.0.2.10\n  - 192.0.2.0/24\n", "overlap"),
    ],
)
def test_a_bad_file_leaves_the_settings_in_force_and_says_so(scene: Scene, bad: str, said: str) -> None:
    scene.daemon.write(bad)
    with pytest.raises(Refused) as refused:
        scene.daemon.ask("reload")
    assert str(scene.daemon.path) in str(refused.value)
    assert said in str(refused.value)
    finished = scene.daemon.run("reload", check=False)
    assert finished.status == 1
    assert said in finished.stderr
    for address in scene.settings["addresses"]:
        assert scene.answers(address)
    stale = scene.daemon.ask("status")["config"]["stale"]
    assert stale["errors"]
    assert scene.daemon.events("settings refused, the old ones stay in force")
    shown = scene.daemon.run("status").stdout
    assert "stale" in shown.lower() or "refused" in shown.lower()
    scene.daemon.change(scene.settings)
    assert scene.daemon.ask("status")["config"]["stale"] is None


def test_a_file_that_is_gone_leaves_the_settings_in_force(scene: Scene) -> None:
    scene.daemon.path.unlink()
    with pytest.raises(Refused, match="cannot be read"):
        scene.daemon.ask("reload")
    assert scene.answers("192.0.2.10")
    scene.daemon.change(scene.settings)


def test_another_rate_is_kept_at_once(scene: Scene) -> None:
    pool = "192.0.2.64/27"
    slow = {**scene.settings, "addresses": [*scene.settings["addresses"], pool]}
    scene.daemon.change(slow)
    scene.daemon.wait_phase("192.0.2.95")
    slow["announce"] = {**slow["announce"], "rate": 20}
    assert scene.daemon.change(slow)["needs_restart"] == []
    with scene.near.host.capture(scene.near) as capture:
        scene.daemon.ask("announce", pool)
        capture.wait_for(received(Arp, spa=IPv4Address("192.0.2.95")), DEADLINE_S)
        announced = [frame.time_ns for frame in capture.select(received(Arp, source=scene.far.mac, operation=1))]
    assert (announced[-1] - announced[0]) / 1e9 > 0.8 * 31 / 20
    scene.daemon.change(scene.settings)


def test_what_needs_a_restart_is_named(scene: Scene) -> None:
    changed = scene.daemon.change({**scene.settings, "metrics": "127.0.0.1:9708"})
    assert changed["needs_restart"] == ["metrics"]
    assert scene.daemon.ask("status")["config"]["needs_restart"] == ["metrics"]
    scene.daemon.change(scene.settings)


def test_explain_and_status_tell_the_truth_as_json_and_for_people(scene: Scene) -> None:
    told = json.loads(scene.daemon.run("explain", "192.0.2.10", "--json").stdout)
    assert told["wanted"]
    assert [link["phase"] for link in told["links"] if link["interface"] == "eth0"] == ["answering"]
    assert "answering" in scene.daemon.run("explain", "192.0.2.10").stdout
    told = json.loads(scene.daemon.run("explain", "192.0.2.99", "--json").stdout)
    assert not told["wanted"]
    assert "not among the addresses" in scene.daemon.run("explain", "192.0.2.99").stdout
    before = json.loads(scene.daemon.run("status", "--json").stdout)
    scene.answers("192.0.2.10")
    after = json.loads(scene.daemon.run("status", "--json").stdout)
    assert after["pid"] == scene.daemon.process.pid
    assert after["addresses"] == {"own": 2, "proxied": 0}
    (was,), (now,) = before["links"], after["links"]
    assert now["verdicts"]["reply"] > was["verdicts"]["reply"]
    assert "eth0" in scene.daemon.run("status").stdout


@pytest.mark.parametrize(
    "arguments", [("explain", "nonsense"), ("explain", "192.0.2.0/24"), ("announce", "198.51.100.1")]
)
def test_foolish_questions_get_one_line(scene: Scene, arguments: tuple[str, ...]) -> None:
    finished = scene.daemon.run(*arguments, check=False)
    assert finished.status == 1
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith("arpfast: ")


def test_the_control_socket_survives_what_is_not_a_client(scene: Scene) -> None:
    for nonsense in (
        b"",
        b"\n",
        b"{}\n",
        b"[" * 5000,
        b"\xff" * 100 + b"\n",
        b'{"command": "explode"}\n',
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(scene.daemon.control)
            try:
                client.sendall(nonsense)
                client.shutdown(socket.SHUT_WR)
                client.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert scene.daemon.ask("status")["pid"] == scene.daemon.process.pid


def test_metrics_and_health_are_served(scene: Scene) -> None:
    scene.answers("192.0.2.10")
    metrics = scene.http("/metrics")
    assert 'interface="eth0"' in metrics
    assert scene.http("/healthz")
    assert scene.http("/readyz")


def test_a_second_daemon_on_the_same_socket_is_refused(scene: Scene) -> None:
    finished = scene.far.host.run(
        [ARPFAST, "run", "--control", scene.daemon.control, "192.0.2.99"], check=False, timeout_s=DEADLINE_S
    )
    assert finished.status == 1
    assert str(scene.daemon.process.pid) in finished.stderr
    assert scene.answers("192.0.2.10")


def test_sigterm_ends_it_at_once_silently_and_cleanly(scene: Scene) -> None:
    assert scene.answers("192.0.2.10")
    assert scene.daemon.stop() == 0
    assert not Path(scene.daemon.control).exists()
    for address in ("192.0.2.10", "2001:db8::10"):
        assert not scene.answers(address)
    with pytest.raises(Unreachable):
        scene.daemon.ask("status")
    told = scene.daemon.run("status", check=False)
    assert told.status == 1
    assert "no daemon runs here" in told.stderr
    assert scene.daemon.events("stopped")
    scene.daemon.start()
    scene.daemon.wait_phase("192.0.2.10")
    assert scene.answers("192.0.2.10")


def test_sigkill_leaves_nothing_that_answers_and_a_restart_works(scene: Scene) -> None:
    process = psutil.Process(scene.daemon.process.pid)
    scene.daemon.process.signal(signal.SIGKILL)
    assert scene.daemon.process.wait(DEADLINE_S) == -signal.SIGKILL
    wait_until(lambda: not process.is_running(), DEADLINE_S)
    assert not scene.answers("192.0.2.10")
    assert not scene.answers("2001:db8::10")
    assert Path(scene.daemon.control).exists(), "a stale socket, as a crash leaves it"
    scene.daemon.start()
    scene.daemon.wait_phase("2001:db8::10")
    assert scene.answers("192.0.2.10")
    assert scene.answers("2001:db8::10")


def test_it_answers_on_when_nobody_takes_its_log(scene: Scene) -> None:
    """The reader of the pipe has left: no reason to fall silent, or to leave the socket behind at the end."""
    host = scene.far.host
    control = host.lab.directory / "unheard" / "control.sock"
    reader, writer = os.pipe()
    command = [str(ARPFAST), "run", "-i", "eth0", "--probe", "off", "--control", str(control), "192.0.2.77"]
    unheard = host.call(subprocess.Popen, command, stdout=writer, stderr=writer)
    os.close(writer)
    try:
        assert wait_readable(reader, DEADLINE_S), "it says what it uses"
        os.close(reader)
        unheard.send_signal(signal.SIGHUP)  # which it has to complain about
        assert scene.answers("192.0.2.77")
        with Client(str(control)) as client, pytest.raises(Refused):
            client.ask(Request("reload"))
        with Client(str(control)) as client:
            assert client.ask(Request("status"))["links"]
    finally:
        unheard.send_signal(signal.SIGTERM)
    assert unheard.wait(DEADLINE_S) == 0
    assert not control.exists()


def test_sigint_ends_it_like_sigterm(scene: Scene) -> None:
    scene.daemon.process.signal(signal.SIGINT)
    assert scene.daemon.process.wait(DEADLINE_S) == 0
    scene.daemon.start()


def test_it_starts_without_any_interface_and_where_the_kernel_runs_no_ipv6(scene: Scene) -> None:
    host = scene.far.host.lab.host("bare")
    host.set({"net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1})
    daemon = Daemon(host, "203.0.113.50", "2001:db8:7::50")
    assert daemon.ask("status")["links"] == []
    peer = host.lab.host("visitor")
    near = peer.link(host, peer_name="eth0", addresses=["203.0.113.1/24", "2001:db8:7::1/64"])
    assert near.peer
    for address in ("203.0.113.50", "2001:db8:7::50"):
        daemon.wait_phase(address)
        assert peer.resolve(address, deadline_s=DEADLINE_S) == near.peer.mac
    assert daemon.stop() == 0
