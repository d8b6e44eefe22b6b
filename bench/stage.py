"""The stage: two hosts on one cable, made anew for each measurement, and who runs on which of two cores.

The generator always has core 0, and what it sends is received there, too (a veth receives on the core that sends),
unless the placement says otherwise:

    OWN        the answerer alone on core 1
    SHARED     receive packet steering moves reception to core 1, where the answerer is
    OVERRUN    reception in a NAPI thread alone on core 1, which is offered many times what it can take; the answerer
               on core 0 with real-time priority, lest the generator starve it
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import Advertisement, Arp, Lab, Mac, Solicitation, wait_until
from lab.generator import MAC, SOURCE_6, Flood, Flooded
from lab.peers import attach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Link

Address = IPv4Address | IPv6Address

GENERATOR, ANSWERER = 0, 1
"""The cores."""

ASKER, ASKER_4, ASKER_6 = Mac("02:f0:f0:00:00:01"), IPv4Address("10.255.0.3"), IPv6Address("fe80::f0:f000:1")
"""Who asks from Python: nobody whose answers the generator's counter takes."""


class Placement(Enum):
    """Who shares a core with whom."""

    OWN = "own core"
    SHARED = "sharing the softirq's core"
    OVERRUN = "softirq core overrun"


@dataclass(frozen=True)
class Pool:
    """The addresses that are answered for, and asked for: `count` from `first` on."""

    first: str
    count: int = 1

    @property
    def addresses(self) -> str:
        """As settings write it."""
        return self.first if self.count == 1 else f"{self.first}-{self.last}"

    @property
    def last(self) -> str:
        """The last of them."""
        return str(ip_address(self.first) + self.count - 1)

    def each(self) -> list[str]:
        """One by one."""
        return [str(ip_address(self.first) + number) for number in range(self.count)]

    @classmethod
    def of(cls, prefix: str) -> Pool:
        """All of a prefix."""
        network = ip_network(prefix)
        return cls(str(network[0]), network.num_addresses)


@dataclass(frozen=True)
class Stage:
    """The cable; `near` is the asker's end."""

    lab: Lab
    near: Link
    far: Link
    placement: Placement

    @property
    def cores(self) -> set[int]:
        """Where the answerer runs."""
        return {GENERATOR if self.placement is Placement.OVERRUN else ANSWERER}

    def flood(self, pool: Pool, **options: Any) -> Flooded:
        """Flood from core 0, see `lab.generator.Flood`; targets at random.

        Arrivals are counted unless the answerer's own program is in the counter's place.
        """
        if _has_program(self.far):
            options["count_arrivals"] = False
            self.far.set_gro(True)  # else frames of the generator pass by a program that is not native
        flood = Flood.start(self.near, pool.first, pool.count, random=True, cpus={GENERATOR}, **options)
        if self.placement is Placement.OVERRUN:
            # Only now: without a program at either end, this veth receives without NAPI.
            before = _napi_threads()
            self.far.tune({"threaded": 1})
            for pid in _napi_threads() - before:
                os.sched_setaffinity(pid, {ANSWERER})
        return flood.wait()

    def settle(self, pid: int) -> None:
        """Give a program its priority; it has been started on its core."""
        if self.placement is Placement.OVERRUN:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(1))

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Have the asker's end take what is sent by XDP as well: a veth does only if it has a program itself.

        The generator brings its own.
        """
        process = attach(self.near, "pass")
        try:
            yield
        finally:
            process.kill()
            wait_until(lambda: not _has_program(self.near), what="the program to be gone")

    def wait_answered(self, *addresses: str, deadline_s: float = 10.0, every_ms: int = 50) -> float:
        """Ask for the addresses again and again until each is answered; returns the seconds from now to the last."""
        with self.receiving():
            return wait_answered(self.near, *addresses, deadline_s=deadline_s, every_ms=every_ms)


def wait_answered(link: Link, *addresses: str, deadline_s: float = 10.0, every_ms: int = 50) -> float:
    """The same from any link."""
    began_s = time.monotonic()
    missing = {ip_address(address) for address in addresses}
    with link.host.capture(link, buffer_bytes=16 << 20) as capture:

        def answered() -> bool:
            missing.difference_update(_about(frame.decoded) for frame in capture.frames() if not frame.outgoing)
            capture.clear()
            if missing:
                link.host.inject(link, *(question(address) for address in missing))
            return not missing

        wait_until(answered, deadline_s, what=f"an answer for {addresses}", every_ms=every_ms)
    return time.monotonic() - began_s


def question(address: Address) -> bytes:
    """A request or solicitation of ours."""
    if isinstance(address, IPv4Address):
        return Arp.request(ASKER, ASKER_4, address).encode()
    return Solicitation.ask(ASKER, ASKER_6, address).encode()


def _about(frame: object) -> Address | None:
    """The address that an answer is about."""
    if isinstance(frame, Arp) and frame.operation == 2:
        return frame.spa
    return frame.target if isinstance(frame, Advertisement) else None


def _has_program(link: Link) -> bool:
    return "IFLA_XDP_PROG_ID" in str(link.host.netlink("get_links", link.index)[0].get_attr("IFLA_XDP"))


def _napi_threads() -> set[int]:
    """Kernel threads that receive, for all interfaces of the machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith("napi/"):
                found.add(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


@contextmanager
def staged(placement: Placement = Placement.OWN) -> Iterator[Stage]:
    """A stage with both ends up.

    Both kernels have addresses of their own, which nobody asks for, on the prefix that all pools belong to: for a pool
    without a route, the answerer's kernel, which hears every request too, would make one up for each.
    """
    with Lab() as lab:
        near = lab.host("asker").link(
            lab.host("answerer"),
            addresses=["10.255.0.1/8", "2001:db8::ffff:1/64"],
            peer_addresses=["10.255.0.2/8", "2001:db8::ffff:2/64"],
        )
        assert near.peer
        if placement is Placement.SHARED:
            near.peer.tune({"queues/rx-0/rps_cpus": f"{1 << ANSWERER:x}"})
        # ndppd leaves the link layer to the kernel, which has heard nothing of those who ask.
        for source, mac in ((SOURCE_6, MAC), (ASKER_6, ASKER)):
            near.peer.host.netlink("neigh", "add", dst=str(source), lladdr=str(mac), ifindex=near.peer.index, state=128)
        yield Stage(lab, near, near.peer, placement)
