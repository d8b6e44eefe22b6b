"""Others that answer for addresses which no kernel owns: what arpfast is measured against.

Each is started on one end of a cable for one prefix, and is listening when it is returned. farpd and ndppd answer only
where the kernel has an address of their family that others can use, too. ndsend is missing: Debian does not have it.
`keepalived.py` puts addresses on the host, where the kernel answers for them. The `reflector` is nobody that one would
use, but the limit of all that can be: it sends every question back by XDP as the answer to it.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Literal

from lab.native import compiled
from lab.programs import GORESPONDER
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


def goresponder(link: Link, prefix: str, *, cpus: Iterable[int] | None = None) -> Process:
    """A responder in Go on the libraries that MetalLB's speaker uses, for either family; it keeps its addresses."""
    network = ip_network(prefix)
    process = link.host.spawn([GORESPONDER.path(), link.name, str(network[0]), str(network[-1])], cpus=cpus)
    process.wait_for_line("^ready$", 20)
    return process


def reflector(link: Link, *, generic: bool = False) -> Process:
    """Sends back whatever is asked, of either family; the asker's end needs a program, too (`attach`)."""
    return attach(link, "reflect", generic=generic)


def attach(link: Link, program: Literal["reflect", "pass", "drop"], *, generic: bool = False) -> Process:
    """Hang a program of `reflector.bpf.c` upon the interface; it goes with the process."""
    options = {
        "interface": link.name, "object": compiled("peers/reflector.bpf.c"), "program": program,
        "generic": int(generic),
    }  # fmt: skip
    process = link.host.spawn([compiled("attach.c"), *(f"{name}={value}" for name, value in options.items())])
    process.wait_for_line("^ready$", 10)
    return process


def _start(link: Link, command: Sequence[str | PathLike[str]], cpus: Iterable[int] | None) -> Process:
    process = link.host.spawn(command, cpus=cpus)
    wait_until(lambda: not process.alive or link.packet_sockets() > 0, 10, what=f"{command[0]} to listen")
    assert process.alive, process.output
    return process
