"""Solicited-node groups (RFC 4291 §2.7.1), really joined: MLD reports leave the host, snooping switches listen.

Level, not edge: `want` says which addresses an interface has, the difference to what is joined becomes work, `step`
does it in slices of time. A join costs the kernel more the more there are (8 ms for the first thousand, 0.5 s for ten
thousand, 11 s for fifty), so a long list must not be worked off in one go on the event loop. One socket's option
memory holds 2 340 joins; here each holds a thousand.

Addresses with equal low 24 bits share a group. Up to GROUPS_AT_MOST groups of an interface are joined, single addresses
first. What does not fit, or can not be joined, has the interface accept all multicast instead: the frames are heard on
any link, but no report asks a *snooping* switch for them; there, flooding has to be allowed on our port. 16 384 joins
take 1.2 s, and 460 reports for each query; common switches track a few thousand groups, NICs filter some dozens.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from arpfast.spans import Spans

GROUPS_AT_MOST = 16384
JOINS_A_SOCKET = 1000
RETRY_S, RETRY_AT_MOST_S = 0.1, 60.0
_LOW = (1 << 24) - 1
_PREFIX = bytes.fromhex("ff0200000000000000000001ff")
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_ALLMULTI = 263, 1, 2


class Plan(NamedTuple):
    """Which groups to join, by their low 24 bits, and whether others are left that need all multicast."""

    groups: frozenset[int]
    all_multicast: bool


def plan(addresses: Spans, at_most: int = GROUPS_AT_MOST) -> Plan:
    """The groups of IPv6 addresses; those of the smallest spans first, as long as there are not more than `at_most`."""
    groups: set[int] = set()
    for span in sorted(addresses, key=lambda span: span.size):
        if span.size > at_most:
            return Plan(frozenset(groups), all_multicast=True)
        more = {value & _LOW for value in range(span.first, span.last + 1)} - groups
        if len(groups) + len(more) > at_most:
            return Plan(frozenset(groups), all_multicast=True)
        groups |= more
    return Plan(frozenset(groups), all_multicast=False)


def group(low: int) -> bytes:
    """The group's address, 16 bytes."""
    return _PREFIX + low.to_bytes(3, "big")


class _Membership:
    """What is joined on one interface."""

    def __init__(self, ifindex: int, ended: int) -> None:
        self.ifindex = ifindex
        self.ended = ended
        self.addresses: Spans | None = None
        self.wanted = Plan(frozenset(), all_multicast=False)
        self.joined: dict[int, socket.socket] = {}
        self.room: dict[socket.socket, int] = {}
        self.accepting_all: socket.socket | None = None
        self.to_join: list[int] = []
        self.to_leave: list[int] = []
        self.failed: set[int] = set()

    def is_settled(self) -> bool:
        return not self.to_join and not self.to_leave


