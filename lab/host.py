"""A host: a network namespace with links, addresses, routes and settings, and processes in it.

What it makes (processes, captures) it ends, last first, when the lab closes. Its settings suit tests: loopback is up,
IPv6 addresses are usable at once (no duplicate address detection unless asked for), no router is solicited. All else
is the kernel's default, for the kernel is the judge.
"""

from __future__ import annotations

import os
import socket
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from lab import neighbours
from lab.capture import Capture, attach, sender
from lab.link import Link
from lab.namespace import Namespace
from lab.neighbours import Neighbour, State
from lab.process import Finished, Process, ProcessFailed
from lab.waiting import DEADLINE_S, DeadlineError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from lab.frames import Mac
    from lab.network import Lab

P = ParamSpec("P")
T = TypeVar("T")

Address = IPv4Address | IPv6Address

_SETTINGS = {
    **dict.fromkeys(("net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"), 0),
    **dict.fromkeys(("net.ipv6.conf.all.router_solicitations", "net.ipv6.conf.default.router_solicitations"), 0),
}


class Host:
    """`lab.host()` makes one."""

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        """Not for callers: `Lab.host` knows its number and tells the keeper."""
        self.lab = lab
        self.name = name
        self.number = number
        self.namespace = Namespace()
        self._open: list[Process | Capture] = []
        self._senders: dict[int, socket.socket] = {}
        self.set(_SETTINGS)
        self.netlink("link", "set", index=1, state="up")

    def __repr__(self) -> str:
        """Its name."""
        return f"<Host {self.name}>"

    # What runs inside

    def netlink(self, verb: str, /, *arguments: object, **fields: object) -> list[Any]:
        """Ask rtnetlink in the host, as `pyroute2.IPRoute.<verb>` does. Raises OSError."""
        return self.namespace.netlink(verb, *arguments, **fields)

    def call(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Run a function inside, in a thread of its own, and wait: what it opens belongs to this host."""
        return self.namespace.call(function, *arguments, **named)

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Run a function inside, in a thread of its own, and do not wait."""
        return self.namespace.submit(function, *arguments, **named)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this host; the caller closes it."""
        return self.call(socket.socket, family, kind, protocol)

    def spawn(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        environment: Mapping[str, str] | None = None,
        cpus: Iterable[int] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Process:
        """Start a program inside, pinned to `cpus` if given; it is ended with the lab at the latest.

        `environment` is added to ours.
        """
        process = self.call(Process.start, command, environment=environment, cpus=cpus, stdin=stdin)
        self._open.append(process)
        return process

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        timeout_s: float = DEADLINE_S,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> Finished:
        """Run a program inside to its end. Raises ProcessFailed for a status other than 0 unless `check` is off.

        Raises DeadlineError, with what it had said until then, when it takes longer than `timeout_s`.
        """
        told = [os.fspath(word) for word in command]
        try:
            done = self.call(
                subprocess.run, told, capture_output=True, text=True, input=stdin, timeout=timeout_s, check=False,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                f"{' '.join(told)} took more than {timeout_s:g} s: {error.stdout!r} {error.stderr!r}"
            ) from None
        finished = Finished(tuple(told), done.returncode, done.stdout, done.stderr)
        if check and finished.status != 0:
            raise ProcessFailed(finished)
        return finished

    # Links, addresses, routes, settings

    def link(
        self,
        other: Host,
        *,
        name: str | None = None,
        peer_name: str | None = None,
        mac: str | None = None,
        addresses: Iterable[str] = (),
        peer_addresses: Iterable[str] = (),
        mtu: int | None = None,
        up: bool = True,
    ) -> Link:
        """Lay a cable to another host or a switch, and return our end of it, up and ready; `.peer` is the other end.

        Names are eth0, eth1… on hosts and port0, port1… on switches unless given. MACs are 02:00:00:00:<host>:<link>.
        """
        name = name or self._free_name()
        peer_name = peer_name or other._free_name()
        near_mac, far_mac = mac or self.lab.new_mac(self), self.lab.new_mac(other)
        self.netlink(
            "link", "add", ifname=name, kind="veth", index=self.lab.new_index(), address=near_mac,
            peer={"ifname": peer_name, "address": far_mac, "net_ns_fd": other.namespace.file},
        )  # fmt: skip
        near, far = Link(self, self.index_of(name)), Link(other, other.index_of(peer_name))
        near.peer, far.peer = far, near
        for end, wanted in ((near, addresses), (far, peer_addresses)):
            if mtu is not None:
                end.set_mtu(mtu)
            end.host._plug(end)  # noqa: SLF001 (another of us)
            for address in wanted:
                end.add_address(address, wait=False)
        if up:
            far.up(wait=False)
            near.up()
            far.wait_carrier()
        return near

    def _plug(self, link: Link) -> None:
        """What a host does with a new cable: nothing. A switch makes it a port."""

    _prefix = "eth"

    def _free_name(self) -> str:
        taken = {message.get_attr("IFLA_IFNAME") for message in self.netlink("get_links")}
        return next(name for number in range(10_000) if (name := f"{self._prefix}{number}") not in taken)

    def bridge(self, name: str, ports: Iterable[Link] = (), *, addresses: Iterable[str] = ()) -> Link:
        """A bridge in this host, up, with these ports; it forwards at once."""
        self.netlink("link", "add", ifname=name, kind="bridge", br_forward_delay=0, br_stp_state=0)
        bridge = Link(self, self.index_of(name))
        for port in ports:
            port.enslave(bridge)
        for address in addresses:
            bridge.add_address(address, wait=False)
        bridge.up(wait=False)
        return bridge

    def index_of(self, name: str) -> int:
        """The index of the interface of this name. Raises LookupError."""
        found = self.netlink("link_lookup", ifname=name)
        if not found:
            raise LookupError(f"expected an interface {name} in {self.name}, there is none")
        return int(found[0])

    def address_flags(self, index: int) -> list[tuple[IPv4Interface | IPv6Interface, int]]:
        """The kernel's addresses on the interface, each with its IFA_F_… flags."""
        return [
            (
                ip_interface((message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"])),
                int(message.get_attr("IFA_FLAGS") or message["flags"]),
            )
            for message in self.netlink("get_addr", index=index)
        ]

    def route(self, prefix: str, *, via: str | None = None, link: Link | None = None) -> None:
        """Add a route: `via` a router, or straight onto a link, or both. `default` as prefix needs `via`."""
        if prefix == "default":
            prefix = "::/0" if via and ":" in via else "0.0.0.0/0"
        fields: dict[str, object] = {"dst": prefix}
        if via is not None:
            fields["gateway"] = via
        if link is not None:
            fields["oif"] = link.index
        self.netlink("route", "add", **fields)

    def set(self, settings: Mapping[str, int | str]) -> None:
        """Write sysctls, by their dotted names (a slash for a dot inside an interface's name)."""

        def write() -> None:
            for name, value in settings.items():
                (Path("/proc/sys") / name.translate(str.maketrans("./", "/."))).write_text(f"{value}\n")

        self.call(write)

    def setting(self, name: str) -> str:
        """Read a sysctl, by its dotted name."""
        path = Path("/proc/sys") / name.translate(str.maketrans("./", "/."))
        return self.call(path.read_text).strip()

    # Frames

    def capture(self, link: Link, *, buffer_bytes: int = 64 << 20) -> Capture:
        """Capture every frame that enters or leaves by the link from now on; a context manager."""
        capture = self.call(attach, link.index, buffer_bytes)
        self._open.append(capture)
        return capture

    def inject(self, link: Link, *frames: bytes) -> None:
        """Send frames as they are, from the Ethernet header on. Raises OSError when the link is down."""
        if link.index not in self._senders:
            self._senders[link.index] = self.call(sender, link.index)
        for frame in frames:
            self._senders[link.index].send(frame)

    # What this host believes of its neighbours

    def neighbours(self) -> tuple[Neighbour, ...]:
        """The kernel's neighbour table, both families."""
        both = (self.netlink("get_neighbours", family=family) for family in (socket.AF_INET, socket.AF_INET6))
        return neighbours.read(chain.from_iterable(both))

    def neighbour(self, address: str | Address) -> Neighbour | None:
        """The kernel's entry for this address; None when it has none."""
        wanted = ip_address(address)
        return next((entry for entry in self.neighbours() if entry.address == wanted), None)

    def wait_neighbour(
        self,
        address: str | Address,
        *,
        mac: bytes | None = None,
        state: State | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Neighbour:
        """Wait until the kernel's entry for the address has this MAC and one of these states (where given)."""

        def found() -> Neighbour | None:
            entry = self.neighbour(address)
            if (
                entry is None
                or (mac is not None and entry.mac != mac)
                or (state is not None and not entry.state & state)
            ):
                return None
            return entry

        try:
            entry = wait_until(found, deadline_s)
        except DeadlineError:
            raise DeadlineError(
                f"expected {self.name} to have {address} at {mac!r} in {state!r} within {deadline_s:g} s, "
                f"not {self.neighbour(address)}"
            ) from None
        assert entry is not None
        return entry

    def forget(self, address: str | Address | None = None) -> None:
        """Drop the kernel's entry for the address, or all entries."""
        for entry in self.neighbours():
            if address is None or entry.address == ip_address(address):
                self.netlink("neigh", "del", dst=str(entry.address), ifindex=entry.index)

    def poke(self, address: str | Address, link: Link | None = None) -> None:
        """Send one UDP packet there (port 9): the kernel asks for the MAC when it knows none.

        `link` says where, which a link-local address needs.
        """
        target = ip_address(address)
        family = socket.AF_INET if target.version == 4 else socket.AF_INET6
        with self.socket(family, socket.SOCK_DGRAM) as probe:
            if link is not None:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
            probe.setblocking(False)
            probe.sendto(
                b"", (str(target), 9) if family == socket.AF_INET else (str(target), 9, 0, link.index if link else 0)
            )

    def resolve(
        self, address: str | Address, *, link: Link | None = None, deadline_s: float = DEADLINE_S
    ) -> Mac | None:
        """Forget the address, ask anew, and return the MAC that answers; None when the kernel gives up (FAILED).

        Any answer that the kernel takes will do, also a broadcast one that leaves the entry STALE.
        """
        self.forget(address)
        self.poke(address, link)
        entry = self.wait_neighbour(address, state=~State.INCOMPLETE, deadline_s=deadline_s)
        return None if entry.state & State.FAILED else entry.mac

    def close(self) -> None:
        """End what runs in it and let go of the namespace. `Lab` calls it."""
        for resource in reversed(self._open):
            resource.close()
        self._open.clear()
        for descriptor in self._senders.values():
            descriptor.close()
        self._senders.clear()
        self.namespace.close()
