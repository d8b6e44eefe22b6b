"""A stream from one host to another as fast as it goes, for what something on its way costs: `stream.c`, both ends."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab.native import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.host import Host

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True)
class Streamed:
    """What arrived: datagrams of UDP (of TCP, reads), bytes, and the seconds from the first to the last."""

    packets: int
    bytes: int
    seconds: float


def stream(
    sender: Host,
    receiver: Host,
    address: str,
    protocol: Protocol,
    *,
    seconds: float = 1.0,
    cpus: Iterable[int] | None = None,
    receiver_cpus: Iterable[int] | None = None,
) -> Streamed:
    """Stream from a host to an address of another. UDP is in the smallest frames, TCP in the largest."""
    program = compiled("traffic/stream.c")
    told = f"protocol={protocol}"
    listener = receiver.spawn([program, f"listen={address}", told], cpus=receiver_cpus)
    listener.wait_for_line("^ready$", 10)
    talker = sender.spawn([program, f"send={address}", told, f"seconds={seconds}"], cpus=cpus)
    talker.wait_for_line(r"^\{.*\}$", seconds + 10)
    talker.wait()
    listener.signal(signal.SIGTERM)
    said = json.loads(listener.wait_for_line(r"^\{.*\}$", 10).group())
    listener.wait()
    return Streamed(**said)
