"""Dropping privileges, for good and in every respect that the kernel tells of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arpfast import privileges
from arpfast.privileges import Account, Capability, NoSuchUser

STATUS = """
print(open("/proc/thread-self/status").read())
def may(do):
    try:
        do()
        return True
    except PermissionError:
        return False
print("packet:", may(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()))
print("root:", may(lambda: os.setuid(0)))
print("shadow:", may(lambda: open("/etc/shadow").close()))
"""


def told(code: str) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in done.stdout.splitlines())}


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: to have something to drop")


def test_drop_leaves_one_capability_and_no_way_back() -> None:
    drop = "import os, socket; from arpfast import privileges as p; p.drop(p.account('nobody'), {p.Capability.NET_RAW})"
    status = told(drop + STATUS)
    nobody = privileges.account("nobody")
    assert status["Uid"].split() == [str(nobody.uid)] * 4
    assert status["Gid"].split() == [str(nobody.gid)] * 4
    assert status["Groups"] == ""
    net_raw = f"{1 << Capability.NET_RAW:016x}"
    assert {name: status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapBnd"), net_raw
    )
    assert {status["CapInh"], status["CapAmb"]} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert (status["packet"], status["root"], status["shadow"]) == ("True", "False", "False")


def test_drop_of_everything() -> None:
    status = told("import os, socket; from arpfast import privileges as p; p.drop(p.account('nobody'), ())" + STATUS)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["packet"] == "False"


def test_confine_without_a_change_of_user() -> None:
    status = told("import os, socket; from arpfast import privileges as p; p.confine({p.Capability.NET_RAW})" + STATUS)
    assert status["CapEff"] == f"{1 << Capability.NET_RAW:016x}"
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] == "0"


def test_a_program_that_we_run_gets_the_user_and_nothing_else() -> None:
    status = told(
        "import asyncio; from arpfast import commands, privileges as p;"
        "p.drop(p.account('nobody'), {p.Capability.NET_ADMIN});"
        "script = 'echo $(grep -E \"^(Uid|CapEff|CapPrm|CapAmb|SigBlk)\" /proc/self/status)';"
        "print('said:', asyncio.run(commands.run(['sh', '-c', script], 60)).said)"
    )
    nobody, none = str(privileges.account("nobody").uid), "0" * 16
    uid = f"Uid: {' '.join([nobody] * 4)}"
    assert status["said"] == f"{uid} SigBlk: {none} CapPrm: {none} CapEff: {none} CapAmb: {none}"


def test_only_what_is_there_can_be_kept() -> None:
    code = "from arpfast import privileges as p; p.confine(()); p.confine({p.Capability.NET_RAW})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "PermissionError: [Errno 1] setting capabilities: operation not permitted" in done.stderr


def test_account() -> None:
    assert privileges.account("root") == Account("root", 0, 0)
    assert privileges.account(None).name in privileges.DEFAULT_USERS
    with pytest.raises(NoSuchUser, match="no such user: nobody-at-all"):
        privileges.account("nobody-at-all")


def test_effective_is_the_kernels_view() -> None:
    line = next(line for line in Path("/proc/thread-self/status").read_text().splitlines() if line.startswith("CapEff"))
    has = int(line.split()[1], 16)
    assert privileges.effective() == {one for one in Capability if has >> one & 1}