class Groups:
    """The memberships of all interfaces. All calls on the event loop's thread."""

    def __init__(self) -> None:
        """Nothing is joined."""
        self.joins = 0
        """Groups joined since the start."""
        self.failures = 0
        """Joins that the kernel refused; all multicast stands in for them."""
        self._memberships: dict[int, _Membership] = {}
        self.retry_s: float | None = None
        """When `step` tries again what the kernel refused, by `time.monotonic`: IPv6 on an interface is announced a
        moment before it can be joined on.
        """
        self._retry_delay_s = RETRY_S
        self._closing: list[socket.socket] = []

    def want(self, ifindex: int, addresses: Spans, ended: int = 0) -> bool:
        """Replace the wish for one interface; whether it is fulfilled already, else `step` will. When `ended`
        (`Interface.ipv6_ended`) is another than before, all that was joined is void, and joined anew.
        """
        membership = self._memberships.get(ifindex)
        if membership is not None and membership.ended != ended:
            self.drop(ifindex)
            membership = None
        if membership is None:
            if not addresses:
                return True
            membership = self._memberships[ifindex] = _Membership(ifindex, ended)
        if membership.addresses == addresses:
            return membership.is_settled()
        membership.addresses = addresses
        wanted = membership.wanted = plan(addresses)
        membership.failed.clear()
        membership.to_join = sorted(wanted.groups.difference(membership.joined), reverse=True)
        membership.to_leave = [low for low in membership.joined if low not in wanted.groups]
        self._accept_all(membership, needed=wanted.all_multicast)
        return membership.is_settled()

    def drop(self, ifindex: int) -> None:
        """The interface is gone, or IPv6 on it: what was joined is void."""
        membership = self._memberships.pop(ifindex, None)
        if membership is not None:
            self._closing.extend(membership.room)
            if membership.accepting_all is not None:
                self._closing.append(membership.accepting_all)

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._closing) or any(not membership.is_settled() for membership in self._memberships.values())

    def step(self, budget_s: float = 0.002) -> list[int]:
        """Work for about `budget_s`. The interfaces whose wish was fulfilled by it."""
        now = time.monotonic()
        until = now + budget_s
        if self.retry_s is not None and now >= self.retry_s:
            self.retry_s = None
            for membership in self._memberships.values():
                membership.to_join += membership.failed
                membership.failed.clear()
        done: list[int] = []
        # First, and before any join: the kernel remembers a membership by ifindex, so a socket from before IPv6 ended
        # there would take the new membership with it when it is closed.
        while self._closing and time.monotonic() < until:
            self._closing.pop().close()
        if self._closing:
            return done
        for membership in self._memberships.values():
            if membership.is_settled():
                continue
            while membership.to_join and time.monotonic() < until:
                self._join(membership, membership.to_join.pop())
            # Joined before left: an address that moves within its wish is never unheard.
            while not membership.to_join and membership.to_leave and time.monotonic() < until:
                self._leave(membership, membership.to_leave.pop())
            if membership.is_settled():
                self._accept_all(membership, needed=membership.wanted.all_multicast or bool(membership.failed))
                self._plan_retry(now, failed=bool(membership.failed))
                done.append(membership.ifindex)
        return done

    def _plan_retry(self, now: float, *, failed: bool) -> None:
        if not failed:
            self._retry_delay_s = RETRY_S
        elif self.retry_s is None:
            self.retry_s = now + self._retry_delay_s
            self._retry_delay_s = min(self._retry_delay_s * 2, RETRY_AT_MOST_S)

    def close(self) -> None:
        """Leave everything; not sliced."""
        for ifindex in list(self._memberships):
            self.drop(ifindex)
        while self._closing:
            self._closing.pop().close()

    def _join(self, membership: _Membership, low: int) -> None:
        request = group(low) + struct.pack("=I", membership.ifindex)
        while True:
            try:
                joining = next((each for each, room in membership.room.items() if room > 0), None)
                if joining is None:
                    joining = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                    membership.room[joining] = JOINS_A_SOCKET
                joining.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            except OSError as error:
                if (
                    error.errno in {errno.ENOMEM, errno.ENOBUFS}
                    and joining is not None
                    and membership.room[joining] < JOINS_A_SOCKET
                ):
                    membership.room[joining] = 0  # full before its time: net.core.optmem_max is smaller here
                    continue
                self.failures += 1
                membership.failed.add(low)
                return
            membership.room[joining] -= 1
            membership.joined[low] = joining
            self.joins += 1
            return

    def _leave(self, membership: _Membership, low: int) -> None:
        leaving = membership.joined.pop(low)
        membership.room[leaving] += 1
        if membership.room[leaving] >= JOINS_A_SOCKET:
            del membership.room[leaving]
            leaving.close()
            return
        request = group(low) + struct.pack("=I", membership.ifindex)
        with suppress(OSError):  # the interface went away, and the membership with it
            leaving.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, request)

    def _accept_all(self, membership: _Membership, *, needed: bool) -> None:
        if not needed:
            if membership.accepting_all is not None:
                membership.accepting_all.close()
                membership.accepting_all = None
            return
        if membership.accepting_all is not None:
            return
        try:
            accepting = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        except OSError:
            self.failures += 1
            return
        try:
            accepting.setsockopt(
                _SOL_PACKET,
                _PACKET_ADD_MEMBERSHIP,
                struct.pack("=iHH8x", membership.ifindex, _PACKET_MR_ALLMULTI, 0),
            )
        except OSError:
            accepting.close()
            self.failures += 1
            return
        membership.accepting_all = accepting
