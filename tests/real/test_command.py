"""The whole command on a real kernel: it starts, answers, tells, reloads, and leaves as it should."""

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from arpfast.privileges import Capability
from lab import Arp, Capture, Finished, Host, Lab, Link, Process, wait_until
from lab.frames import REQUEST
from lab.waiting import DEADLINE_S

ARPFAST = Path(__file__).parents[2] / ".venv" / "bin" / "arpfast"
PORT = 9707


class Stage:
    """A neighbour and a host with arpfast on it, one cable between them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.neighbour, self.host = lab.host("neighbour"), lab.host("host")
        self.near = self.neighbour.link(
            self.host,
            addresses=["192.0.2.1/24", "2001:db8::1/64"],
            peer_addresses=["192.0.2.2/24", "2001:db8::2/64"],
        )
        assert self.near.peer
        self.eth0: Link = self.near.peer
        self.file = folder / "arpfast.yaml"
        self.control = folder / "run" / "control.sock"

    def start(self, *arguments: str, **environment: str) -> Process:
        process = self.spawn(*arguments, **environment)
        process.wait_for_line("started", 15)
        return process

    def spawn(self, *arguments: str, **environment: str) -> Process:
        return self.host.spawn([ARPFAST, "run", *arguments], environment={**self.environment, **environment})

    @property
    def environment(self) -> dict[str, str]:
        return {"ARPFAST_CONTROL": str(self.control)}

    def run(self, *arguments: str, host: Host | None = None, **environment: str) -> Finished:
        return (host or self.host).run(
            [ARPFAST, *arguments], environment={**self.environment, **environment}, check=False, timeout_s=30
        )

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.status == 0, done
        return json.loads(done.stdout)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        self.file.chmod(0o644)

    def http(self, request: bytes, *, port: int = PORT) -> bytes:
        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(request)
                said = b""
                with suppress(ConnectionError):
                    while chunk := client.recv(65536):
                        said += chunk
                return said

        return self.host.call(ask)

    def get(self, path: str) -> tuple[int, str]:
        head, _, body = self.http(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    # Not tmp_path: pytest keeps that to root, and the daemon has to reach its files as nobody
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Stage(lab, Path(folder))


def end(process: Process) -> None:
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0, process.output


def announcements(capture: Capture, address: str) -> int:
    return len(
        capture.select(
            lambda frame: (
                isinstance(a := frame.decoded, Arp) and a.operation == REQUEST and str(a.spa) == str(a.tpa) == address
            )
        )
    )


def test_from_start_to_end(stage: Stage) -> None:
    process = stage.start("192.0.2.10", "2001:db8::10", "-i", "eth*", "-i", "nosuch0")
    warned = process.wait_for_line('"no such interface so far"', DEADLINE_S).string
    assert '"interfaces":"nosuch0","there":"eth0"' in warned
    for address in ("192.0.2.10", "2001:db8::10"):
        wait_until(lambda address=address: stage.ask("explain", address)["links"][1]["phase"] == "answering")  # type: ignore[misc]
        assert stage.neighbour.resolve(address) == stage.eth0.mac
    status = stage.ask("status")
    assert (status["pid"], status["ready"], status["addresses"]["own"]) == (process.pid, True, 2)
    (link,) = status["links"]
    assert (link["interface"], link["answering"]) == ("eth0", 2)
    assert link["verdicts"]["reply"] >= 2
    assert "eth0" in stage.run("status").stdout
    assert stage.control.stat().st_mode & 0o777 == 0o600
    end(process)
    assert not stage.control.exists()
    stage.neighbour.forget()
    assert stage.neighbour.resolve("192.0.2.10") is None


def test_explain(stage: Stage) -> None:
    process = stage.start("--probe", "off", "192.0.2.10")
    assert stage.neighbour.resolve("192.0.2.10") == stage.eth0.mac
    told = stage.ask("explain", "192.0.2.10")
    assert told["last_asked"]["mac"] == str(stage.near.mac)
    assert told["last_asked"]["interface"] == "eth0"
    text = stage.run("explain", "192.0.2.10").stdout
    assert "192.0.2.10 is answered on eth0" in text
    assert f"last asked by {stage.near.mac} on eth0" in text
    assert "not among the addresses to answer for" in stage.run("explain", "192.0.2.99").stdout
    refused = stage.run("explain", "192.0.2.0/24")
    assert (refused.status, refused.stderr) == (1, "arpfast: expected a single address, not '192.0.2.0/24'\n")
    zoned = stage.run("explain", "fe80::1%eth0")
    assert (zoned.status, zoned.stderr) == (1, "arpfast: expected a single address, not 'fe80::1%eth0'\n")
    end(process)


def test_explain_says_who_has_the_address(stage: Stage) -> None:
    stage.near.add_address("192.0.2.10/24")
    process = stage.start("192.0.2.10")
    process.wait_for_line("in use by another host", 10)
    told = stage.ask("explain", "192.0.2.10")
    (link,) = [link for link in told["links"] if link["interface"] == "eth0"]
    assert (link["phase"], link["taken_by"]) == ("taken", str(stage.near.mac))
    text = stage.run("explain", "192.0.2.10").stdout
    assert "192.0.2.10 is not answered" in text
    assert f"{stage.near.mac} uses it" in text
    end(process)


def test_announce(stage: Stage) -> None:
    process = stage.start("--probe", "off", "192.0.2.10-192.0.2.12")
    with stage.neighbour.capture(stage.near) as capture:
        wait_until(lambda: stage.ask("status")["links"][0]["sent"]["announce"] >= 6)  # the first, and its repetition
        capture.clear()
        done = stage.run("announce", "192.0.2.11")
        assert (done.status, done.stdout) == (0, "announcing 1 address\n")
        wait_until(lambda: announcements(capture, "192.0.2.11") >= 1)
        assert announcements(capture, "192.0.2.10") == 0
    refused = stage.run("announce", "198.51.100.1")
    assert refused.status == 1
    assert "not among the own addresses" in refused.stderr
    end(process)


def test_root_is_given_up(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    process = stage.start("--probe", "off", "--user", "nobody", "192.0.2.10")
    allowed = 1 << Capability.NET_RAW
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16)
        assert int(status["CapEff"], 16) in (allowed, allowed | 1 << Capability.BPF)  # the latter with the eBPF filter
        assert status["Uid"].split() == [str(psutil.Process(process.pid).uids().real)] * 4 != ["0"] * 4
        assert status["NoNewPrivs"].strip() == "1"
    # what is plugged in now still gets its packet sockets
    late = stage.neighbour.link(stage.host, addresses=["198.51.100.1/24"])
    assert late.peer
    process.wait_for_line(f'"{late.peer.name}"', 10)
    assert stage.neighbour.resolve("192.0.2.10", link=late) == late.peer.mac
    end(process)
    assert not stage.control.exists()


def test_without_the_capability_one_line_says_so(stage: Stage) -> None:
    drop = "import sys; from arpfast import privileges as p; p.confine(()); from arpfast.cli import main; main()"
    done = stage.host.run(
        [ARPFAST.with_name("python"), "-P", "-c", drop, "run", "192.0.2.10", "--control", str(stage.control)],
        check=False,
    )
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("arpfast: CAP_NET_RAW is missing")
    assert not stage.control.exists()


def test_two_daemons_and_a_dead_one(stage: Stage) -> None:
    process = stage.start("192.0.2.10")
    second = stage.run("run", "192.0.2.11")
    assert second.status == 1
    assert second.stderr == f"arpfast: another daemon (pid {process.pid}) already answers on {stage.control}\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait(DEADLINE_S)
    assert stage.control.exists()
    assert "no daemon runs here" in stage.run("status").stderr
    third = stage.start("192.0.2.11")
    assert stage.ask("status")["pid"] == third.pid
    end(third)


def test_reload_applies_the_difference(stage: Stage) -> None:
    stage.write("addresses: [192.0.2.10, 192.0.2.11]\nannounce: {probe: off, refresh: off}\n")
    process = stage.start("-c", str(stage.file))
    wait_until(lambda: stage.ask("status")["links"][0]["sent"]["announce"] >= 4)
    with stage.neighbour.capture(stage.near) as capture:
        stage.write(
            "addresses: [192.0.2.11, 192.0.2.12]\nannounce: {probe: off, refresh: off}\n"
            "rate_limit: {per_mac: 100, burst: 100, total: 1000}\nmetrics: :1234\n"
        )
        told = stage.ask("reload")
        assert (told["added"], told["removed"]) == (1, 1)
        assert told["changed"] == ["addresses", "rate_limit", "metrics"]
        assert told["needs_restart"] == ["metrics"]
        assert stage.neighbour.resolve("192.0.2.12") == stage.eth0.mac
        assert stage.neighbour.resolve("192.0.2.11") == stage.eth0.mac
        assert stage.neighbour.resolve("192.0.2.10") is None
        wait_until(lambda: announcements(capture, "192.0.2.12") >= 1)
        assert announcements(capture, "192.0.2.11") == 0, "what did not change was touched"
    end(process)


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_bad_file_leaves_the_settings_in_force(stage: Stage, by: str) -> None:
    stage.write("addresses: [192.0.2.10]\nannounce: {probe: off}\n")
    process = stage.start("-c", str(stage.file))
    stage.write("addresses: [192.0.2.11]\nannounce: {prob: off}\nconflict: maybe\n")
    if by == "command":
        done = stage.run("reload")
        assert done.status == 1
        assert done.stderr.splitlines() == [
            f"arpfast: {stage.file}:2: announce.prob: unknown field; did you mean 'probe'?",
            f"arpfast: {stage.file}:3: conflict: expected defend, report or yield, not 'maybe'",
        ]
    else:
        os.kill(process.pid, signal.SIGHUP)
    process.wait_for_line("settings refused.*announce.prob", 10)
    status = stage.ask("status")
    assert len(status["config"]["stale"]["errors"]) == 2
    assert status["reloads"] == {"applied": 0, "refused": 1}
    assert "stale since" in stage.run("status").stdout
    assert stage.neighbour.resolve("192.0.2.10") == stage.eth0.mac
    stage.write("addresses: [192.0.2.11]\n")
    os.kill(process.pid, signal.SIGHUP)
    process.wait_for_line("settings reloaded", 10)
    assert stage.ask("status")["config"]["stale"] is None
    end(process)


def test_metrics_and_health(stage: Stage) -> None:
    stage.write(f"addresses: [192.0.2.10]\nannounce: {{probe: off}}\nmetrics: 127.0.0.1:{PORT}\n")
    process = stage.start("-c", str(stage.file))
    assert stage.neighbour.resolve("192.0.2.10")
    status, body = stage.get("/metrics")
    assert status == 200
    for line in (
        'arpfast_frames_total{interface="eth0",verdict="reply"} 1.0',
        'arpfast_addresses{interface="eth0",phase="answering"} 1.0',
        'arpfast_build_info{version="0.1.0"} 1.0',
        'arpfast_reloads_total{outcome="applied"} 0.0',
        'arpfast_kernel_drops_total{interface="eth0"} 0.0',
        "arpfast_settings_stale 0.0",
    ):
        assert line in body.splitlines()
    assert stage.get("/healthz") == (200, "ok\n")
    assert stage.get("/readyz") == (200, "ok\n")
    assert stage.get("/nothing")[0] == 404
    for request, answer in (
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /" + b"x" * 20000, b"HTTP/1.1 431"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
    ):
        assert stage.http(request).startswith(answer)
    assert stage.http(b"HEAD /metrics HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")
    end(process)


def test_not_ready_while_probing(stage: Stage) -> None:
    stage.write(f"addresses: [192.0.2.10]\nannounce: {{probe: rfc}}\nmetrics: 127.0.0.1:{PORT}\n")
    process = stage.start("-c", str(stage.file))
    assert stage.get("/readyz")[0] == 503
    assert stage.get("/healthz")[0] == 200
    end(process)


def test_systemd_is_told(stage: Stage) -> None:
    stage.write("addresses: [192.0.2.10]\nannounce: {probe: off}\n")
    path = stage.file.with_name("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        path.chmod(0o777)
        manager.settimeout(15)
        process = stage.start("-c", str(stage.file), NOTIFY_SOCKET=str(path), WATCHDOG_USEC="300000")
        said = [manager.recv(4096).decode() for _ in range(4)]
        assert any(one.startswith("READY=1\nSTATUS=answering for 1 address on eth0") for one in said)
        assert said.count("WATCHDOG=1") >= 2
        os.kill(process.pid, signal.SIGHUP)
        while not (one := manager.recv(4096).decode()).startswith("RELOADING=1\nMONOTONIC_USEC="):
            assert one == "WATCHDOG=1"
        while not (one := manager.recv(4096).decode()).startswith("READY=1"):
            assert one == "WATCHDOG=1"
        os.kill(process.pid, signal.SIGTERM)
        while not (one := manager.recv(4096).decode()).startswith("STOPPING=1"):
            assert one == "WATCHDOG=1"
    assert process.wait(DEADLINE_S) == 0


def test_check_of_a_real_machine(stage: Stage) -> None:
    good = {one["check"]: one for one in stage.ask("check", "-i", "eth0", "192.0.2.10", "2001:db8::10")}
    assert good["interface eth0"]["told"] == f"answers with {stage.eth0.mac}"
    assert {"ok"} == {one["judgement"] for name, one in good.items() if name not in ("user", "rp_filter")}
    own = stage.run("check", "192.0.2.2")
    assert own.status == 0
    assert f"the same MAC {stage.eth0.mac}" in own.stdout
    stage.host.set({"net.ipv6.conf.eth0.disable_ipv6": 1})
    off = stage.run("check", "2001:db8::10")
    assert off.status == 1
    assert "IPv6 is disabled on eth0" in off.stdout


def test_check_says_which_filter_there_would_be(stage: Stage) -> None:
    def filter_after(*drop: str) -> dict[str, str]:
        without = ["setpriv", f"--bounding-set={','.join(f'-{one}' for one in drop)}"] if drop else []
        command = [*without, str(ARPFAST), "check", "--json", "-i", "eth0", "192.0.2.10"]
        found = json.loads(stage.host.run(command, check=False, timeout_s=30).stdout)
        return next(one for one in found if one["check"] == "filter")

    assert filter_after()["told"].startswith("eBPF")
    poor = filter_after("cap_39", "sys_admin")  # by number: not every libcap-ng knows CAP_BPF
    assert "classic" in poor["told"]
    assert "CAP_BPF" in poor["remedy"]


def test_memory_stays_small(stage: Stage) -> None:
    process = stage.start("--probe", "off", "10.0.0.0/16", "192.0.2.10")
    assert stage.neighbour.resolve("192.0.2.10")
    assert psutil.Process(process.pid).memory_info().rss < 40 << 20
    end(process)
