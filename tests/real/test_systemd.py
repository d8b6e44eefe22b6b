"""The unit under a real systemd: process 1 of its own namespaces in a lab host, which knows nothing but our unit.

The unit is used as it is; a drop-in beside it says where the command lies here, for the sandbox would hide that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from lab import DeadlineError, Finished, Lab, wait_until
from tests.real.stage import ARPFAST, DEADLINE_S, pair

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "arpfast.service"
SYSTEMD = Path("/lib/systemd/systemd")
TARGETS = ("basic", "sysinit", "network-pre", "network-online", "multi-user", "shutdown", "stage")
CAP_NET_RAW, CAP_BPF = 1 << 13, 1 << 39
SETTINGS: dict[str, Any] = {
    "addresses": ["192.0.2.10", "2001:db8::10"],
    "interfaces": ["eth0"],
    "announce": {"probe": "off"},
    "rate_limit": {"per_mac": 1000},
}
UNSHARE = ("unshare", "--mount", "--propagation=unchanged")
GROUP = """
mount --make-rprivate / 2>/dev/null || true
mount -t cgroup2 cgroup2 /mnt
# Another run that ends may take it for one that was left
until mkdir -p /mnt/arpfast-stage-$$ && echo $$ >/mnt/arpfast-stage-$$/cgroup.procs; do :; done
umount /mnt
exec unshare --pid --fork --kill-child --cgroup --mount --propagation=unchanged --uts --ipc \\
    sh -euc "$2" "$0" "$@"
"""
"""In a control group of its own, and then in its own namespaces…"""
ROOT_OF_ITS_OWN = """
umask 022
systemd=$1 boot=$3 root=$0/root
shift 3
mkdir "$root"
mount --rbind / "$root"
mount --make-rprivate "$root"
for home in /root /home; do mount -t tmpfs -o mode=755 tmpfs "$root$home"; done
for kept; do
    mkdir -p "$root$kept"
    mount --rbind "$kept" "$root$kept"
done
exec chroot "$root" sh -euc "$boot" "$0" "$systemd"
"""
"""…where / is a mount even if we are in a chroot (systemd insists), and what we need is open to every user…"""
BOOT = """
umask 022
mount -t proc proc /proc
test -d /sys/fs/cgroup || mount -t sysfs sysfs /sys
umount --lazy /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir /run/systemd
: >"$0/console"
test ! -e /dev/console || mount --bind "$0/console" /dev/console
exec env -i PATH="$PATH" container=stage SYSTEMD_UNIT_PATH="$0" "$1" \\
    --system --unit=stage.target --show-status=no --log-target=console --default-standard-output=null
