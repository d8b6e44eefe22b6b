"""Questions in any number: floods of millions a second, paced streams, and one lone request after the other.

`Flood` drives `flood.c`: frames are made in the kernel (BPF_PROG_RUN with live frames upon the asker's interface) or
sent through a socket, answers are counted by an XDP program on the same interface, which lets everything else pass.
`time_lone` drives `lone.c`. Both ask from MACs and addresses of their own, never from the interface's: the kernel of
the asker takes no part.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Literal, Self

from lab.frames import Arp, Mac, Solicitation
from lab.native import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.link import Link
    from lab.process import Process

MAC = Mac("02:f1:00:00:00:00")
"""Of the first source; the others follow, the polite one last."""

SOURCE_4, SOURCE_6 = IPv4Address("192.0.2.240"), IPv6Address("fe80::f1:0:0")


def _template(first: str | IPv4Address | IPv6Address, mac: bytes) -> str:
    target = ip_address(first)
    if isinstance(target, IPv4Address):
        return Arp.request(mac, SOURCE_4, target).encode().hex()
    return Solicitation.ask(mac, SOURCE_6, target).encode().hex()


@dataclass(frozen=True)
class Flooded:
    """What a flood came to. `arrived` is 0 where nobody counted at the other end."""

    seconds: float
    offered: int
    arrived: int
    arp_replies: int
    advertisements: int
    wrong: int
    polite_asked: int
    polite_answered: int
    polite_median_ns: int
    polite_p99_ns: int
    polite_p999_ns: int

    @property
    def replies(self) -> int:
        """Answers of both kinds that were about a target."""
        return self.arp_replies + self.advertisements - self.wrong

    @property
    def replies_per_s(self) -> float:
        """Answers a second."""
        return self.replies / self.seconds


class Flood:
    """A running flood from the near end of a cable; `wait()` has its numbers."""

    def __init__(self, process: Process, seconds: float) -> None:
        """Not for callers, see `start`."""
        self.process = process
        self._seconds = seconds

    @classmethod
    def start(
        cls,
        link: Link,
        first: str | IPv4Address | IPv6Address,
        count: int = 1,
        *,
        seconds: float = 1.0,
        rate_per_s: float | None = None,
        engine: Literal["xdp", "socket"] = "xdp",
        doze_s: float | None = None,
        random: bool = False,
        stride: int = 1,
        sources: int = 1,
        polite_every_s: float | None = None,
        count_arrivals: bool | None = None,
        cpus: Iterable[int] | None = None,
    ) -> Self:
        """Ask for `count` targets from `first` on, in order or at random, flat out unless a rate is given.

        The socket engine sleeps for `doze_s` whenever it has sent what was due, so that its core is free meanwhile.
        The XDP engine can also play a polite source that asks now and then in the same stream and so shares its fate.
        `count_arrivals` hangs a program at the other end; the XDP engine needs one there, the answerer's own or this.
        """
        options = {
            "interface": link.name, "frame": _template(first, MAC), "count": count, "seconds": seconds,
            "engine": engine, "random": int(random), "stride": stride, "sources": sources,
            "interval_ns": round(1e9 / rate_per_s) if rate_per_s else 0,
            "doze_ns": round(1e9 * (doze_s or 0)), "polite_ns": round(1e9 * (polite_every_s or 0)),
            "object": compiled("generator/flood.bpf.c"),
        }  # fmt: skip
        if count_arrivals if count_arrivals is not None else engine == "xdp":
            if link.peer is None:
                raise ValueError(f"expected a cable, not {link!r}")
            options["peer"] = link.peer.name
            options["peer_namespace"] = f"/proc/{os.getpid()}/fd/{link.peer.host.namespace.file}"
        command = [str(compiled("generator/flood.c")), *(f"{name}={value}" for name, value in options.items())]
        process = link.host.spawn(command, cpus=cpus)
        process.wait_for_line("^flooding$", 10)
        return cls(process, seconds)

    def wait(self) -> Flooded:
        """Wait until it is over."""
        line = self.process.wait_for_line(r"^\{.*\}$", self._seconds + 10)
        self.process.wait()
        return Flooded(**json.loads(line.group()))

    def stop(self) -> Flooded:
        """End it now."""
        self.process.signal(signal.SIGTERM)
        return self.wait()


@dataclass(frozen=True)
class Latency:
    """How long lone requests took, from send to receive."""

    asked: int
    answered: int
    min_ns: int
    median_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


def time_lone(
    link: Link,
    first: str | IPv4Address | IPv6Address,
    count: int = 1,
    *,
    asks: int = 1000,
    interval_s: float = 0.001,
    spin: bool = False,
    cpus: Iterable[int] | None = None,
) -> Latency:
    """Ask `asks` times, one after the other, at least `interval_s` apart, and time the answers."""
    options = {
        "interface": link.name, "frame": _template(first, MAC), "count": count, "asks": asks,
        "interval_ns": round(interval_s * 1e9), "spin": int(spin),
    }  # fmt: skip
    command = [str(compiled("generator/lone.c")), *(f"{name}={value}" for name, value in options.items())]
    process = link.host.spawn(command, cpus=cpus)
    line = process.wait_for_line(r"^\{.*\}$", asks * (interval_s + 0.1) + 10)
    process.wait()
    return Latency(**json.loads(line.group()))
