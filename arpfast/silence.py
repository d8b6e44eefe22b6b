"""What keeps the kernel from speaking for an address that is on `lo` only. Pure.

An address on `lo` is one of the host's like any other. For IPv4 the kernel answers requests for it on every interface
(RFC 1122's weak host model), and may ask its neighbours *from* it, which tells them that it lives here: with
one host that is harmless, with several that hold the address it turns neighbours away from the one that is to have it.

    arp_ignore    0 answers for it; 1 and 2 do not (not an address of the interface asked on), nor does 3 (ours have
                  the scope host, which 3 leaves out) nor 8 (answers for none); 4 to 7 are reserved, and act as 0
    arp_announce  2 asks from an address of the interface itself; 0 and 1 from that of the packet to be sent, as long
                  as it looks like one of the interface's subnets

Of `all` and the interface's own the kernel takes the higher value, also where the higher one is the worse.

IPv6 needs nothing: the kernel answers for, and asks from, what is on the interface asked on, only (RFC 4861 §7.2.3 and
§7.2.2; seen on Linux 6.18, with forwarding and proxy_ndp, too: the latter takes an entry for the address).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Sysctl = Callable[[str, str, str], int]
    """Family, interface and name to the value in force, as `Machine.sysctl`."""

_SILENT = {"arp_ignore": (1, 2, 3, 8), "arp_announce": (2,)}
WANTED = {"arp_ignore": 1, "arp_announce": 2}
_SPEAKS = {"arp_ignore": "answers for", "arp_announce": "asks its neighbours from"}


class Speaker(NamedTuple):
    """An interface on which the kernel speaks for addresses that are on `lo` only, and what has it do so."""

    interface: str
    name: str
    """`arp_ignore` or `arp_announce`."""
    value: int

    def __str__(self) -> str:
        return f"with {self.name}={self.value} the kernel {_SPEAKS[self.name]} them on {self.interface}"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        name, wanted = self.name, WANTED[self.name]
        if self.value > wanted:  # that of `all` might be as high: the higher of both counts
            return f"sysctl net.ipv4.conf.all.{name}={wanted} net.ipv4.conf.{self.interface}.{name}={wanted}"
        return f"sysctl net.ipv4.conf.all.{name}={wanted}"


def speakers(sysctl: Sysctl, interfaces: Iterable[str]) -> list[Speaker]:
    """All that has to be changed before the kernel keeps silent on these interfaces."""
    return [
        Speaker(interface, name, value)
        for interface in interfaces
        for name, silent in _SILENT.items()
        if (value := sysctl("ipv4", interface, name)) not in silent
    ]
