"""Others that answer for addresses which no kernel owns: what arpfast is measured against.

Each is started on one end of a cable for one prefix, and is listening when it is returned. farpd and ndppd answer only
where the kernel has an address of their family that others can use, too. ndsend is missing: Debian does not have it.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from lab.native import compiled
from lab.waiting import wait_until

LOCAL_TABLE = 255

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

    from lab.link import Link
    from lab.process import Process


def kernel(link: Link, prefix: str) -> None:
    """The kernel's own responder: a local route for IPv4, as many addresses as the prefix has for IPv6."""
    network = ip_network(prefix)
    if network.version == 4:
        link.host.netlink("route", "add", dst=prefix, type="local", table=LOCAL_TABLE, scope="host", oif=1)
    else:
        for address in network:
            link.add_address(f"{address}/128", wait=False)


def cloop(link: Link, prefix: str, *, cpus: Iterable[int] | None = None) -> Process:
    """The plain recv/send loop in C, for either family."""
    network = ip_network(prefix)
    return _start(link, [compiled("peers/cloop.c"), link.name, str(network[0]), str(network[-1])], cpus)


def ndppd(link: Link, prefix: str, *, cpus: Iterable[int] | None = None) -> Process:
    """Debian's ndppd, answering by a static rule (IPv6)."""
    configuration = link.host.lab.directory / f"ndppd-{link.index}.conf"
    configuration.write_text(f"proxy {link.name} {{\n  router no\n  rule {prefix} {{\n    static\n  }}\n}}\n")
    return _start(link, ["ndppd", "-c", configuration], cpus)


def farpd(link: Link, prefix: str, *, cpus: Iterable[int] | None = None) -> Process:
    """Debian's farpd (IPv4). It asks twice, for a second, whether somebody else has an address, and then remembers.

    `-d` keeps it in the foreground; what it then says of every request goes where it costs least.
    """
    return _start(link, ["sh", "-c", 'exec farpd -d -i "$0" "$1" 2>/dev/null', link.name, prefix], cpus)


def _start(link: Link, command: Sequence[str | PathLike[str]], cpus: Iterable[int] | None) -> Process:
    process = link.host.spawn(command, cpus=cpus)
    wait_until(lambda: not process.alive or link.packet_sockets() > 0, 10, what=f"{command[0]} to listen")
    assert process.alive, process.output
    return process
