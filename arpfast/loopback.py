"""What is on `lo`, as the kernel tells it, and changes to it: the hands of `local`.

Only single addresses (/32, /128) that carry our mark are ever removed. Every change of ours comes back as an event, so
after `drain` the picture is the kernel's, whoever changed what; if events were lost, all is read anew.

Runs on the event loop's thread and does not wait, but for the kernel to do what it is asked to.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Self

from arpfast import rtnetlink
from arpfast.rtnetlink import Done, LinkAddress, NewAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arpfast.spans import Version

    Key = tuple[Version, int]

BATCH = 32
"""Most changes in one request: the event loop's other work waits as long."""

SO_ALREADY = frozenset((errno.EEXIST, errno.EADDRNOTAVAIL))
"""What the kernel says to adding what is there, and to removing what is not. The event that would have told us may yet
come: those of IPv6 take their time."""

_LO = 1  # its index in every network namespace
_GROUPS = (1 << 5 - 1) | (1 << 9 - 1)  # RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR
_DATAGRAM = 1 << 16
_RCVBUF = 1 << 20
_ANSWERS_WITHIN_S = 5.0
_READ_AGAIN = 5


class Loopback:
    """`lo` of our network namespace; a context manager."""

    def __init__(self, mark: int) -> None:
        """Look at it. `mark` is the metric of addresses that are ours. Raises OSError."""
        self.ours: set[Key] = set()
        self.present: set[Key] = set()
        """All addresses on it, ours and others'."""
        self.overflows = 0
        """How often events were lost."""
        self._mark = mark
        self._there: dict[Key, dict[int, int]] = {}
        """Metrics by address and length of prefix."""
        self._sequence = 0
        self._events = _socket()
        try:
            self._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF)
            self._events.setblocking(False)
            self._events.bind((0, _GROUPS))  # before all is read: what happens in between comes as an event
            self._read()
        except OSError:
            self._events.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more; changes nothing."""
        self._events.close()

    def fileno(self) -> int:
        """Readable when there is something to `drain`."""
        return self._events.fileno()

    def drain(self) -> None:
        """Take what has happened."""
        messages: list[LinkAddress] = []
        lost = False
        while True:
            try:
                datagram, _, flags, _ = self._events.recvmsg(_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                datagram, flags = b"", socket.MSG_TRUNC
            lost = lost or bool(flags & socket.MSG_TRUNC)
            messages += [message for message in rtnetlink.decode(datagram) if isinstance(message, LinkAddress)]
        if lost:
            self.overflows += 1
            self._read()
        else:
            self._take(messages)

    def change(self, what: int, keys: Sequence[Key]) -> dict[Key, int]:
        """RTM_NEWADDR or RTM_DELADDR for at most BATCH addresses. The errors of those for which nothing was done, of
        SO_ALREADY where nothing had to be. Raises OSError if the kernel cannot be asked.
        """
        with _socket() as asking:
            requests = [NewAddress(_LO, *key, self._mark) for key in keys]
            asking.send(b"".join(rtnetlink.address_request(what, one, at) for at, one in enumerate(requests)))
            errors: list[int] = []
            while len(errors) < len(keys):  # in the order of the requests
                errors += [one.error for one in rtnetlink.decode(asking.recv(_DATAGRAM)) if isinstance(one, Done)]
        return {key: error for key, error in zip(keys, errors, strict=True) if error}

    def _read(self) -> None:
        for _ in range(_READ_AGAIN):
            self._sequence += 1
            messages: list[LinkAddress] = []
            done: Done | None = None
            with _socket() as asking:
                asking.send(rtnetlink.dump_request(rtnetlink.RTM_GETADDR, self._sequence))
                while done is None:
                    for message in rtnetlink.decode(asking.recv(_DATAGRAM), sequence=self._sequence):
                        if isinstance(message, LinkAddress):
                            messages.append(message)
                        elif isinstance(message, Done):
                            done = message
            if done.error not in {0, errno.EINTR}:
                raise OSError(done.error, f"reading addresses: {os.strerror(done.error).lower()}")
            if done.error == 0:
                break  # else they changed meanwhile; what changes faster than it can be read comes as events as well
        self._there.clear()
        self.present.clear()
        self.ours.clear()
        self._take(messages)

    def _take(self, messages: Sequence[LinkAddress]) -> None:
        for message in messages:
            if message.ifindex != _LO:
                continue
            address = message.address
            version, bits = address.version, address.max_prefixlen
            key, length = (version, int(address.ip)), address.network.prefixlen
            lengths = self._there.setdefault(key, {})
            if message.gone:
                lengths.pop(length, None)
            else:
                lengths[length] = message.metric
            (self.present.add if lengths else self.present.discard)(key)
            (self.ours.add if lengths.get(bits) == self._mark else self.ours.discard)(key)
            if not lengths:
                del self._there[key]


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.settimeout(_ANSWERS_WITHIN_S)  # the kernel answers within the call; this only bounds a kernel that does not
    return made