"""
"""…and with a /proc, /run and control groups of its own, it is process 1."""
CLEAN = """
mount --make-rprivate / 2>/dev/null || true
mount -t cgroup2 cgroup2 /mnt
find /mnt -depth -mindepth 1 -path "/mnt/arpfast-stage-*" -type d -exec rmdir {} + 2>/dev/null || true
test ! -e "/mnt/arpfast-stage-$0"
"""
"""Removes the control groups of this run, which may be in use for a moment yet, and of any that was killed."""


def named(name: str, parent: psutil.Process) -> list[psutil.Process]:
    """The children that run `name`; each may be gone by the time it is looked at."""
    found = []
    for child in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if child.name() == name else []
    return found


class Systemd:
    """A systemd with our unit, in a host with one cable."""

    def __init__(self, lab: Lab) -> None:
        self.near, self.far = pair(lab)
        lab.directory.chmod(0o755)
        self.units = lab.directory / "units"
        self.settings = lab.directory / "settings" / "arpfast.yaml"
        self.settings.parent.mkdir()
        self.log = lab.directory / "log"
        (self.units / "arpfast.service.d").mkdir(parents=True)
        for name in TARGETS:
            (self.units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        shutil.copy(UNIT, self.units)
        self.write(SETTINGS)
        seen = [str(ROOT), sys.base_prefix]
        (self.units / "arpfast.service.d" / "here.conf").write_text(
            f"[Service]\nExecStart=\nExecStart={ARPFAST} run -c {self.settings}\n"
            f"ExecReload=\nExecReload={ARPFAST} reload\n"
            f"ProtectHome=read-only\nBindReadOnlyPaths={' '.join(seen)} {self.settings.parent}\n"
            f"StandardOutput=append:{self.log}\nStandardError=append:{self.log}\n"
            "[Unit]\nStartLimitIntervalSec=0\n"
        )
        command = [*UNSHARE, "sh", "-euc", GROUP, str(self.units), str(SYSTEMD), ROOT_OF_ITS_OWN, BOOT, *seen]
        self._boot = self.far.host.spawn(command)
        self._systemd = wait_until(self._found, DEADLINE_S, what="systemd as process 1")[0]
        inside = Path(f"/proc/{self._systemd.pid}/root/run/systemd/private")
        try:
            wait_until(inside.exists, DEADLINE_S, what="a systemd that listens")
        except DeadlineError as error:
            raise AssertionError(f"systemd said: {(self.units / 'console').read_text()}") from error

    def _found(self) -> list[psutil.Process]:
        assert self._boot.alive, self._boot.output
        return named("systemd", psutil.Process(self._boot.pid))

    def close(self) -> None:
        """End it and all that it started; in order, since the unit's private /tmp is removed by nobody else."""
        self.control("stop", "arpfast", check=False)
        self._boot.kill()
        clean = [*UNSHARE, "sh", "-euc", CLEAN, str(self._boot.pid)]
        wait_until(lambda: self.far.host.run(clean, check=False).status == 0, DEADLINE_S, what="its end")

    def write(self, settings: dict[str, Any]) -> None:
        """What the next start or reload reads."""
        self.settings.write_text(json.dumps(settings))

    def control(self, *arguments: str, check: bool = True) -> Finished:
        """Run systemctl beside it."""
        inside = ["nsenter", f"--target={self._systemd.pid}", "--mount", "--root", "--pid", "--cgroup"]
        return self.far.host.run([*inside, "systemctl", "--no-pager", *arguments], timeout_s=DEADLINE_S, check=check)

    def property(self, name: str) -> str:
        """A property of the unit."""
        return self.control("show", "--value", f"--property={name}", "arpfast").stdout.strip()

    def main(self) -> psutil.Process:
        """The daemon, as we see it from outside."""
        return wait_until(lambda: named("arpfast", self._systemd), DEADLINE_S, what="the daemon")[0]

    def events(self) -> list[dict[str, Any]]:
        """What the daemon logged."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def told(self) -> str:
        """Everything, for the message of a test that fails."""
        log = self.log.read_text() if self.log.exists() else ""
        return f"{self.control('status', 'arpfast', check=False).stdout}\n{log}"


@pytest.fixture(scope="module")
def systemd(_lab_is_possible: None) -> Iterator[Systemd]:
    with Lab() as lab:
        scene = Systemd(lab)
        try:
            assert scene.control("start", "arpfast", check=False).status == 0, scene.told()
            yield scene
        finally:
            scene.close()


def test_it_is_started_when_it_answers(systemd: Systemd) -> None:
    assert systemd.property("ActiveState") == "active", systemd.told()
    assert systemd.property("StatusText") == "answering for 2 addresses on eth0"
    for address in SETTINGS["addresses"]:
        assert systemd.near.host.resolve(address, deadline_s=DEADLINE_S) == systemd.far.mac, systemd.told()


def test_the_sandbox_lets_the_filter_and_the_guard_in(systemd: Systemd) -> None:
    assert [event for event in systemd.events() if event["level"] != "info"] == []
    inside = ["nsenter", f"--target={systemd.main().pid}", "--mount", "--root", str(ARPFAST), "status", "--json"]
    told = json.loads(systemd.far.host.run(inside, timeout_s=DEADLINE_S).stdout)["filter"]
    assert (told["kind"], told["unfiltered"], told["unguarded"]) == ("ebpf", 0, 0)


def test_nothing_is_kept_but_what_answering_takes(systemd: Systemd) -> None:
    for task in Path(f"/proc/{systemd.main().pid}/task").iterdir():
        found = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert "0" not in found["Uid"].split()
        assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == CAP_NET_RAW | CAP_BPF
        assert int(found["CapAmb"], 16) == int(found["CapInh"], 16) == 0
        assert found["NoNewPrivs"].strip() == "1"
        assert found["Seccomp"].strip() == "2"


def test_in_a_ring_the_thread_that_answers_may_run_before_all_ordinary_ones(systemd: Systemd) -> None:
    """Where systemd itself must not raise the limit, as in many a container, a capability stands in for it, to show
    that nothing else of the sandbox is in the way.
    """
    call = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    allowed = systemd.units / "arpfast.service.d" / "allowed.conf"
    allowed.write_text(
        "[Service]\nAmbientCapabilities=CAP_SYS_NICE\nCapabilityBoundingSet=CAP_SYS_NICE\n"
        f"ExecStartPre={sys.executable} -c '{call}'\n"
    )
    ring = {"members": [str(address.ip) for address in systemd.far.addresses() if address.version == 4]}
    systemd.write({**SETTINGS, "ring": ring})
    systemd.control("daemon-reload")
    try:
        assert systemd.control("restart", "arpfast", check=False).status == 0, systemd.told()
        assert systemd.property("LimitRTPRIO") == "1"
        process = systemd.main()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        limited = re.search(r"Max realtime priority +0 ", limits) is not None
        tasks = {(Path(f"/proc/{process.pid}/task/{task.id}/comm").read_text().strip(), task.id)
                 for task in process.threads()}  # fmt: skip
        policies = {name: os.sched_getscheduler(task) for name, task in tasks}
        assert policies["arpfast-link"] == (os.SCHED_OTHER if limited else os.SCHED_FIFO), systemd.told()
        assert policies["arpfast"] == os.SCHED_OTHER
    finally:
        allowed.unlink()
        systemd.write(SETTINGS)
        systemd.control("daemon-reload")
        systemd.control("restart", "arpfast")


def test_reload_waits_for_the_verdict(systemd: Systemd) -> None:
    systemd.write({**SETTINGS, "addresses": [*SETTINGS["addresses"], "192.0.2.11"]})
    systemd.control("reload", "arpfast")
    assert systemd.property("StatusText") == "answering for 3 addresses on eth0"
    systemd.write({"addresses": ["x"]})
    assert systemd.control("reload", "arpfast", check=False).status != 0
    assert "the settings file is refused" in systemd.property("StatusText")
    assert systemd.property("ActiveState") == "active"
    systemd.write(SETTINGS)
    systemd.control("reload", "arpfast")
    assert systemd.property("StatusText") == "answering for 2 addresses on eth0"


def test_one_that_hangs_is_killed_and_started_again(systemd: Systemd) -> None:
    impatient = systemd.units / "arpfast.service.d" / "impatient.conf"
    impatient.write_text("[Service]\nWatchdogSec=1s\n")
    systemd.control("daemon-reload")
    systemd.control("restart", "arpfast")
    hung = systemd.main()
    hung.send_signal(signal.SIGSTOP)

    def another() -> bool:
        return systemd.property("ActiveState") == "active" and systemd.main().pid != hung.pid

    wait_until(another, DEADLINE_S, what="a new daemon")
    assert int(systemd.property("NRestarts")) >= 1
    assert systemd.near.host.resolve("192.0.2.10", deadline_s=DEADLINE_S) == systemd.far.mac
    impatient.unlink()
    systemd.control("daemon-reload")
    systemd.control("restart", "arpfast")


def test_stop_ends_it_in_order(systemd: Systemd) -> None:
    systemd.control("start", "arpfast")
    systemd.control("stop", "arpfast")
    assert systemd.property("Result") == "success", systemd.told()
    assert systemd.events()[-1]["event"] == "stopped"
    systemd.control("start", "arpfast")
