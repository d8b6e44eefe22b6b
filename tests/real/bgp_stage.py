"""A node with GoBGP's daemon and our half of it, and routers, which are GoBGP's daemons too, on one switch.

Routers are spoken with in words of this file alone: what `speaker/bgp` cannot write it must not be judged by.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog

from arpfast.following import Watch
from cluster.config import BFDProfile, Password, Peer
from lab import wait_until
from lab.programs import GOBGPD
from speaker.bgp import messages
from speaker.bgp.bgp import Bgp
from speaker.bgp.failure import DaemonError
from speaker.bgp.protobuf import Message
from speaker.bgp.rpc import Connection
from speaker.bgp.supervising import Daemon
from speaker.bgp.wish import Attributes, Neighbour, Wish
from tests.real.inside import Inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lab import Lab, Process, Switch
    from speaker.bgp.wish import Session

OUR_ASN = 64512
ADJ_IN = 3


class AsSegment(Message, frozen=True):
    numbers: Annotated[tuple[int, ...], 2] = ()


class AsPath(Message, frozen=True):
    segments: Annotated[tuple[AsSegment, ...], 1] = ()


class Attribute(messages.Attribute, frozen=True):
    as_path: Annotated[AsPath | None, 3] = None


class Path(Message, frozen=True):
    pattrs: Annotated[tuple[Attribute, ...], 2] = ()
    stale: Annotated[bool, 13] = False
    neighbor_ip: Annotated[str, 15] = ""


class Destination(Message, frozen=True):
    prefix: Annotated[str, 1] = ""
    paths: Annotated[tuple[Path, ...], 2] = ()


class ListPathResponse(Message, frozen=True):
    destination: Annotated[Destination | None, 1] = None


class Count(Message, frozen=True):
    update: Annotated[int, 2] = 0


class Counts(Message, frozen=True):
    received: Annotated[Count | None, 1] = None


class State(Message, frozen=True):
    messages: Annotated[Counts | None, 4] = None
    neighbor_address: Annotated[str, 5] = ""
    flops: Annotated[int, 17] = 0
    router_id: Annotated[str, 20] = ""


class HeardPeer(Message, frozen=True):
    state: Annotated[State | None, 5] = None


class ListPeerResponse(Message, frozen=True):
    peer: Annotated[HeardPeer | None, 1] = None


class TableCount(Message, frozen=True):
    num_path: Annotated[int, 2] = 0


class GetTableRequest(Message, frozen=True):
    table_type: Annotated[int, 1] = 0
    family: Annotated[messages.Family | None, 2] = None
    name: Annotated[str, 3] = ""


class Heard(msgspec.Struct, frozen=True):
    """What a router has heard of one prefix from one neighbour."""

    next_hop: str
    as_path: tuple[int, ...]
    local_pref: int | None
    communities: frozenset[str]
    stale: bool = False


class Router:
    """One of them: its daemon is started with it."""

    def __init__(self, lab: Lab, switch: Switch, inside: Inside, number: int, asn: int) -> None:
        self.asn, self.number = asn, number
        self.address, self.address6 = f"192.0.2.{number}", f"2001:db8::{number}"
        self._inside = inside
        self._accepted: dict[str, messages.AddPeerRequest] = {}
        self.host = lab.host(f"router{number}")
        self.link = self.host.link(switch, addresses=[f"{self.address}/24", f"{self.address6}/64"])
        self._socket = str(lab.directory / f"router{number}.sock")
        self.process = gobgpd(self.host, self._socket)
        self.connection = connected(inside, self._socket)
        started = messages.StartBgpRequest(messages.Global(asn, self.address, 179))
        self.do(self.connection.tell("StartBgp", started))

    def do(self, what: Any) -> Any:
        return self._inside.do(what)

    def accept(
        self, address: str, asn: int = OUR_ASN, *, password: str = "", graceful: bool = False, both: bool = False,
        bfd_ms: int = 0, hold_s: int = 30,
    ) -> None:  # fmt: skip
        """Speak with a neighbour, from now on."""
        afis = (1, 2) if both else (2,) if ":" in address else (1,)
        restart = messages.MpGracefulRestart(messages.MpGracefulRestartConfig(graceful))
        peer = messages.Peer(
            conf=messages.PeerConf(auth_password=password, neighbor_address=address, peer_asn=asn),
            timers=messages.Timers(messages.TimersConfig(1, hold_s, hold_s // 3, 1)),
            graceful_restart=messages.GracefulRestart(True, 60) if graceful else None,
            afi_safis=tuple(
                messages.AfiSafi(restart, messages.AfiSafiConfig(messages.Family(afi, 1), enabled=True)) for afi in afis
            ),
            bfd=messages.BfdPeerConfig(True, 1000 * bfd_ms, 1000 * bfd_ms, 3) if bfd_ms else None,
        )
        self._accepted[address] = messages.AddPeerRequest(peer)
        self.do(self.connection.tell("AddPeer", self._accepted[address]))

    def forget(self, address: str) -> None:
        """Speak with a neighbour as if for the first time: whose session has ended is left alone for five seconds."""
        self.do(self.connection.tell("DeletePeer", messages.PeerRequest(address)))
        self.do(self.connection.tell("AddPeer", self._accepted[address]))

    def table(self, afi: int = 1) -> dict[str, Heard]:
        """All that it has heard, by prefix."""

        async def ask() -> dict[str, Heard]:
            request = messages.ListPathRequest(1, messages.Family(afi, 1), 1000)
            found = [each.destination async for each in self.connection.each("ListPath", request, ListPathResponse)]
            return {each.prefix: heard(each.paths[0]) for each in found if each is not None}

        with suppress(DaemonError):
            return self.do(ask())  # type: ignore[no-any-return]
        return {}

    def stale(self, prefix: str) -> bool | None:
        """Whether it only keeps an IPv4 prefix for somebody who restarts; None: it has not heard of it."""
        found = self.table().get(prefix)
        return None if found is None else found.stale

    def count(self, afi: int = 1) -> int:
        """How many paths it has heard."""
        request = GetTableRequest(1, messages.Family(afi, 1))
        return int(self.do(self.connection.ask("GetTable", request, TableCount)).num_path)

    def peer(self, address: str) -> State:
        """What it says of a neighbour."""

        async def ask() -> list[State]:
            answers = self.connection.each("ListPeer", messages.Empty(), ListPeerResponse)
            states = [each.peer.state async for each in answers if each.peer is not None]
            return [each for each in states if each is not None and each.neighbor_address.split("%")[0] == address]

        (state,) = self.do(ask())
        return state  # type: ignore[no-any-return]

    def originate(self, prefixes: Iterable[str]) -> None:
        """Announce these itself."""
        from speaker.bgp import paths
        from speaker.bgp.routes import Route

        feed = paths.requests(paths.announcement(prefix, Route((0,))) for prefix in prefixes)
        self.do(self.connection.feed("AddPathStream", feed, deadline_s=60))

    def close(self) -> None:
        self.do(self.connection.close())


def heard(path: Path) -> Heard:
    next_hop, local_pref, communities = "", None, set[str]()
    as_path: tuple[int, ...] = ()
    for each in path.pattrs:
        if each.next_hop is not None:
            next_hop = each.next_hop.next_hop
        if each.mp_reach is not None:
            next_hop = each.mp_reach.next_hops[0]
        if each.as_path is not None:
            as_path = tuple(number for segment in each.as_path.segments for number in segment.numbers)
        if each.local_pref is not None:
            local_pref = each.local_pref.local_pref
        if each.communities is not None:
            communities |= {f"{number >> 16}:{number & 0xFFFF}" for number in each.communities.communities}
        if each.large_communities is not None:
            communities |= {
                f"large:{one.global_admin}:{one.local_data1}:{one.local_data2}"
                for one in each.large_communities.communities
            }
    return Heard(next_hop, as_path, local_pref, frozenset(communities), path.stale)


def gobgpd(host: Any, socket: str) -> Process:
    return host.spawn([GOBGPD.path(), "--api-hosts", f"unix://{socket}", "--pprof-disable", "--metrics-path="])  # type: ignore[no-any-return]


def connected(inside: Inside, socket: str) -> Connection:
    """A connection to a daemon, once it answers."""

    async def connect() -> Connection | None:
        connection = Connection(socket)
        try:
            await connection.ask("GetBgp", messages.Empty(), messages.GetBgpResponse)
        except DaemonError:
            await connection.close()
            return None
        return connection

    found = wait_until(lambda: inside.do(connect()), what="a daemon that answers", every_ms=20)
    assert found is not None
    return found


class Stage:
    """A node at .100, and routers from .1 on. `close` ends all."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.switch = lab.switch()
        self.node = lab.host("node")
        self.address, self.address6 = "192.0.2.100", "2001:db8::100"
        self.link = self.node.link(self.switch, addresses=[f"{self.address}/24", f"{self.address6}/64"])
        self.inside = Inside(self.node)
        self.socket = str(lab.directory / "node" / "gobgp.sock")
        self.log = structlog.get_logger()
        self.routers: list[Router] = []
        self.daemon: Daemon | None = None
        self._daemon_task: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.changes = 0

    def router(self, asn: int = 65000) -> Router:
        router = Router(self._lab, self.switch, self.inside, len(self.routers) + 1, asn)
        self.routers.append(router)
        return router

    def start_daemon(self, **how: Any) -> None:
        self.daemon = Daemon(GOBGPD.path(), self.socket, log=self.log, output=asyncio.subprocess.DEVNULL, **how)
        self._daemon_task = self.inside.begin(self.daemon.run())

    def stop_daemon(self) -> None:
        """As planned."""
        if self._daemon_task is not None:
            self.inside.end(self._daemon_task)
            self._daemon_task = None

    def start(self, **how: Any) -> Bgp:
        """Our half."""
        self.bgp = self.inside.call(lambda: Bgp(self.socket, node="node", log=self.log, changed=self._change, **how))
        self.picture()
        self._task = self.inside.begin(self.bgp.run())
        return self.bgp

    def stop(self) -> None:
        """Our half alone, without a word."""
        if self._task is not None:
            self.inside.end(self._task)
            self._task = None

    def _change(self) -> None:
        self.changes += 1

    def want(
        self, peers: Iterable[Peer], routes: Mapping[str, Mapping[str, Attributes]], bfd: BFDProfile | None = None
    ) -> None:
        wish = Wish({each.name: Neighbour(each, bfd if each.bfd_profile else None) for each in peers}, dict(routes))
        self.inside.call(lambda: self.bgp.want(wish))

    def picture(self) -> None:
        """Tell our half of the node's interfaces, as they are now."""

        async def look() -> None:
            async with asyncio.timeout(20):
                with closing(Watch()) as watch:
                    async for snapshot in watch:
                        self.bgp.interfaces(snapshot)
                        return

        self.inside.do(look())

    def settled(self) -> None:
        self.inside.do(self.bgp.wait_settled())

    def kept_of(self, router: Router) -> int:
        """How many IPv4 paths our daemon has heard of it, and goes no further with."""

        async def ask() -> int:
            async with asyncio.timeout(20):
                connection = Connection(self.socket)
                try:
                    request = GetTableRequest(ADJ_IN, messages.Family(1, 1), router.address)
                    return (await connection.ask("GetTable", request, TableCount)).num_path
                finally:
                    await connection.close()

        return int(self.inside.do(ask()))

    def session(self, name: str) -> Session:
        return self.bgp.sessions()[name]

    def wait_up(self, *names: str) -> None:
        wanted = names or tuple(self.bgp.sessions())
        wait_until(
            lambda: {name for name in wanted if self.bgp.sessions()[name].state == "established"} == set(wanted),
            40, what=f"sessions with {wanted} in {dict(self.bgp.sessions())}",
        )  # fmt: skip

    def close(self) -> None:
        self.stop()
        self.stop_daemon()
        for router in self.routers:
            router.close()
        self.inside.close()


def peer(name: str, router: Router, *, v6: bool = False, password: str = "", **fields: Any) -> Peer:
    """Our side of a session with it."""
    fields = {"my_asn": OUR_ASN, "asn": router.asn, "hold_time_s": 30, "connect_time_s": 1, **fields}
    if "interface" not in fields:
        fields["address"] = router.address6 if v6 else router.address
    return Peer(name=name, nodes=frozenset({"node"}), password=Password(password) if password else None, **fields)


def told(*names: str, local_pref: int = 0, communities: tuple[str, ...] = ()) -> dict[str, Attributes]:
    return dict.fromkeys(names, Attributes(local_pref, communities))


def prefixes(count: int) -> Iterator[str]:
    return (f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32" for number in range(count))
