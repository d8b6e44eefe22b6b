"""FRR: zebra, bfdd and bgpd (and mgmtd, where there is one), with the kernel's routes made of what they learn.

Its daemons have paths of their own below /run, /var/tmp and /var/lib, some of them not to be chosen. So each is started
in a mount namespace (`unshare`, `mount`) in which /run is a directory of the lab, and the others are empty: what is
killed leaves nothing behind, and several run side by side. `vtysh` finds the sockets from outside.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.routers.router import DEADLINE_S, DETECT_MULTIPLIER, FAMILIES, Bfd, Peering, Route, Router, Session
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.process import Process

BINARIES = "/usr/lib/frr"
USER = "frr"
"""Whom its daemons become."""
DAEMONS = ("mgmtd", "zebra", "bfdd", "bgpd")
"""In the order of their start. The first came with FRR 10, and those that are there need it."""
PATHS = 64
_ALONE = """
mount --bind "$0" /run
for scratch in /var/tmp /var/lib/frr; do [ ! -d $scratch ] || mount -t tmpfs none $scratch; done
exec "$@"
"""
_FAMILIES = {"ipv4Unicast": "ipv4", "ipv6Unicast": "ipv6"}
_ITSELF = "(unspec)"
_WELL_KNOWN = {
    "gracefulShutdown": "65535:0", "acceptOwn": "65535:1", "llgrStale": "65535:6", "noLlgr": "65535:7",
    "blackhole": "65535:666", "noExport": "65535:65281", "noAdvertise": "65535:65282", "localAs": "65535:65283",
    "noPeer": "65535:65284",
}  # fmt: skip


class Frr(Router):
    """FRR, as Debian has it."""

    product = "frr"

    def _spawn(self) -> None:
        run = self.directory / "run"
        (run / "frr").mkdir(parents=True, exist_ok=True)
        shutil.chown(run / "frr", USER, USER)
        told = {"zebra": "", "bfdd": _bfdd(self.peerings), "bgpd": self._bgpd()}
        for name in DAEMONS:
            if not Path(BINARIES, name).exists():
                continue
            options = ["-P", "0", "--log", "stdout", "--log-level", "informational"]
            if name in told:
                (run / f"{name}.conf").write_text(told[name])
                options += ["-f", f"/run/{name}.conf"]
            if name == "bgpd" and not self.forwards:
                options.append("--no_kernel")
            alone = ["unshare", "--mount", "sh", "-ec", _ALONE, str(run)]
            process = self.host.spawn([*alone, f"{BINARIES}/{name}", *options])
            self.processes.append(process)
            wait_until(partial(self._answers, name, process), what=f"{name} to answer")

    def _answers(self, daemon: str, process: Process) -> bool:
        assert process.alive, process.output
        return self.host.run([*self._vtysh, "-d", daemon, "-c", "show version"], check=False).status == 0

    @property
    def _vtysh(self) -> list[str]:
        return ["vtysh", "--vty_socket", str(self.directory / "run" / "frr")]

    def tell(self, *commands: str) -> str:
        """Have vtysh do this, one after the other; what it says."""
        return self.host.run(self.command(*commands)).stdout

    def command(self, *commands: str) -> list[str]:
        """How vtysh is called for this."""
        return [*self._vtysh, *(word for command in commands for word in ("-c", command))]

    def do(self, *commands: str) -> None:
        """Have vtysh do all of this in one go, as many as there are."""
        path = self.directory / "commands"
        path.write_text("\n".join(commands) + "\n")
        self.host.run([*self._vtysh, "-f", path], timeout_s=DEADLINE_S)

    def _json(self, command: str) -> Any:
        return json.loads(self.tell(command) or "{}")

    # What it is told

    def _bgpd(self) -> str:
        return "\n".join([
            "bgp as-path access-list OWN permit ^$",
            f"router bgp {self.asn}",
            f" bgp router-id {self.router_id}",
            " no bgp default ipv4-unicast",
            " no bgp ebgp-requires-policy",
            " no bgp network import-check",
            " bgp bestpath as-path multipath-relax",
            *(line for peering in self.peerings for line in _neighbour(peering)),
            *(line for family in FAMILIES for line in self._family(family)),
        ])  # fmt: skip

    def _family(self, family: str) -> Iterator[str]:
        yield f" address-family {family} unicast"
        yield f"  maximum-paths {PATHS}"
        yield f"  maximum-paths ibgp {PATHS}"
        for network in self.networks:
            if (":" in network) == (family == "ipv6"):
                yield f"  network {network}"
        for peering in self.peerings:
            if family in peering.families:
                yield f"  neighbor {_bare(peering.name)} activate"
                yield f"  neighbor {_bare(peering.name)} filter-list OWN out"
        yield " exit-address-family"

    # What it sees

    def sessions(self) -> Mapping[str, Session]:
        """By `show bgp neighbors`."""
        found = self._json("show bgp neighbors json")
        return {self._named(peer): _session(self._named(peer), told) for peer, told in found.items()}

    def _named(self, peer: str) -> str:
        """As the peering has it: FRR leaves out the interface of a link-local address."""
        return next((each.name for each in self.peerings if _bare(each.name) == peer), peer)

    def routes(self) -> Mapping[str, Sequence[Route]]:
        """By `show bgp`, of both families."""
        found: dict[str, list[Route]] = {}
        for family in FAMILIES:
            for prefix, ways in self._json(f"show bgp {family} unicast json detail").get("routes", {}).items():
                paths = ways["paths"] if isinstance(ways, dict) else ways
                told = [path for path in paths if path.get("peer", {}).get("peerId", _ITSELF) != _ITSELF]
                routes = [_route(prefix, path, self._whose(path["peer"], "peerId")) for path in told]
                found[prefix] = sorted(routes, key=lambda route: route.peer)
        return {prefix: routes for prefix, routes in found.items() if routes}

    def bfd(self) -> Mapping[str, Bfd]:
        """By `show bfd peers`."""
        found = {}
        for told in self._json("show bfd peers json"):
            peer = self._whose(told, "peer")
            found[peer] = Bfd(
                peer=peer, state=told["status"],
                detect_ms=told.get("remote-detect-multiplier", 0)
                * max(told["receive-interval"], told.get("remote-transmit-interval", 0)),
            )  # fmt: skip
        return found

    def _whose(self, told: Mapping[str, Any], word: str) -> str:
        """The peering with this address, or with whoever is on this interface."""
        names = (self._named(told[word]), told.get("interface"))
        return next((each.name for each in self.peerings if each.name in names), str(told[word]))

    def kernel_next_hops(self, prefix: str) -> set[str]:
        """Where the kernel sends what is for the prefix."""
        found = json.loads(self.host.run(["ip", "-j", "-6" if ":" in prefix else "-4", "route", "show", prefix]).stdout)
        return {
            hop["gateway"] if "gateway" in hop else hop["via"]["host"]
            for route in found for hop in route.get("nexthops", [route])
        }  # fmt: skip


def _bare(peer: str) -> str:
    return peer.partition("%")[0]


def _neighbour(peering: Peering) -> Iterator[str]:
    word = f" neighbor {_bare(peering.name)}"
    asn = peering.asn or "external"
    yield f"{word} interface remote-as {asn}" if peering.interface else f"{word} remote-as {asn}"
    _, _, link = peering.address.partition("%")
    if link:
        yield f"{word} interface {link}"
    if peering.own_asn:
        yield f"{word} local-as {peering.own_asn} no-prepend replace-as"
    yield f"{word} timers {max(1, peering.hold_time_s // 3)} {peering.hold_time_s}"
    yield f"{word} timers connect 1"
    if peering.password:
        yield f"{word} password {peering.password}"
    if peering.multihop:
        yield f"{word} ebgp-multihop"
    if peering.passive:
        yield f"{word} passive"
    if peering.bfd_ms:
        yield f"{word} bfd"
        yield f"{word} bfd profile every{peering.bfd_ms}"


def _bfdd(peerings: Sequence[Peering]) -> str:
    lines = ["bfd"]
    for interval in sorted({peering.bfd_ms for peering in peerings if peering.bfd_ms}):
        lines += [
            f" profile every{interval}", f"  detect-multiplier {DETECT_MULTIPLIER}",
            f"  receive-interval {interval}", f"  transmit-interval {interval}", " exit",
        ]  # fmt: skip
    return "\n".join([*lines, "exit", ""])


def _session(peer: str, told: Mapping[str, Any]) -> Session:
    state = str(told["bgpState"]).lower()
    families = told.get("addressFamilyInfo", {})
    negotiated = told.get("neighborCapabilities", {}).get("multiprotocolExtensions", {})
    both = {name for name, how in negotiated.items() if "advertisedAndReceived" in how}
    return Session(
        peer=peer, state=state, asn=int(told.get("remoteAs", 0)),
        hold_time_s=int(told.get("bgpTimerHoldTimeMsecs", 0)) // 1000,
        since_unix_s=told["bgpTimerUpEstablishedEpoch"] if state == "established" else 0.0,
        families=frozenset(short for long, short in _FAMILIES.items() if long in both),
        received=sum(int(family.get("acceptedPrefixCounter", 0)) for family in families.values()),
    )  # fmt: skip


def _route(prefix: str, path: Mapping[str, Any], peer: str) -> Route:
    hops = sorted(path["nexthops"], key=lambda hop: ip_address(hop["ip"]).is_link_local)
    plain = path.get("community", {}).get("list", ())
    large = path.get("largeCommunity", {}).get("list", ())
    segments = path["aspath"].get("segments", ())
    return Route(
        prefix=prefix, peer=peer,
        next_hops=tuple(hop["ip"] for hop in hops),
        as_path=tuple(number for segment in segments for number in segment["list"]),
        origin=path["origin"].lower(),
        local_pref=path.get("locPrf", path.get("localpref")),
        med=path.get("metric"),
        communities=frozenset({_WELL_KNOWN.get(each, each) for each in plain} | {f"large:{each}" for each in large}),
        stale=bool(path.get("stale")),
    )  # fmt: skip
