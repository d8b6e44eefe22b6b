"""GoBGP as a router: another gobgpd than a node's, told by a file and asked by its own command, `gobgp`.

It makes no routes in the kernel.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from lab.programs import GOBGP, GOBGPD
from lab.routers.router import DETECT_MULTIPLIER, FAMILIES, Bfd, Peering, Route, Router, Session
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lab.process import Process

_FAMILIES = {1: "ipv4", 2: "ipv6"}
_STATES = ("", "idle", "connect", "active", "opensent", "openconfirm", "established")
_BFD_STATES = ("down", "up", "down", "admindown", "init")
_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF, _COMMUNITIES, _MP_REACH, _LARGE_COMMUNITIES = 1, 2, 3, 4, 5, 8, 14, 32


class Gobgp(Router):
    """GoBGP, of the version that nodes run, too."""

    product = "gobgp"

    def _spawn(self) -> None:
        configuration = self.directory / "gobgpd.toml"
        configuration.write_text("\n".join(self._configuration()) + "\n")
        socket = self.directory / "api.sock"
        socket.unlink(missing_ok=True)
        self._target = f"unix://{socket}"
        process = self.host.spawn([
            _gobgpd(), "--api-hosts", self._target, "--pprof-disable", "--metrics-path=", "-p", "-f", configuration,
        ])  # fmt: skip
        self.processes.append(process)
        wait_until(lambda: not process.alive or self._answers(), what="gobgpd to answer", every_ms=20)
        assert process.alive, process.output
        for network in self.networks:
            self.tell("global", "rib", "add", "-a", "ipv6" if ":" in network else "ipv4", network)

    def _answers(self) -> bool:
        asked = self.host.run([_gobgp(), "--target", self._target, "-j", "neighbor"], check=False)
        return asked.status == 0 and len(json.loads(asked.stdout) or ()) == len(self.peerings)

    def tell(self, *words: str) -> str:
        """Have gobgp do this; what it says."""
        return self.host.run([_gobgp(), "--target", self._target, *words]).stdout

    def listen(self) -> Process:
        """Follow what peers tell it, beginning with what they have told: for each change a line, read by `heard`."""
        return self.host.spawn([_gobgp(), "--target", self._target, "-j", "monitor", "adj-in", "--current"])

    # What it is told

    def _configuration(self) -> Iterator[str]:
        yield "[global.config]"
        yield f"as = {self.asn}"
        yield f'router-id = "{self.router_id}"'
        if not self.networks:
            yield "[global.apply-policy.config]"
            yield 'default-export-policy = "reject-route"'
        for peering in self.peerings:
            yield from _neighbour(peering)

    # What it sees

    def sessions(self) -> Mapping[str, Session]:
        """By `gobgp neighbor`."""
        return {self._name(told): _session(self._name(told), told) for told in self._neighbours()}

    def _neighbours(self) -> list[dict[str, Any]]:
        return json.loads(self.tell("-j", "neighbor")) or []

    def _name(self, told: Mapping[str, Any]) -> str:
        return str(told["conf"].get("neighbor_interface") or told["state"]["neighbor_address"])

    def routes(self) -> Mapping[str, Sequence[Route]]:
        """By `gobgp global rib`, of both families."""
        found: dict[str, list[Route]] = {}
        for family in FAMILIES:
            for prefix, paths in (json.loads(self.tell("-j", "global", "rib", "-a", family)) or {}).items():
                routes = [_route(prefix, path) for path in paths if "peer-address" in path]
                found[prefix] = sorted(routes, key=lambda route: route.peer)
        return {prefix: routes for prefix, routes in found.items() if routes}

    def bfd(self) -> Mapping[str, Bfd]:
        """By `gobgp neighbor`."""
        found = {}
        for told in self._neighbours():
            if told.get("bfd", {}).get("enabled"):
                state = _BFD_STATES[told["state"].get("bfd_state", {}).get("session_state", 0)]
                detect_us = told["bfd"]["detection_multiplier"] * told["bfd"]["required_minimum_receive"]
                found[self._name(told)] = Bfd(peer=self._name(told), state=state, detect_ms=detect_us // 1000)
        return found


def _neighbour(peering: Peering) -> Iterator[str]:
    yield "[[neighbors]]"
    yield "[neighbors.config]"
    yield f'neighbor-{"address" if peering.address else "interface"} = "{peering.name}"'
    yield f"peer-as = {peering.asn}"
    if peering.own_asn:
        yield f"local-as = {peering.own_asn}"
    if peering.password:
        yield f'auth-password = "{peering.password}"'
    yield "[neighbors.timers.config]"
    yield f"hold-time = {peering.hold_time_s}"
    yield f"keepalive-interval = {max(1, peering.hold_time_s // 3)}"
    yield "connect-retry = 1"
    yield "idle-hold-time-after-reset = 1"
    if peering.passive:
        yield "[neighbors.transport.config]"
        yield "passive-mode = true"
    if peering.multihop:
        yield "[neighbors.ebgp-multihop.config]"
        yield "enabled = true"
        yield "multihop-ttl = 255"
    yield "[neighbors.graceful-restart.config]"
    yield "enabled = true"
    yield "helper-only = true"
    yield "restart-time = 120"
    if peering.bfd_ms:
        yield "[neighbors.bfd.config]"
        yield "enabled = true"
        yield f"desired-minimum-tx-interval = {peering.bfd_ms * 1000}"
        yield f"required-minimum-receive = {peering.bfd_ms * 1000}"
        yield f"detection-multiplier = {DETECT_MULTIPLIER}"
    for family in peering.families:
        yield "[[neighbors.afi-safis]]"
        yield "[neighbors.afi-safis.config]"
        yield f'afi-safi-name = "{family}-unicast"'
        yield "[neighbors.afi-safis.mp-graceful-restart.config]"
        yield "enabled = true"


@cache
def _gobgpd() -> Path:
    return GOBGPD.path()


@cache
def _gobgp() -> Path:
    return GOBGP.path()


def heard(listening: Process) -> list[tuple[str, str, Route | None]]:
    """What `listen` has brought so far, in order: of which peer and prefix, and the route; None: it was withdrawn."""
    paths = [path for line in listening.lines if line.startswith("[") for path in json.loads(line)]
    return [
        (path["peer-address"], prefix, None if path.get("withdrawal") else _route(prefix, path))
        for path in paths
        for prefix in (path["nlri"]["prefix"],)
    ]


def _session(peer: str, told: Mapping[str, Any]) -> Session:
    now, timers = told["state"], told["timers"].get("state", {})
    state = _STATES[now.get("session_state", 0)]
    capabilities = [each["Cap"] for each in now.get("remote_cap") or ()]
    theirs = [each["MultiProtocol"]["family"]["afi"] for each in capabilities if "MultiProtocol" in each]
    return Session(
        peer=peer, state=state, asn=now.get("peer_asn", 0), hold_time_s=timers.get("negotiated_hold_time", 0),
        since_unix_s=timers["uptime"]["seconds"] if state == "established" else 0.0,
        families=frozenset(_FAMILIES[afi] for afi in theirs if state == "established"),
        received=sum(each["state"].get("received", 0) for each in told["afi_safis"] or ()),
    )  # fmt: skip


def _route(prefix: str, path: Mapping[str, Any]) -> Route:
    attributes = {each["type"]: each for each in path["attrs"]}
    reach = attributes.get(_MP_REACH) or attributes[_NEXT_HOP]
    plain = {f"{each >> 16}:{each & 0xFFFF}" for each in attributes.get(_COMMUNITIES, {}).get("communities", ())}
    large = attributes.get(_LARGE_COMMUNITIES, {}).get("value", ())
    return Route(
        prefix=prefix, peer=path["peer-address"], next_hops=(reach["nexthop"],),
        as_path=tuple(asn for each in attributes.get(_AS_PATH, {}).get("as_paths", ()) for asn in each["asns"]),
        origin=("igp", "egp", "incomplete")[attributes[_ORIGIN]["value"]],
        local_pref=attributes.get(_LOCAL_PREF, {}).get("value"),
        med=attributes.get(_MED, {}).get("metric"),
        communities=frozenset(plain | {f"large:{a['ASN']}:{a['LocalData1']}:{a['LocalData2']}" for a in large}),
        stale=path["stale"],
    )  # fmt: skip
