"""`Local` in virtual time, on a `lo` that is a set: what is wished is there, and nobody else's is touched."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Self

import pytest

from arpfast import local as under_test
from arpfast.local import ADDRESSES_MAX, LOOK_AT_MOST_S, LOOK_S, RESTORE_AT_MOST_S, Local, mark, refusal
from arpfast.loopback import BATCH
from arpfast.rtnetlink import RTM_NEWADDR
from arpfast.spans import Spans
from tests.arpfast.virtual import passing, virtually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from arpfast.inspection import Event
    from arpfast.loopback import Key

V4: Key = (4, 0xC0000201)  # 192.0.2.1
V6: Key = (6, (0x20010DB8 << 96) + 1)  # 2001:db8::1
BOTH = Spans.parse("192.0.2.1", "2001:db8::1")


class Lo:
    """In place of `Loopback`."""

    def __init__(self) -> None:
        self.kernel: set[Key] = set()
        self.others: set[Key] = set()
        self.unheard: set[Key] = set()
        """What is there, but the event has not come yet."""
        self.errors: dict[Key, int] = {}
        self.broken = ""
        self.changes = 0
        self.at_change: dict[int, Callable[[], None]] = {}
        self.sysctls: dict[str, int] = {}
        self.looked = 0
        self.reports: list[Event] = []
        self._told, self._tell = socket.socketpair()
        self._told.setblocking(False)

    def close(self) -> None:
        self._told.close()
        self._tell.close()

    def __call__(self, marked: int) -> Lo:
        assert marked == 7
        if self.broken:
            raise OSError(errno.EMFILE, self.broken)
        return self

    def __enter__(self) -> Self:
        self.drain()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return self._told.fileno()

    def drain(self) -> None:
        while True:
            try:
                self._told.recv(4096)
            except BlockingIOError:
                break
        self.ours = self.kernel - self.unheard
        self.present = self.ours | self.others

    def change(self, what: int, keys: Sequence[Key]) -> dict[Key, int]:
        assert 0 < len(keys) <= BATCH
        assert self.others.isdisjoint(keys), "what others have put there"
        self.changes += 1
        self.at_change.get(self.changes, lambda: None)()
        errors = {key: self.errors[key] for key in keys if key in self.errors}
        for key in keys:
            if what == RTM_NEWADDR and key in self.kernel:
                errors[key] = errno.EEXIST
            elif key not in errors:
                (self.kernel.add if what == RTM_NEWADDR else self.kernel.remove)(key)
        self.event()
        return errors

    def event(self) -> None:
        self._tell.send(b"x")

    def lose(self, *keys: Key) -> None:
        self.kernel -= set(keys)
        self.event()

    def sysctl(self, _family: str, _interface: str, name: str) -> int:
        self.looked += 1
        return self.sysctls.get(name, 0)


@pytest.fixture
def lo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lo]:
    lo = Lo()
    monkeypatch.setattr(under_test, "Loopback", lo)
    yield lo
    lo.close()


def made(lo: Lo) -> Local:
    return Local(7, lo.reports.append, lo.sysctl)


def during(local: Local, what: Coroutine[None, None, None]) -> None:
    async def main() -> None:
        running = asyncio.create_task(local.run())
        await what
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtually(main())


def test_each_wish_replaces_the_one_before(lo: Lo) -> None:
    local = made(lo)

    async def do() -> None:
        await passing(1)
        assert not lo.changes, "nothing is touched before the first wish"
        local.want(BOTH)
        await passing(0.01)
        assert lo.kernel == {V4, V6}
        assert local.explain(*V4) == "on lo, put there by arpfast"
        local.want(Spans.parse("2001:db8::1-2001:db8::2"))
        assert local.explain(*V4) == ""
        await passing(0.01)
        assert lo.kernel == {V6, (6, V6[1] + 1)}
        local.want(Spans())
        await passing(0.01)
        assert not lo.kernel

    during(local, do())
    counted = local.statistics()
    assert (counted.added, counted.removed, counted.restored, counted.refused, counted.why) == (3, 3, 0, 0, "")
    assert [report.fields for report in lo.reports] == [{"added": 2}, {"added": 1, "removed": 1}, {"removed": 2}]


def test_what_is_added_counts_once_however_late_the_kernel_tells(lo: Lo) -> None:
    lo.unheard = {V6}
    local = made(lo)

    async def do() -> None:
        local.want(BOTH)
        await passing(0.01)
        local.want(Spans.parse("2001:db8::1"))
        await passing(0.01)
        lo.unheard.clear()
        lo.event()
        await passing(1)
        assert lo.kernel == {V6}

    during(local, do())
    counted = local.statistics()
    assert (counted.added, counted.removed, counted.restored, counted.refused, counted.why) == (2, 1, 0, 0, "")


def test_leftovers_are_taken_over_or_removed(lo: Lo) -> None:
    lo.kernel = {V4, (4, 1), (6, 1)}
    local = made(lo)
    local.want(BOTH)
    during(local, passing(0.01))
    assert lo.kernel == {V4, V6}
    assert (local.statistics().added, local.statistics().removed) == (1, 2)
    local.close()
    assert not lo.kernel
    assert local.statistics().removed == 4


def test_what_others_put_there_is_good_enough(lo: Lo) -> None:
    lo.others = {V4}
    local = made(lo)
    local.want(BOTH)

    async def do() -> None:
        await passing(0.01)
        assert lo.kernel == {V6}
        assert local.statistics().present == 2
        assert local.explain(*V4) == "on lo, put there by somebody else"
        lo.others.clear()
        lo.event()
        await passing(0.01)
        assert lo.kernel == {V4, V6}, "they have taken it away; it is wanted still"
        lo.others = {(4, 99)}
        lo.event()
        local.want(Spans())
        await passing(0.01)
        assert not lo.kernel

    during(local, do())
    local.close()
    assert lo.others == {(4, 99)}


def test_what_is_taken_away_comes_back_but_nobody_is_fought_without_end(lo: Lo) -> None:
    local = made(lo)
    local.want(BOTH)
    gaps: list[float] = []

    async def do() -> None:
        await passing(0.01)
        for _ in range(12):
            lo.lose(V4)
            lost_s = asyncio.get_running_loop().time()
            while V4 not in lo.kernel:
                await passing(0.005)
            gaps.append(asyncio.get_running_loop().time() - lost_s)
        await passing(3 * RESTORE_AT_MOST_S)
        lo.lose(V4, V6)
        await passing(0.01)
        assert lo.kernel == {V4, V6}, "after a quiet time, at once again"

    during(local, do())
    assert gaps[0] < 0.02
    assert RESTORE_AT_MOST_S - 1 < gaps[-1] < RESTORE_AT_MOST_S + 0.1
    assert local.statistics().restored == 14


def test_surplus_goes_also_while_a_restoration_waits(lo: Lo) -> None:
    local = made(lo)
    local.want(BOTH)

    async def do() -> None:
        await passing(0.01)
        for _ in range(5):
            lo.lose(V4)
            while V4 not in lo.kernel:
                await passing(0.005)
        local.want(Spans.parse("2001:db8::1"))
        await passing(0.01)
        assert lo.kernel == {V6}

    during(local, do())


def test_what_the_kernel_refuses_is_tried_again_ever_more_rarely(lo: Lo) -> None:
    lo.errors = {V4: errno.EPERM}
    local = made(lo)
    local.want(BOTH)

    async def do() -> None:
        await passing(600)
        assert lo.kernel == {V6}
        assert 10 < local.statistics().refused < 20
        assert local.statistics().why == ("the kernel refuses to change 1, such as 192.0.2.1: CAP_NET_ADMIN is missing")
        assert local.explain(*V4) == "not on lo: CAP_NET_ADMIN is missing"
        lo.errors = {}
        local.want(BOTH)
        await passing(0.01)
        assert lo.kernel == {V4, V6}, "a new wish is tried at once"

    during(local, do())
    assert [report.event for report in lo.reports if report.event != "addresses on lo"] == [
        "addresses on lo are not as they should be",
        "addresses on lo are as they should be",
    ]


def test_ipv4_waits_until_the_kernel_keeps_silent_if_others_have_the_address(lo: Lo) -> None:
    local = made(lo)
    local.want(BOTH, ["eth0"], shared=True)

    async def do() -> None:
        await passing(10)
        assert lo.kernel == {V6}
        assert local.statistics().withheld == 1
        assert local.explain(*V4) == (
            "kept off lo: 1 are kept off: with arp_ignore=0 the kernel answers for them on eth0; "
            "sysctl net.ipv4.conf.all.arp_ignore=1"
        )
        lo.sysctls = {"arp_ignore": 1}
        await passing(LOOK_S)
        assert lo.kernel == {V6}
        assert "arp_announce" in local.statistics().why
        lo.sysctls = {"arp_ignore": 1, "arp_announce": 2}
        await passing(LOOK_S + 0.01)
        assert lo.kernel == {V4, V6}
        assert (local.statistics().withheld, local.statistics().why) == (0, "")
        lo.sysctls = {}
        looked = lo.looked
        await passing(LOOK_AT_MOST_S + 0.01)
        assert lo.kernel == {V4, V6}, "what is there stays"
        assert local.statistics().why.startswith("they are there, but with arp_ignore=0")
        assert lo.looked - looked <= 4, "and nobody looks all the time"

    during(local, do())


def test_alone_the_kernel_may_speak(lo: Lo) -> None:
    local = made(lo)
    local.want(BOTH, ["eth0"])
    during(local, passing(100))
    assert lo.kernel == {V4, V6}
    assert lo.looked == 0


def test_a_kernel_that_cannot_be_asked_is_asked_again(lo: Lo) -> None:
    lo.broken = "too many open files"
    local = made(lo)
    local.want(BOTH)

    async def do() -> None:
        await passing(100)
        assert local.statistics().why == "lo cannot be looked after: too many open files"
        assert 5 < local.statistics().failures < 10
        lo.broken = ""
        await passing(64)
        assert lo.kernel == {V4, V6}

    during(local, do())
    assert local.statistics().why == ""
    lo.broken = "no"
    local.close()
    assert (lo.reports[-1].event, lo.reports[-1].level) == ("addresses are left on lo", "error")


def test_a_wish_may_change_while_it_is_being_fulfilled(lo: Lo) -> None:
    local = made(lo)

    async def do() -> None:
        local.want(Spans.parse("192.0.2.0/24"))
        lo.at_change[2] = lambda: local.want(Spans.parse("2001:db8::1"))
        await passing(0.01)
        assert lo.kernel == {V6}

    during(local, do())
    assert local.statistics().added < 256


def test_too_many_are_refused_and_nothing_changes(lo: Lo) -> None:
    local = made(lo)
    local.want(BOTH)
    assert refusal(Spans.parse("10.0.0.0/21")) == ""
    with pytest.raises(ValueError, match=f"expected at most {ADDRESSES_MAX} addresses to put on lo, not 4096"):
        local.want(Spans.parse("10.0.0.0/20"))
    with pytest.raises(ValueError, match="no link-local addresses to put on lo, not fe80::1: they belong to one link"):
        local.want(Spans.parse("fe80::1"))
    during(local, passing(1))
    assert lo.kernel == {V4, V6}


def test_marks_differ_by_control_socket_and_last() -> None:
    assert mark("/run/arpfast/control.sock") == mark("/run/arpfast/control.sock") != mark("/run/other.sock")
    assert mark("/run/arpfast/control.sock") >> 16 == 0x6172
