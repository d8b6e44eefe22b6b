"""What it costs to be a member of a ring that nothing happens in: processor time, and bytes on the wire, both ways.

One `arpfast run` with a thousand addresses, alone on its end of a cable. The others share the other end and one
process: they gossip as members do, and claim nothing.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from lab import Lab, wait_until
from lab.member import ARPFAST

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab import Link, Process

CROWD = (sys.executable, "-P", Path(__file__).with_name("crowd.py"))
SIZES = (3, 20, 100)
LONG_S = 20.0


def test_members(ledger: Ledger, rounds: Rounds) -> None:
    for size in rounds(SIZES, str):
        with Lab() as lab:
            others = [f"10.78.1.{number}" for number in range(1, size)]
            link = lab.host("member").link(
                lab.host("others"), addresses=["10.78.0.1/16"], peer_addresses=[f"{one}/16" for one in others]
            )
            assert link.peer
            settings = {
                "addresses": ["10.78.2.0-10.78.5.231"],
                "announce": {"probe": "off", "refresh": "off"},
                "ring": {"members": ["10.78.0.1", *others]},
            }
            path = lab.directory / "arpfast.yaml"
            path.write_text(json.dumps(settings))
            control = lab.directory / "run" / "control.sock"
            member = link.host.spawn([ARPFAST, "run", "-c", path, "--control", control, "--log-format", "json"])
            crowd = link.peer.host.spawn([*CROWD, "10.78.0.1", *others])
            crowd.wait_for_line("^ready$", 60)
            wait_until(partial(_all_alive, member, size - 1), 60, what="all of them to be alive", every_ms=50)
            time.sleep(2)  # for what joining entails
            before, at_s = (_cpu_s(member.pid), _bytes(link)), time.monotonic()
            time.sleep(LONG_S)
            took_s = time.monotonic() - at_s
            ledger.add(f"{size} members: processor", "arpfast", (_cpu_s(member.pid) - before[0]) / took_s * 100, "%")
            ledger.add(f"{size} members: traffic", "arpfast", (_bytes(link) - before[1]) / took_s / 1e3, "kB/s")


def _all_alive(member: Process, others: int) -> bool:
    return sum('"member alive"' in line for line in member.lines) >= others


def _cpu_s(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def _bytes(link: Link) -> int:
    statistics = link.host.netlink("get_links", link.index)[0].get_attr("IFLA_STATS64")
    return int(statistics["rx_bytes"] + statistics["tx_bytes"])
