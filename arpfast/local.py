"""`local: lo`: addresses on the loopback interface, so that whatever runs on this host can bind to them and serve.

The responder makes the network send frames for an address here; the kernel takes what is in them only if the address is
its own. Level, not edge: `want` says which addresses are to be on `lo`; `run` makes it so, follows the kernel's events
and puts back what somebody took away; `close` removes what we have put there.

*What is ours* is known by a mark in the kernel, which outlives us even if we are killed: the address's metric
(IFA_RT_PRIORITY, since Linux 4.18, in both families), which means nothing for an address without a subnet. `mark` makes
it from the control socket's path, so that two daemons on a host do not take each other's addresses for leftovers. The
next run takes over what is marked and wanted, without a gap, and removes the rest. What somebody else has put on
`lo` is good enough, and is never touched.

*The kernel must not speak* for these addresses by itself (`silence` has when it does). While it would, and other hosts
have them as well (`shared`), no IPv4 address is added: that would do harm to everybody at once, while a missing address
is missed only here. It is told of, and looked at again every few seconds. What is there already stays: to take it away
would hurt those who are served well.

Needs CAP_NET_ADMIN. Runs on the event loop's thread, `BATCH` changes at a time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from arpfast.inspection import Event
from arpfast.loopback import BATCH, SO_ALREADY, Loopback
from arpfast.rtnetlink import RTM_DELADDR, RTM_NEWADDR
from arpfast.silence import speakers
from arpfast.spans import Spans, address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from arpfast.loopback import Key
    from arpfast.silence import Speaker, Sysctl
    from arpfast.spans import Version

ADDRESSES_MAX = 2048
"""The kernel walks along all addresses of an interface for each change: of 4096 of IPv6, removing takes seconds."""
LOOK_S, LOOK_AT_MOST_S = 2.0, 30.0
"""How often to see whether the kernel has been told to keep silent; and whether it still is, which no event tells."""
RETRY_S, RETRY_AT_MOST_S = 1.0, 60.0
RESTORE_S, RESTORE_AT_MOST_S = 0.1, 10.0
"""Whoever takes addresses away again and again meets a longer pause each time, up to this."""
_LINK_LOCAL = Spans.parse("fe80::/10")


class LocalStatistics(msgspec.Struct, frozen=True):
    """What is on `lo`, and counts since the start."""

    wanted: int = 0
    present: int = 0
    """Of the wanted ones, by whomever they were put there."""
    withheld: int = 0
    """Of the wanted ones: kept off, since the kernel would speak for them."""
    why: str = ""
    """What is wrong, in words; empty if nothing is."""
    added: int = 0
    removed: int = 0
    restored: int = 0
    """Of those added: that somebody had taken away."""
    refused: int = 0
    """Changes that the kernel refused; they are tried again."""
    failures: int = 0
    """Times the kernel could not be asked at all."""


class _Wish(msgspec.Struct, frozen=True):
    addresses: frozenset[Key] = frozenset()
    interfaces: tuple[str, ...] = ()
    shared: bool = False


class _Pause:
    """A pause that doubles from time to time, up to a limit, and is short again after a quiet time."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s, self._most_s = least_s, most_s
        self._delay_s = least_s
        self.until_s = float("-inf")

    def begin(self, now: float) -> None:
        quiet = now - self.until_s > self._most_s
        self._delay_s = self._least_s if quiet else min(self._delay_s * 2, self._most_s)
        self.until_s = now + self._delay_s


def mark(control_path: str) -> int:
    """By what a daemon with this control socket knows its addresses: an IFA_RT_PRIORITY, `ar` and a hash."""
    return 0x61720000 | zlib.crc32(control_path.encode()) & 0xFFFF


def refusal(addresses: Spans) -> str:
    """Why these addresses cannot be put on `lo`; empty if they can."""
    if addresses.size > ADDRESSES_MAX:
        return f"expected at most {ADDRESSES_MAX} addresses to put on lo, not {addresses.size}"
    if useless := addresses & _LINK_LOCAL:
        return f"expected no link-local addresses to put on lo, not {useless.spans[0]}: they belong to one link"
    return ""


