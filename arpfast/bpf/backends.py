"""Where the kernel answers in the thread's stead, by which program, and if not, why not.

`Answerer` follows the responder's wishes, interface by interface, and never fails one: where no program can be had,
the thread answers as it does without, and `on` says why. The thread listens everywhere anyway: a program passes on
what it does not answer.

`auto` takes XDP in the driver where that is known to do no harm, else tc ingress, which works on every device and sees
what the kernel knows of a frame: its VLAN tag, whom it was sent to. XDP sees neither where the driver takes tags off,
and a veth drops its replies unless the other end has a program, too. XDP in the stack (`xdp-generic`) copies every
frame on the way, of whatever kind, and is for whoever asks for it.

With `keep`, a folder of the BPF file system, links are pinned: they go on answering, until their term is over, when
this process has ended. The next one takes each over by exchanging the program, once it has probed all that it is to
answer there; what it does not want, it takes off.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from arpfast.answer import Verdict
from arpfast.bpf.answering import Attachment, Seats, Way, driver, has_links, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from arpfast.answer import Link, Table
    from arpfast.bpf.programs import Filter
    from arpfast.config import Backend
    from arpfast.crossing import Asked, Asker
    from arpfast.spans import Version

OUTLIVE_S = 3.0
"""For how long the kernel goes on without the thread, where nobody said otherwise: a busy machine is no dead daemon."""

_NAMES: dict[Way, Backend] = {Way.NATIVE: "xdp", Way.GENERIC: "xdp-generic", Way.TC: "tc"}
_WAYS = {
    "auto": (Way.NATIVE, Way.TC), "xdp": (Way.NATIVE,), "xdp-generic": (Way.GENERIC,), "tc": (Way.TC,),
}  # fmt: skip
_FINAL = (Verdict.REPLY, Verdict.LIMITED)
"""What no thread counts after the kernel has."""


class InKernel(NamedTuple):
    """How an interface is answered on."""

    backend: Backend
    why: str
    """Why nothing better; empty if it is what was asked for."""
    verdicts: dict[Verdict, int]
    """Frames that went no further than the kernel."""


def harm(ifindex: int) -> str:
    """Why XDP in the driver would do harm on an interface, or wrong; empty if not. Raises OSError."""
    name, strips = driver(ifindex)
    if name == "veth":
        return "a veth drops what XDP sends unless its other end has a program as well"
    if strips:
        return "it takes VLAN tags off before XDP sees them (ethtool -K … rxvlan off)"
    return ""


class Answerer:
    """The answers in the kernel. One thread at a time."""

    def __init__(
        self, programs: Filter, backend: Backend = "auto", *, keep: Path | None = None, restart_s: float = 0
    ) -> None:
        """Answer nowhere yet; not for raw. `keep` and `restart_s`: go on so long after this process. Raises OSError."""
        if min(programs.answer_program(xdp) for xdp in (True, False)) < 0:
            need = "could not load the programs that answer (needs CAP_BPF and CAP_NET_ADMIN)"
            raise OSError(errno.EPERM, f"{need}: {programs.unanswering}")
        self._programs, self._backend, self._keep = programs, backend, keep
        self._seats = Seats(programs)
        self._attached: dict[int, Attachment] = {}
        self._why: dict[int, str] = {}
        self._until_s = time.monotonic() + restart_s
        self._goes_on = restart_s > 0
        self._ending = False
        self.outlive_ns = round((restart_s or OUTLIVE_S) * 1e9)
        for path in self._kept():
            if not restart_s or _way_of(path) not in _WAYS[backend]:
                path.unlink()
        if not restart_s:
            self._keep = None

    @property
    def term(self) -> int:
        """Where the term lies that the responder's thread is to put off: see term.h."""
        return self._seats.term

    def set_link(self, ifindex: int, link: Link, table: Table) -> None:
        """Answer on the interface as `link` for what `table` has; never fails."""
        if self._ending:
            return
        if table.empty:
            self._leave(ifindex)
        elif self._must_wait(ifindex, table):
            self._leave(ifindex)
            self._why[ifindex] = "the program of the run before answers until all is probed"
        else:
            self._take(ifindex, link, table)
        if time.monotonic() > self._until_s:
            self._sweep()

    def drop_link(self, ifindex: int) -> None:
        """Answer on the interface no more."""
        if self._ending:
            return
        self._leave(ifindex)

    @property
    def needs_admin(self) -> bool:
        """Whether CAP_NET_ADMIN must be kept: tc was wished for, and the kernel has no links for it."""
        return self._backend == "tc" and not has_links(self._programs.answer_program(False))

    def end(self) -> None:
        """We are about to end: what is to go on after us is let be from now on, whatever is wished."""
        self._ending = self._goes_on

    def set_members(self, *, any_: bool) -> None:
        """Whether there are members of our ring, whose questions are for the thread."""
        self._seats.set_members(any_)

    def on(self, ifindex: int) -> InKernel:
        """How an interface is answered on. Raises OSError."""
        attached = self._attached.get(ifindex)
        counted = self._seats.tallies(ifindex)[0]
        verdicts = {verdict: counted[verdict] for verdict in _FINAL}
        return InKernel("raw" if attached is None else _NAMES[attached.way], self._why.get(ifindex, ""), verdicts)

    def asked(self, version: Version, address: int) -> Asked | None:
        """Who was answered last for an address."""
        return self._seats.asked(version, address)

    def askers(self) -> list[Asker]:
        """Who asked lately."""
        return self._seats.askers()

    def close(self) -> None:
        """Take everything off, but for what is to go on after us."""
        for ifindex in tuple(self._attached):
            self._attached.pop(ifindex).close()
        self._seats.close()

    def _take(self, ifindex: int, link: Link, table: Table) -> None:
        """The seat first: a program that comes to an interface answers from its first frame on."""
        try:
            self._seats.sit(ifindex, link, table)
        except OSError as error:
            self._leave(ifindex)
            self._why[ifindex] = error.strerror or str(error)
            return
        attached = self._attached.get(ifindex)
        if attached is None or not attached.holds():
            self._detach(ifindex)
            self._attach(ifindex)

    def _leave(self, ifindex: int) -> None:
        """Without a seat the guard counts again, which stands aside where there is one."""
        self._seats.rise(ifindex)
        self._detach(ifindex)
        self._why.pop(ifindex, None)

    def _attach(self, ifindex: int) -> None:
        refused = []
        for way in _WAYS[self._backend]:
            try:
                if self._backend == "auto" and way is Way.NATIVE and (why := harm(ifindex)):
                    refused.append(f"{_NAMES[way]}: {why}")
                    continue
                self._attached[ifindex] = self._made(ifindex, way)
                break
            except OSError as error:
                why = (error.strerror or "").rpartition(": ")[2].lower()
                if error.errno == errno.EBUSY:
                    why = "another XDP program is there"
                refused.append(f"{_NAMES[way]}: {why}")
        self._why[ifindex] = "; ".join(refused)
        if ifindex not in self._attached:
            self._seats.rise(ifindex)

    def _made(self, ifindex: int, way: Way) -> Attachment:
        program, path = self._programs.answer_program(way is not Way.TC), self._path(ifindex, way)
        if path is None:
            return Attachment(program, ifindex, way)
        with contextlib.suppress(OSError):
            link, where = pinned(path)
            if where == ifindex:
                return Attachment(program, ifindex, way, link=link)
            os.close(link)
        with contextlib.suppress(OSError):
            path.unlink()
        attachment = Attachment(program, ifindex, way)
        with contextlib.suppress(OSError):
            attachment.pin(path)
        return attachment

    def _must_wait(self, ifindex: int, table: Table) -> bool:
        """Whether a program of an earlier run answers there what we still probe for."""
        if table.settled or ifindex in self._attached or time.monotonic() > self._until_s:
            return False
        return any(path is not None and path.exists() for path in (self._path(ifindex, way) for way in Way))

    def _detach(self, ifindex: int) -> None:
        attached = self._attached.pop(ifindex, None)
        if attached is None:
            return
        if (path := self._path(ifindex, attached.way)) is not None:
            with contextlib.suppress(OSError):
                path.unlink()
        attached.close()

    def _path(self, ifindex: int, way: Way) -> Path | None:
        return None if self._keep is None else self._keep / f"{ifindex}-{_NAMES[way]}"

    def _kept(self) -> Iterator[Path]:
        if self._keep is not None:
            yield from tuple(self._keep.iterdir())

    def _sweep(self) -> None:
        """Take off what earlier runs have left and we do not use."""
        used = {self._path(ifindex, attached.way) for ifindex, attached in self._attached.items()}
        for path in self._kept():
            if path not in used:
                with contextlib.suppress(OSError):
                    path.unlink()


def _way_of(path: Path) -> Way | None:
    name = path.name.partition("-")[2]
    return next((way for way, known in _NAMES.items() if known == name), None)
