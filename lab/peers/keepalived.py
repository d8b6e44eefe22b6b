"""Debian's keepalived (VRRP): what addresses that outlive their host are mostly entrusted to, and so the one to beat.

All hosts start as backup and differ in priority only, as its own documentation has it; the highest takes the addresses
as soon as it has heard no other for three intervals and a bit. The rest is its default, but for the interval: below a
second that needs VRRP version 3 (RFC 5798, hundredths of a second), and its scheduling is then made real-time, for a
deadline of 30 ms is missed without. One VRRP instance carries all addresses of both families: an advertisement has room
for few, so all but the first are `virtual_ipaddress_excluded`, the way that keepalived has for many.

It runs as two processes, parent and VRRP child, in the foreground and without syslog; its pid files are in the lab's
directory, so that any number of it run side by side.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.link import Link
    from lab.process import Process


class Keepalived:
    """One instance, on one interface of a host."""

    def __init__(self, link: Link, addresses: Sequence[str], *, priority: int, interval_s: float = 1.0) -> None:
        """Write its configuration. The first address decides the family that adverts are sent by."""
        self.link = link
        directory = link.host.lab.directory / f"keepalived-{link.host.number}"
        directory.mkdir(exist_ok=True)
        self._configuration = directory / "keepalived.conf"
        self._configuration.write_text(_configuration(link.name, addresses, priority, interval_s))
        self._command = [
            "keepalived", "--dont-fork", "--log-console", "--no-syslog", "--vrrp", "-f", str(self._configuration),
            "-p", str(directory / "parent.pid"), "-r", str(directory / "vrrp.pid"),
        ]  # fmt: skip
        self.process: Process

    def start(self) -> None:
        """Start it, and wait until it takes part."""
        self.process = self.link.host.spawn(self._command)
        self.process.wait_for_line(r"Entering (BACKUP|MASTER) STATE", 20)

    def stop(self) -> None:
        """Ask it to end: it says good-bye (an advertisement of priority 0) and takes its addresses away."""
        self.process.stop()

    def kill(self) -> None:
        """Kill both processes at once: one that saw the other die would still say good-bye."""
        both = [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children())]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in both:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait()


def _configuration(interface: str, addresses: Sequence[str], priority: int, interval_s: float) -> str:
    first, *others = (f"{address}/{128 if ':' in address else 32} dev {interface}" for address in addresses)
    fast = "\n  vrrp_version 3\n  vrrp_rt_priority 50\n  vrrp_rlimit_rttime 1000000" if interval_s < 1 else ""
    excluded = "\n    ".join(others)
    return f"""\
global_defs {{
  router_id {interface}-{priority}{fast}
}}
vrrp_instance shared {{
  state BACKUP
  interface {interface}
  virtual_router_id 51
  priority {priority}
  advert_int {interval_s:g}
  virtual_ipaddress {{
    {first}
  }}
  virtual_ipaddress_excluded {{
    {excluded}
  }}
}}
"""