def clear(marked: int) -> int:
    """Remove all addresses with this mark from `lo`, now; how many there were. Raises OSError.

    For an end, and for a daemon that has no use for `lo` but may come after one that had, and was killed.
    """
    with Loopback(marked) as lo:
        ours = sorted(lo.ours)
        for at in range(0, len(ours), BATCH):
            for error in set(lo.change(RTM_DELADDR, ours[at : at + BATCH]).values()) - SO_ALREADY:
                raise OSError(error, f"removing an address from lo: {_said(error)}")
    return len(ours)


def sysctl(family: str, interface: str, name: str) -> int:
    """The value in force for an interface, in our network namespace: of `all` and its own, the higher."""
    found = [0]
    for scope in ("all", interface):
        try:
            found.append(int(Path(f"/proc/sys/net/{family}/conf/{scope}/{name}").read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # the interface is gone, and with it what the kernel did there
    return max(found)


class Local:
    """Has the wanted addresses on `lo` for as long as `run` runs."""

    def __init__(
        self, marked: int, report: Callable[[Event], None] = lambda _: None, read_sysctl: Sysctl = sysctl
    ) -> None:
        """Nothing is touched before the first `want`."""
        self._mark = marked
        self._report = report
        self._sysctl = read_sysctl
        self._wish: _Wish | None = None
        self._put: set[Key] = set()
        """Wanted, and put there by us, as far as we know."""
        self._present: frozenset[Key] = frozenset()
        """Wanted, and there when we last looked, by whomever put there."""
        self._withheld: frozenset[Key] = frozenset()
        self._refused: dict[Key, int] = {}
        """The errors of what the kernel refused, until it is tried again."""
        self._why = ""
        self._retry = _Pause(RETRY_S, RETRY_AT_MOST_S)
        self._restore = _Pause(RESTORE_S, RESTORE_AT_MOST_S)
        self._counts: Counter[str] = Counter()
        self._woken = asyncio.Event()

    def want(self, addresses: Spans, interfaces: Iterable[str] = (), *, shared: bool = False) -> None:
        """Replace the wish; does not block. Raises ValueError, changing nothing, for what `refusal` refuses.

        `interfaces` are those that arpfast answers on; `shared`: other hosts have these addresses as well.
        """
        if why_not := refusal(addresses):
            raise ValueError(why_not)
        keys = frozenset((span.version, value) for span in addresses for value in range(span.first, span.last + 1))
        self._wish = _Wish(keys, tuple(interfaces), shared)
        self._refused.clear()
        self._woken.set()

    async def run(self) -> None:
        """Make it so, and keep it so, until cancelled. What is on `lo` then stays there until `close`."""
        loop = asyncio.get_running_loop()
        again = _Pause(RETRY_S, RETRY_AT_MOST_S)
        while True:
            try:
                with Loopback(self._mark) as lo:
                    loop.add_reader(lo, self._woken.set)
                    try:
                        await self._follow(lo, loop)
                    finally:
                        loop.remove_reader(lo)
            except OSError as error:
                self._counts["failures"] += 1
                self._say(f"lo cannot be looked after: {(error.strerror or str(error)).lower()}")
                again.begin(loop.time())
                await asyncio.sleep(again.until_s - loop.time())

    def close(self) -> None:
        """Remove what is ours from `lo`, now. After `run` was cancelled."""
        self._wish = None
        self._put, self._present = set(), frozenset()
        try:
            self._counts["removed"] += clear(self._mark)
        except OSError as error:
            self._report(Event("error", "addresses are left on lo", {"why": error.strerror or str(error)}))

    def statistics(self) -> LocalStatistics:
        """What was there when last looked at, and counts since the start."""
        wanted = self._wish.addresses if self._wish else frozenset()
        return LocalStatistics(
            wanted=len(wanted),
            present=len(wanted & self._present),
            withheld=len(self._withheld),
            why=self._why,
            **self._counts,
        )

    def explain(self, version: Version, value: int) -> str:
        """What became of one address; empty if it is not wanted on `lo`."""
        key = (version, value)
        if self._wish is None or key not in self._wish.addresses:
            return ""
        if key in self._present:
            return f"on lo, put there by {'arpfast' if key in self._put else 'somebody else'}"
        if key in self._refused:
            return f"not on lo: {_said(self._refused[key])}"
        return f"kept off lo: {self._why}" if key in self._withheld else "about to be put on lo"

    async def _follow(self, lo: Loopback, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._woken.clear()
            lo.drain()
            again_s = await self._settle(lo, loop)
            try:
                async with asyncio.timeout_at(again_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _settle(self, lo: Loopback, loop: asyncio.AbstractEventLoop) -> float | None:
        """Do all that can be done now. When there is more to do, on the loop's clock; None: not before an event."""
        wish, now = self._wish, loop.time()
        if wish is None:
            return None
        if now >= self._retry.until_s:
            self._refused.clear()
        four = {key for key in wish.addresses if key[0] == 4}
        speaking = speakers(self._sysctl, wish.interfaces) if wish.shared and four else []
        held = set(four) if speaking else set()
        if now < self._restore.until_s:
            held |= self._put & wish.addresses
        before = self._counts.copy()
        tried: set[Key] = set()
        while self._wish is wish:
            what, keys = _next(lo, wish, held | tried | self._refused.keys())
            if not keys:
                break
            tried.update(keys)
            errors = lo.change(what, keys)
            refused = {key: error for key, error in errors.items() if error not in SO_ALREADY}
            self._refused |= refused
            good = set(keys) - errors.keys()
            self._counts["refused"] += len(refused)
            self._counts["removed" if what == RTM_DELADDR else "added"] += len(good)
            self._counts["restored"] += len(good & self._put) if what == RTM_NEWADDR else 0
            lo.drain()
            await asyncio.sleep(0)
        done = self._counts - before
        if done["refused"]:
            self._retry.begin(now)
        if done["restored"]:
            self._restore.begin(now)
        self._put = (self._put & held) | (lo.ours & wish.addresses)
        self._present = frozenset(lo.present & wish.addresses)
        self._withheld = frozenset(four - lo.present) if speaking else frozenset()
        if done["added"] or done["removed"]:
            self._report(Event("info", "addresses on lo", dict(done)))
        self._say(self._trouble(speaking))
        return self._again(lo, wish, now, looks=wish.shared and bool(four))

    def _again(self, lo: Loopback, wish: _Wish, now: float, *, looks: bool) -> float | None:
        due: list[float] = []
        if looks:
            due.append(now + (LOOK_S if self._withheld else LOOK_AT_MOST_S))
        if self._refused:
            due.append(self._retry.until_s)
        if wish.addresses - lo.present - self._withheld - self._refused.keys():
            due.append(max(now + RESTORE_S, self._restore.until_s))
        return min(due, default=None)

    def _trouble(self, speaking: list[Speaker]) -> str:
        if speaking:
            what = f"{len(self._withheld)} are kept off: " if self._withheld else "they are there, but "
            return f"{what}{speaking[0]}; {speaking[0].remedy}"
        if self._refused:
            key, error = next(iter(self._refused.items()))
            return f"the kernel refuses to change {len(self._refused)}, such as {address_of(*key)}: {_said(error)}"
        return ""

    def _say(self, why: str) -> None:
        before, self._why = self._why, why
        if why and why != before:
            self._report(Event("warning", "addresses on lo are not as they should be", {"why": why}))
        elif before and not why:
            self._report(Event("info", "addresses on lo are as they should be", {}))


def _next(lo: Loopback, wish: _Wish, held: AbstractSet[Key]) -> tuple[int, list[Key]]:
    """What to do next, leaving alone what is `held`: at most BATCH of one kind, removals first."""
    if surplus := lo.ours - wish.addresses - held:
        return RTM_DELADDR, sorted(surplus)[:BATCH]
    return RTM_NEWADDR, sorted(wish.addresses - lo.present - held)[:BATCH]


def _said(error: int) -> str:
    return "CAP_NET_ADMIN is missing" if error == errno.EPERM else os.strerror(error).lower()
