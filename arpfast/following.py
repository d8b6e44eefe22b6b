"""The interfaces of this host, as immutable snapshots that follow the kernel's own events.

`Watch` holds one rtnetlink socket bound to the groups for links, addresses, routes and IPv6 forwarding. Nothing is
polled and /sys is never read (it shows the namespace in which it was mounted, not ours). A burst of events is let
settle for a few milliseconds and becomes one snapshot; interfaces that did not change are the very same objects in the
next one.

Rules that keep the picture true:

1. The socket listens before the first dump is asked for: what happens in between arrives as an event.
2. If events were lost (ENOBUFS, truncation, a dead socket), everything is dumped again; nothing is guessed.
3. Links, addresses and forwarding are followed event by event, each of which carries its object whole. Routes are
   not: the kernel drops IPv4 routes without a word when a link goes down or an address goes away. So an event about a
   default route, or about a link that routers are reached by, has the default routes dumped anew.
4. A socket filter lets no route but a default one wake us: a host that runs BGP has a million others.

Runs on the event loop's thread.
"""

from __future__ import annotations

import array
import asyncio
import errno
import os
import socket
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from arpfast import rtnetlink
from arpfast.interfaces import Interface

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from ipaddress import IPv4Interface, IPv6Interface

    from arpfast.interfaces import Snapshot
    from arpfast.spans import Address

_ARPHRD_ETHER = 1
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_NOARP = 0x1, 0x8, 0x40, 0x80
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_DATAGRAM = 1 << 16
_SETTLE_S, _SETTLE_TIMES = 0.004, 10
_BACKOFF_S, _BACKOFF_AT_MOST_S = 0.05, 5.0


