"""One network interface of a host: an end of a cable (a veth pair), or a macvlan upon one.

Its state is always asked of the kernel, never remembered, so it stays true when a test renames or moves the interface
behind our back; only the index and the host it is in are known. The near end's index is unique in the whole lab:
a veth whose two ends carry the same index is one that the kernel does not take for urgent, and its loss of carrier is
then told up to a second late.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from array import array
from ipaddress import IPv6Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.frames import Mac
from lab.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Interface, IPv6Address

    from lab.host import Host

IFF_UP = 1
IFA_F_TENTATIVE = 0x40
IFA_F_DADFAILED = 0x08
IFA_F_NODAD = 0x02
_SIOCETHTOOL, _ETHTOOL_SGRO = 0x8946, 0x2C  # <linux/sockios.h>, <linux/ethtool.h>


class Link:
    """An interface in `host`, `peer` the cable's other end (None for a macvlan)."""

    def __init__(self, host: Host, index: int, peer: Link | None = None) -> None:
        """Not for callers: `Host.link` and `Link.macvlan` make them."""
        self.host = host
        self.index = index
        self.peer = peer

    def __repr__(self) -> str:
        """Where it is, for a failed test's message."""
        return f"<Link {self.index} in {self.host.name}>"

    def _facts(self) -> Any:
        return self.host.netlink("get_links", self.index)[0]

    def _set(self, **fields: object) -> None:
        self.host.netlink("link", "set", index=self.index, **fields)

    @property
    def name(self) -> str:
        """What it is called now."""
        return str(self._facts().get_attr("IFLA_IFNAME"))

    @property
    def mac(self) -> Mac:
        """Its hardware address now."""
        return Mac(self._facts().get_attr("IFLA_ADDRESS"))

    @property
    def carrier(self) -> bool:
        """Whether both ends are up and joined, and the kernel has taken note."""
        return str(self._facts().get_attr("IFLA_OPERSTATE")) == "UP"

    @property
    def link_local(self) -> IPv6Address:
        """Its IPv6 link-local address."""
        return next(found.ip for found in self.addresses() if isinstance(found, IPv6Interface) and found.is_link_local)

    def addresses(self) -> list[IPv4Interface | IPv6Interface]:
        """The kernel's own addresses on it, as ip_interface objects."""
        return [address for address, _ in self.host.address_flags(self.index)]

    def add_address(self, address: str, *, dad: bool = False, wait: bool = True) -> None:
        """Give the kernel an address, as in `192.0.2.1/24`; usable at once unless `dad` is asked for (IPv6).

        With it the kernel probes first: wait for `duplicates`, or for `tentative` to be empty.
        """
        text, _, length = address.partition("/")
        fields: dict[str, object] = {}
        if dad:
            self.host.set({f"net.ipv6.conf.{self.name.replace('.', '/')}.accept_dad": 1})
        elif ":" in text:
            fields["flags"] = IFA_F_NODAD
        self.host.netlink("addr", "add", index=self.index, address=text, prefixlen=int(length), **fields)
        if wait and not dad:
            wait_until(lambda: not self.tentative(), what=f"{self!r} to finish duplicate address detection")

    def remove_address(self, address: str) -> None:
        """Take an address from the kernel again."""
        text, _, length = address.partition("/")
        self.host.netlink("addr", "del", index=self.index, address=text, prefixlen=int(length))

    def tentative(self) -> list[IPv4Interface | IPv6Interface]:
        """The addresses whose duplicate address detection still runs."""
        return [
            address
            for address, flags in self.host.address_flags(self.index)
            if flags & IFA_F_TENTATIVE and not flags & IFA_F_DADFAILED
        ]

    def duplicates(self) -> list[IPv4Interface | IPv6Interface]:
        """The addresses whose duplicate address detection failed (DADFAILED)."""
        return [address for address, flags in self.host.address_flags(self.index) if flags & IFA_F_DADFAILED]

    def up(self, *, wait: bool = True) -> None:
        """Set it up; `wait` for carrier and usable addresses when the other end is up too."""
        self._set(state="up")
        if wait and (self.peer is None or self.peer.is_up):
            self.wait_carrier()

    @property
    def is_up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self._facts()["flags"] & IFF_UP)

    def down(self) -> None:
        """Set it down: the kernel forgets its IPv6 addresses and routes."""
        self._set(state="down")

    def cut(self) -> None:
        """Pull the cable out at the other end: this end stays up and loses its carrier.

        The other end goes down for it, but keeps its addresses, as it would if it were a port of a machine of its own.
        """
        if self.peer is None:
            raise ValueError(f"expected a cable to cut, not {self!r}")
        self.peer.host.set({f"net.ipv6.conf.{self.peer.name.replace('.', '/')}.keep_addr_on_down": 1})
        self.peer.down()
        wait_until(lambda: not self.carrier, what=f"{self!r} to lose its carrier")

    def mend(self) -> None:
        """Plug the cable in again."""
        if self.peer is None:
            raise ValueError(f"expected a cable to mend, not {self!r}")
        self.peer.up()
        self.wait_carrier()

    def wait_carrier(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until it carries frames and no address of it is tentative."""
        wait_until(lambda: self.carrier and not self.tentative(), deadline_s, what=f"{self!r} to be ready")

    def rename(self, name: str) -> None:
        """Give it another name, also while it is up."""
        self._set(ifname=name)

    def set_mac(self, mac: str | bytes) -> None:
        """Give it another hardware address, also while it is up."""
        self._set(address=str(Mac(mac)))

    def set_mtu(self, mtu: int) -> None:
        """Set the largest packet that it sends."""
        self._set(mtu=mtu)

    def set_arp(self, enabled: bool) -> None:
        """Switch the kernel's own ARP and ND on it on or off (IFF_NOARP)."""
        self._set(arp=enabled)

    def packet_sockets(self) -> int:
        """How many AF_PACKET sockets are bound to it: 0 as long as a responder has yet to listen."""
        table = self.host.call(Path("/proc/thread-self/net/packet").read_text).splitlines()[1:]
        return sum(int(line.split()[4]) == self.index for line in table)

    def tune(self, settings: Mapping[str, int | str]) -> None:
        """Write files of /sys/class/net/<it>: `threaded`, `queues/rx-0/rps_cpus` (a hexadecimal mask)…"""
        name = self.name
        self.host.namespace.write_sysfs({f"class/net/{name}/{file}": f"{value}\n" for file, value in settings.items()})

    def set_gro(self, enabled: bool) -> None:
        """Switch generic receive offload: with it, a veth takes XDP frames even where no native program is attached."""
        wish = array("B", struct.pack("II", _ETHTOOL_SGRO, enabled))
        request = struct.pack("16sP", self.name.encode(), wish.buffer_info()[0])

        def ask() -> None:
            with socket.socket() as sock:
                fcntl.ioctl(sock, _SIOCETHTOOL, request)

        self.host.call(ask)

    def move(self, host: Host, *, name: str | None = None) -> None:
        """Move it to another host: the kernel sets it down and takes its addresses away."""
        name = name or self.name
        self._set(net_ns_fd=host.namespace.file)
        self.host = host
        self.index = host.index_of(name)

    def enslave(self, master: Link) -> None:
        """Make it a port of a bridge in the same host."""
        self._set(master=master.index)

    def release(self) -> None:
        """Make it no port any more."""
        self._set(master=0)

    def macvlan(
        self,
        name: str,
        *,
        host: Host | None = None,
        mode: str = "bridge",
        mac: str | None = None,
        addresses: Iterable[str] = (),
    ) -> Link:
        """A second interface with its own MAC upon this one, in this host or in another; returned up and ready."""
        fields = {"address": mac} if mac else {}
        self.host.netlink("link", "add", ifname=name, kind="macvlan", link=self.index, macvlan_mode=mode, **fields)
        link = Link(self.host, self.host.index_of(name))
        if host is not None:
            link.move(host)
        for address in addresses:
            link.add_address(address, wait=False)
        link.up()
        return link

    def delete(self) -> None:
        """Remove it, and with it the other end."""
        self.host.netlink("link", "del", index=self.index)
