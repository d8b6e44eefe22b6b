"""Frames as they pass an interface, in both directions, with the kernel's time; and frames sent as they are.

A capture is one AF_PACKET socket with a large buffer and no thread: frames wait in the kernel until somebody asks.
The kernel hands over a VLAN tag beside the frame; it is put back where it was on the wire. Should the buffer have
overflowed, asking raises: a test must not conclude from a frame's absence what a lost frame could disprove.
Frames that the own kernel sends through a socket with checksum offload (UDP, TCP) may be seen before their checksum
is filled in; ARP and neighbour discovery are not concerned.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from lab import frames
from lab.waiting import DEADLINE_S, DeadlineError, wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.frames import Decoded

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
_AUXDATA = struct.Struct("@IIIHHHH")  # struct tpacket_auxdata
_TIMESPEC = struct.Struct("@qq")


@dataclass(frozen=True)
class Captured:
    """A frame as it was on the wire, from the Ethernet header on. `time_ns` is CLOCK_REALTIME, by the kernel."""

    time_ns: int
    outgoing: bool
    data: bytes

    @cached_property
    def decoded(self) -> Decoded | None:
        """What it says, if it is ARP, a neighbour solicitation or an advertisement; None if it is anything else."""
        return frames.decode(self.data)

    def __str__(self) -> str:
        """One line a frame, for a failed test's message."""
        return f"{'sent' if self.outgoing else 'got '} {self.decoded or self.data.hex()}"


def attach(index: int, buffer_bytes: int) -> Capture:
    """A capture of the interface in the calling thread's namespace."""
    descriptor = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    descriptor.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes)
    descriptor.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    descriptor.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    name = socket.if_indextoname(index)
    descriptor.bind((name, ETH_P_ALL))
    return Capture(descriptor, name)


def sender(index: int) -> socket.socket:
    """A socket that sends raw frames on the interface in the calling thread's namespace, and receives none."""
    descriptor = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    descriptor.bind((socket.if_indextoname(index), 0))
    return descriptor


class Capture:
    """`Host.capture` makes one; a context manager."""

    def __init__(self, descriptor: socket.socket, name: str) -> None:
        """Not for callers."""
        self.name = name
        self._socket = descriptor
        self._seen: list[Captured] = []

    def fileno(self) -> int:
        """Readable when frames wait."""
        return self._socket.fileno()

    def _drain(self) -> None:
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(65536, 256)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == 100:  # ENETDOWN is told once when the interface goes down
                    continue
                raise
            moment = 0
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(payload)
                    moment = seconds * 1_000_000_000 + nanoseconds
                elif level == SOL_PACKET and kind == PACKET_AUXDATA:
                    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(payload)
                    if status & TP_STATUS_VLAN_VALID:
                        tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                        data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            self._seen.append(Captured(moment, address[2] == PACKET_OUTGOING, data))
        _, lost = struct.unpack("@II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if lost:
            raise OSError(105, f"the capture of {self.name} lost {lost} frames")

    def frames(self) -> list[Captured]:
        """All frames so far, oldest first."""
        self._drain()
        return list(self._seen)

    def clear(self) -> None:
        """Forget the frames so far."""
        self._drain()
        self._seen.clear()

    def select(self, predicate: Callable[[Captured], object]) -> list[Captured]:
        """The frames so far of which the predicate holds."""
        return [frame for frame in self.frames() if predicate(frame)]

    def wait_for(
        self, predicate: Callable[[Captured], object], deadline_s: float = DEADLINE_S, *, count: int = 1
    ) -> Captured:
        """Wait until the predicate holds of `count` frames, seen before or from now on; return the last of them.

        Raises DeadlineError, with the last frames that were seen.
        """
        end_s = time.monotonic() + deadline_s
        looked, found = 0, 0
        while True:
            self._drain()
            for frame in self._seen[looked:]:
                found += bool(predicate(frame))
                if found == count:
                    return frame
            looked = len(self._seen)
            if not wait_readable(self.fileno(), max(0.0, end_s - time.monotonic())) and time.monotonic() >= end_s:
                story = "\n".join(map(str, self._seen[-20:])) or "nothing at all"
                raise DeadlineError(
                    f"expected {count} such frames on {self.name}, found {found}; the last seen:\n{story}"
                )

    def close(self) -> None:
        """Stop capturing."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop capturing."""
        self.close()