class Picture:
    """What the messages so far say. Pure: messages in, snapshots out."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.routes_stale = False
        """The default routes must be dumped again (rule 3)."""
        self._links: dict[int, rtnetlink.Link] = {}
        self._addresses: dict[int, dict[IPv4Interface | IPv6Interface, int]] = {}
        self._gateways: dict[int, tuple[Address, ...]] = {}
        self._forwarding: dict[int, bool] = {}
        self._ipv6_ended: dict[int, int] = {}
        self._built: dict[int, Interface] = {}
        self._dirty: set[int] = set()
        self._snapshot: Snapshot = MappingProxyType({})

    def replace(self, what: int, messages: Iterable[rtnetlink.Message]) -> None:
        """Take the full answer to the dump `what` (RTM_GET…) in place of what was known of that."""
        messages = list(messages)
        if what == rtnetlink.RTM_GETLINK:
            self._dirty.update(self._links)
            self._links = {}
        elif what == rtnetlink.RTM_GETADDR:
            self._dirty.update(self._addresses)
            self._addresses = {}
        elif what == rtnetlink.RTM_GETNETCONF:
            self._dirty.update(self._forwarding)
            for index in self._forwarding:  # what was lost may have been an end and a new beginning
                self._ipv6_ended[index] = self._ipv6_ended.get(index, 0) + 1
            self._forwarding = {}
        else:
            hops = sorted(
                {hop for message in messages if isinstance(message, rtnetlink.DefaultRoute) for hop in message.hops},
                key=lambda hop: (hop[0], hop[1].version, int(hop[1])),
            )
            gateways: dict[int, tuple[Address, ...]] = {}
            for index, router in hops:
                gateways[index] = (*gateways.get(index, ()), router)
            self._dirty.update(gateways, self._gateways)
            self._gateways = gateways
            self.routes_stale = False
            return
        for message in messages:
            self.take(message)

    def take(self, message: rtnetlink.Message) -> None:
        """Take one event."""
        match message:
            case rtnetlink.Link():
                before = self._links.get(message.ifindex)
                if message.gone:
                    self._links.pop(message.ifindex, None)
                    self._addresses.pop(message.ifindex, None)
                    self._forwarding.pop(message.ifindex, None)
                else:
                    self._links[message.ifindex] = message
                if message.ifindex in self._gateways and (
                    message.gone or (before is not None and before.flags != message.flags)
                ):
                    self.routes_stale = True
            case rtnetlink.LinkAddress():
                of_link = self._addresses.setdefault(message.ifindex, {})
                if message.gone:
                    of_link.pop(message.address, None)
                    self.routes_stale = self.routes_stale or message.ifindex in self._gateways
                else:
                    of_link[message.address] = message.flags
            case rtnetlink.Forwarding():
                if message.gone:
                    self._forwarding.pop(message.ifindex, None)
                    self._ipv6_ended[message.ifindex] = self._ipv6_ended.get(message.ifindex, 0) + 1
                else:
                    self._forwarding[message.ifindex] = message.forwards
            case rtnetlink.DefaultRoute():
                self.routes_stale = True
                return
            case rtnetlink.Done():
                return
        self._dirty.add(message.ifindex)

    def snapshot(self) -> Snapshot:
        """All interfaces by ifindex; the same object as before if nothing has changed."""
        changed = False
        for index in self._dirty:
            interface = self._interface(index)
            if interface != self._built.get(index):
                changed = True
                if interface is None:
                    del self._built[index]
                    self._ipv6_ended.pop(index, None)
                else:
                    self._built[index] = interface
        self._dirty.clear()
        if changed:
            self._snapshot = MappingProxyType(dict(self._built))
        return self._snapshot

    def _interface(self, index: int) -> Interface | None:
        link = self._links.get(index)
        if link is None:
            return None
        addresses = {
            address: flags for address, flags in self._addresses.get(index, {}).items() if not flags & _IFA_F_DADFAILED
        }
        in_order = sorted(addresses, key=lambda address: (address.version, int(address.ip), address.network.prefixlen))
        link_local = next(
            (a.ip for a in in_order if a.version == 6 and a.ip.is_link_local and not addresses[a] & _IFA_F_TENTATIVE),
            None,
        )
        return Interface(
            index=index,
            name=link.name,
            mac=link.mac,
            up=bool(link.flags & _IFF_UP),
            carrier=bool(link.flags & _IFF_RUNNING),
            master=link.master,
            enslaved=link.master != 0 and link.slave_kind != "vrf",
            ethernet=link.kind == _ARPHRD_ETHER,
            loopback=bool(link.flags & _IFF_LOOPBACK),
            arp=not link.flags & _IFF_NOARP,
            mtu=link.mtu,
            ipv6=index in self._forwarding,
            ipv6_ended=self._ipv6_ended.get(index, 0),
            router6=self._forwarding.get(index, False),
            addresses=tuple(in_order),
            gateways=self._gateways.get(index, ()),
            link_local=link_local,
        )


class WatchStatistics(msgspec.Struct, frozen=True):
    """What it took to follow the kernel."""

    events: int = 0
    dumps: int = 0
    overflows: int = 0
    """How often the kernel had to drop events, after which everything was dumped again."""
    failures: int = 0
    """How often the socket had to be opened anew."""


class Watch:
    """`async for snapshot in Watch():` yields the first snapshot at once, then each that differs from the one before.

    A socket that fails is opened anew, backing off up to 5 s, for as long as it takes; `statistics` counts it.
    """

    def __init__(self) -> None:
        """Nothing is opened before the first snapshot is asked for."""
        self._socket: socket.socket | None = None
        self._picture = Picture()
        self._last: Snapshot | None = None
        self._stale = True
        self._backoff_s = _BACKOFF_S
        self._sequence = 0
        self._counts = {"events": 0, "dumps": 0, "overflows": 0, "failures": 0}

    def statistics(self) -> WatchStatistics:
        """Counts since the start."""
        return WatchStatistics(**self._counts)

    def close(self) -> None:
        """Stop listening; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        return self

    async def __anext__(self) -> Snapshot:
        while True:
            try:
                snapshot = await self._next()
            except OSError:
                self.close()
                self._counts["failures"] += 1
                await asyncio.sleep(self._backoff_s)
                self._backoff_s = min(self._backoff_s * 2, _BACKOFF_AT_MOST_S)
                continue
            self._backoff_s = _BACKOFF_S
            if snapshot is not self._last:
                self._last = snapshot
                return snapshot

    async def _next(self) -> Snapshot:
        if self._socket is None:
            self._socket = _listen()
            self._stale = True
        elif not self._stale:
            await _readable(self._socket)
            for _ in range(_SETTLE_TIMES):
                if not self._drain(self._socket):
                    break
                await asyncio.sleep(_SETTLE_S)
        if self._stale:
            for what in (rtnetlink.RTM_GETLINK, rtnetlink.RTM_GETADDR, rtnetlink.RTM_GETNETCONF):
                self._picture.replace(what, await self._dump(what))
            self._picture.routes_stale = True
            self._stale = False
        if self._picture.routes_stale:
            self._picture.replace(rtnetlink.RTM_GETROUTE, await self._dump(rtnetlink.RTM_GETROUTE))
        return self._picture.snapshot()

    def _drain(self, listening: socket.socket) -> bool:
        """Take all that waits; whether there was anything."""
        any_yet = False
        while True:
            try:
                datagram, _, flags, _ = listening.recvmsg(_DATAGRAM)
            except BlockingIOError:
                return any_yet
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                flags = socket.MSG_TRUNC
                datagram = b""
            any_yet = True
            if flags & socket.MSG_TRUNC:
                self._counts["overflows"] += 1
                self._stale = True
            for message in rtnetlink.decode(datagram):
                self._counts["events"] += 1
                self._picture.take(message)

    async def _dump(self, what: int) -> list[rtnetlink.Message]:
        for _ in range(5):
            self._sequence += 1
            self._counts["dumps"] += 1
            messages, error = await _ask(what, self._sequence)
            if error == errno.EOPNOTSUPP and what == rtnetlink.RTM_GETNETCONF:
                return []  # a kernel without IPv6
            if error not in {0, errno.EINTR}:
                raise OSError(error, f"dump of rtnetlink state {what}: {os.strerror(error)}")
            if error == 0:
                return messages
        # The state changes faster than it can be read; each change comes as an event as well.
        return messages


async def _ask(what: int, sequence: int) -> tuple[list[rtnetlink.Message], int]:
    messages: list[rtnetlink.Message] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(5)  # the kernel answers within the call; this only bounds a kernel that does not
        asking.send(rtnetlink.dump_request(what, sequence))
        while True:
            for message in rtnetlink.decode(asking.recv(_DATAGRAM), sequence=sequence):
                if isinstance(message, rtnetlink.Done):
                    return messages, message.error
                messages.append(message)
            await asyncio.sleep(0)


def _listen() -> socket.socket:
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        listening.setblocking(False)
        try:
            listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)
        except PermissionError:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        program = array.array("B", rtnetlink.DEFAULT_ROUTES_ONLY)
        address, size = program.buffer_info()
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", size // 8, address))
        listening.bind((0, rtnetlink.GROUPS))
    except OSError:
        listening.close()
        raise
    return listening


async def _readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(listening, wake)
    try:
        await ready
    finally:
        loop.remove_reader(listening)
