"""A switch: a host with one bridge, of which every cable becomes a port.

Its multicast table is read by RTM_GETMDB, which pyroute2 does not speak: <linux/if_bridge.h>, struct br_mdb_entry.
"""

from __future__ import annotations

import select
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from lab.host import Host
from lab.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.host import Address
    from lab.link import Link
    from lab.network import Lab

AF_BRIDGE = 7
RTM_GETMDB = 86
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_DONE = 3
MDBA_MDB = MDBA_MDB_ENTRY_INFO = 1
NLA_TYPE_MASK = 0x3FFF
_ENTRY = struct.Struct("=IBBH16sH")  # struct br_mdb_entry
_RESPONSE_INTERVAL_S = 0.1


class Switch(Host):
    """`lab.switch()` makes one. `bridge_link` is the bridge itself, on which the switch could have addresses."""

    _prefix = "port"

    def __init__(self, lab: Lab, name: str, number: int, *, snooping: bool, querier: bool) -> None:
        """Not for callers, see `Lab.switch`."""
        super().__init__(lab, name, number)
        self.bridge_link = self.bridge("bridge")
        self.snoop(snooping, querier=querier)

    def _plug(self, link: Link) -> None:
        link.enslave(self.bridge_link)

    def snoop(self, enabled: bool, *, querier: bool = False) -> None:
        """Switch IGMP and MLD snooping on or off: on, and with a querier, groups reach only ports that joined them.

        Without a querier the kernel floods all groups although snooping is on. With one, it floods until it has asked
        once and waited for the answers (`wait_snooping`).
        """
        self._set(mcast_snooping=int(enabled))
        self._set(mcast_query_response_intvl=round(_RESPONSE_INTERVAL_S * 100))
        self._set(mcast_querier=int(querier))

    def wait_snooping(self) -> None:
        """Ask all ports for their groups, now that they are plugged in, and wait until flooding has stopped.

        A bridge has no address to ask from before its first port has a carrier, and would ask again only after half a
        minute: the querier is started anew. How long it then floods is not to be seen from outside, but fixed.
        """
        self.bridge_link.wait_carrier()
        self._set(mcast_querier=0)
        self._set(mcast_querier=1)
        select.poll().poll(_RESPONSE_INTERVAL_S * 1000 + 20)

    def members(self, port: Link) -> list[Address]:
        """The groups that hosts behind this port have joined, as the bridge has learnt."""
        return [group for index, group in self.call(lambda: list(_groups())) if index == port.index]

    def wait_member(self, port: Link, group: str | Address, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the bridge has learnt that a host behind this port joined the group."""
        wanted = ip_address(group)
        wait_until(lambda: wanted in self.members(port), deadline_s, what=f"{wanted} behind {port!r}")

    def _set(self, **settings: int) -> None:
        fields = {f"br_{name}": value for name, value in settings.items()}
        self.netlink("link", "set", index=self.bridge_link.index, kind="bridge", **fields)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        yield kind & NLA_TYPE_MASK, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _groups() -> Iterator[tuple[int, Address]]:
    """Every port's index with each group that it has, in the namespace of the calling thread."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        question = struct.pack("=BxxxI", AF_BRIDGE, 0)
        netlink.send(struct.pack("=IHHII", 16 + len(question), RTM_GETMDB, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + question)
        while True:
            answer = netlink.recv(1 << 16)
            while len(answer) >= 16:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == NLMSG_DONE:
                    return
                yield from _read(answer[24:length])
                answer = answer[(length + 3) & ~3 :]


def _read(message: bytes) -> Iterator[tuple[int, Address]]:
    for table, entries in _attributes(message):
        for _, infos in _attributes(entries) if table == MDBA_MDB else ():
            for kind, info in _attributes(infos):
                if kind == MDBA_MDB_ENTRY_INFO:
                    index, _, _, _, group, protocol = _ENTRY.unpack_from(info)
                    protocol = socket.ntohs(protocol)
                    if protocol in {0x0800, 0x86DD}:
                        yield index, IPv4Address(group[:4]) if protocol == 0x0800 else IPv6Address(group)
