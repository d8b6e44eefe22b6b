"""The answering programs, run by BPF_PROG_TEST_RUN: a frame in, and what becomes of it, without any wire."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, NamedTuple

from arpfast.bpf.answering import Seats, Way
from arpfast.bpf.programs import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.answer import Link, Table, Verdict

SENT, DROPPED = {True: 3, False: 7}, {True: 1, False: 2}
"""What a program of XDP, or else of tc, says: XDP_TX and TC_ACT_REDIRECT, XDP_DROP and TC_ACT_SHOT."""
FOREVER = 1 << 62
_libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)


class _Options(ctypes.Structure):
    """`struct bpf_test_run_opts`, as far as it is used."""

    _fields_ = (
        ("sz", ctypes.c_size_t), ("data_in", ctypes.c_void_p), ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32), ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p), ("ctx_size_in", ctypes.c_uint32), ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32), ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32), ("batch_size", ctypes.c_uint32),
    )  # fmt: skip


class Ran(NamedTuple):
    """What a program came to."""

    action: int
    frame: bytes
    duration_ns: int


def run(program: int, frame: bytes, *, ifindex: int = 0, repeat: int = 1) -> Ran:
    """Run a program upon a frame; `ifindex`, for tc, is where it is said to have come in."""
    out = ctypes.create_string_buffer(max(len(frame), 128))
    context = (ctypes.c_uint32 * 48)()  # struct __sk_buff
    context[10] = ifindex
    options = _Options(
        sz=ctypes.sizeof(_Options), data_in=ctypes.cast(ctypes.c_char_p(frame), ctypes.c_void_p),
        data_size_in=len(frame),
        data_out=ctypes.cast(out, ctypes.c_void_p), data_size_out=len(out), repeat=repeat,
    )  # fmt: skip
    if ifindex:
        options.ctx_in, options.ctx_size_in = ctypes.addressof(context), ctypes.sizeof(context)
    if _libbpf.bpf_prog_test_run_opts(program, ctypes.byref(options)):
        raise OSError(ctypes.get_errno(), f"test run of {len(frame)} bytes: {os.strerror(ctypes.get_errno())}")
    return Ran(options.retval, out.raw[: options.data_size_out], options.duration)


class Answered(NamedTuple):
    """The verdict: None for what the kernel does not look at, "UNJUDGED" for what it leaves to the thread."""

    verdict: Verdict | str | None
    reply: bytes | None
    dropped: bool


class Kernel:
    """A program that answers on one interface: loopback's index for XDP, a device with our address for tc."""

    def __init__(self, way: Way, ifindex: int = 1, *, members: Iterable[bytes] = ()) -> None:
        """Load it; it is attached nowhere."""
        self.filter = Filter(answers=True)
        self.filter.set_members(frozenset(members))
        self.seats = Seats(self.filter)
        self.way, self.ifindex = way, ifindex
        self._xdp = way is not Way.TC
        self.program = self.filter.answer_program(self._xdp)
        assert self.program >= 0
        self._context = 0 if self._xdp else ifindex
        self.set_term(FOREVER)

    def set_term(self, until_ns: int, boot_until_ns: int = 0) -> None:
        """Until when it answers, by the two clocks."""
        term = (ctypes.c_uint64 * 2).from_address(self.seats.term)
        term[0], term[1] = until_ns, boot_until_ns

    def sit(self, link: Link, table: Table) -> None:
        """What it answers."""
        self.seats.sit(self.ifindex, link, table)

    def answer(self, frame: bytes) -> Answered:
        """What becomes of a frame."""
        before, unjudged = self.seats.tallies(self.ifindex)
        ran = run(self.program, frame, ifindex=self._context)
        after, unjudged_after = self.seats.tallies(self.ifindex)
        counted: list[Verdict | str] = [verdict for verdict in after if after[verdict] != before[verdict]]
        if unjudged_after != unjudged:
            counted.append("UNJUDGED")
        assert len(counted) <= 1
        sent = ran.action == SENT[self._xdp]
        if not sent:
            assert ran.frame == frame, "what is not answered is left as it came"
        return Answered(counted[0] if counted else None, ran.frame if sent else None, ran.action == DROPPED[self._xdp])

    def cost_ns(self, frame: bytes, repeat: int = 200_000) -> int:
        """What a frame takes, on average; for XDP only where it is not answered: the frame stays what it was."""
        return run(self.program, frame, ifindex=self._context, repeat=repeat).duration_ns

    def close(self) -> None:
        """Unload it."""
        self.seats.close()
        self.filter.close()
