"""BGPPeers and BFDProfiles: checked, and their selectors of nodes, passwords and profiles resolved.

Two peers that one node may have to speak with must not ask of its BGP engine what one engine cannot do: two router
identifiers, or two sessions with one neighbour. Several numbers of our own it can have, so they are no problem here.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING

from cluster.config import BFDProfile, Password, Peer
from cluster.problems import Findings, Problem
from cluster.selecting import check_selectors, selected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster import custom
    from cluster.resources import Key, Secret

PEER, PROFILE = "BGPPeer", "BFDProfile"
BASIC_AUTH, PASSWORD = "kubernetes.io/basic-auth", "password"
ASN_MAX = (1 << 32) - 1
_NONE: frozenset[str] = frozenset()
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def parse_bfd_profiles(objects: Iterable[custom.BFDProfile]) -> tuple[dict[str, BFDProfile], list[Problem]]:
    """All profiles by name, and all that is wrong with them."""
    profiles: dict[str, BFDProfile] = {}
    problems: list[Problem] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(PROFILE, written.key)
        spec, name = written.spec, written.metadata.name
        if not name:
            findings.add("metadata.name", "", "a name")
        elif name in profiles:
            findings.add("metadata.name", name, "each name once")
        for field, value, least, most in (
            ("receiveInterval", spec.receive_interval, 10, 60_000),
            ("transmitInterval", spec.transmit_interval, 10, 60_000),
            ("detectMultiplier", spec.detect_multiplier, 2, 255),
            ("echoInterval", spec.echo_interval, 10, 60_000),
            ("minimumTtl", spec.minimum_ttl, 1, 254),
        ):
            if value is not None and not least <= value <= most:
                findings.add(f"spec.{field}", value, f"{least} to {most}")
        profiles[name] = BFDProfile(
            name=name,
            receive_interval_ms=spec.receive_interval,
            transmit_interval_ms=spec.transmit_interval,
            detect_multiplier=spec.detect_multiplier,
            echo_interval_ms=spec.echo_interval,
            echo_mode=spec.echo_mode,
            passive_mode=spec.passive_mode,
            minimum_ttl=spec.minimum_ttl,
        )
        problems += findings.problems
    return profiles, problems


def parse_peers(
    objects: Iterable[custom.BGPPeer],
    nodes: Mapping[str, Mapping[str, str]],
    secrets: Mapping[str, Secret],
    profiles: Mapping[str, BFDProfile],
) -> tuple[tuple[Peer, ...], list[Problem]]:
    """All peers in the order of their names, and all that is wrong with them.

    `nodes`: the labels of each; `secrets`: those of MetalLB's namespace that are known, by name.
    """
    peers: dict[str, Peer] = {}
    keys: dict[str, Key] = {}
    problems: list[Problem] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(PEER, written.key)
        spec, name = written.spec, written.metadata.name
        if name in peers:
            findings.add("metadata.name", name, "each name once")
        _check_numbers(findings, spec)
        _check_place(findings, spec)
        usable = check_selectors(findings, "spec.nodeSelectors", spec.node_selectors)
        hold_s, keepalive_s = _times(findings, spec)
        if spec.bfd_profile and spec.bfd_profile not in profiles:
            findings.add("spec.bfdProfile", spec.bfd_profile, "the name of a BFDProfile", transient=True)
        peers[name] = Peer(
            name=name,
            my_asn=spec.my_asn,
            asn=spec.peer_asn,
            dynamic_asn=spec.dynamic_asn,
            local_asn=spec.local_asn,
            address=spec.peer_address,
            interface=spec.interface,
            source_address=spec.source_address,
            port=spec.peer_port or 179,
            hold_time_s=hold_s,
            keepalive_time_s=keepalive_s,
            connect_time_s=_connect_time(findings, spec),
            router_id=spec.router_id,
            nodes=selected(usable, nodes, otherwise=_NONE if spec.node_selectors else frozenset(nodes)),
            password=_password(findings, spec, secrets),
            bfd_profile=spec.bfd_profile,
            graceful_restart=spec.enable_graceful_restart,
            ebgp_multi_hop=spec.ebgp_multi_hop,
            vrf=spec.vrf,
            dual_stack=spec.dual_stack_address_family,
        )
        keys[name] = written.key
        problems += findings.problems
    return tuple(peers.values()), problems + _conflicts(peers, keys, any_nodes=bool(nodes))


def _check_numbers(findings: Findings, spec: custom.BGPPeerSpec) -> None:
    if not 1 <= spec.my_asn <= ASN_MAX:
        findings.add("spec.myASN", spec.my_asn, f"1 to {ASN_MAX}")
    if spec.peer_asn and spec.dynamic_asn:
        findings.add("spec.dynamicASN", spec.dynamic_asn, "none beside spec.peerASN")
    elif not spec.peer_asn and not spec.dynamic_asn:
        findings.add("spec.peerASN", spec.peer_asn, f"1 to {ASN_MAX}, or spec.dynamicASN")
    if not 0 <= spec.peer_asn <= ASN_MAX:
        findings.add("spec.peerASN", spec.peer_asn, f"1 to {ASN_MAX}")
    if spec.dynamic_asn not in ("", "internal", "external"):
        findings.add("spec.dynamicASN", spec.dynamic_asn, "internal or external")
    if not 0 <= spec.local_asn <= ASN_MAX:
        findings.add("spec.localASN", spec.local_asn, f"1 to {ASN_MAX}")
    if spec.ebgp_multi_hop and spec.my_asn == spec.peer_asn:
        findings.add("spec.ebgpMultiHop", "true", "false towards a peer of our own number")
    if not 0 <= spec.peer_port <= 16384:
        findings.add("spec.peerPort", spec.peer_port, "1 to 16384")


def _check_place(findings: Findings, spec: custom.BGPPeerSpec) -> None:
    if spec.peer_address and spec.interface:
        findings.add("spec.interface", spec.interface, "none beside spec.peerAddress")
    elif not spec.peer_address and not spec.interface:
        findings.add("spec.peerAddress", "", "an address, or spec.interface")
    for field, text in (
        ("peerAddress", spec.peer_address),
        ("sourceAddress", spec.source_address),
        ("routerID", spec.router_id),
    ):
        if text and not _is_address(text):
            findings.add(f"spec.{field}", text, "an address")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _times(findings: Findings, spec: custom.BGPPeerSpec) -> tuple[int | None, int | None]:
    """The hold and the keepalive time in whole seconds: where one is not said it follows from the other.

    Both 0 is what MetalLB's conversion made of a peer of `v1beta1` that said neither.
    """
    hold_ns = _duration(findings, "spec.holdTime", spec.hold_time)
    keepalive_ns = _duration(findings, "spec.keepaliveTime", spec.keepalive_time)
    if hold_ns is not None and hold_ns // 10**9 in (1, 2):
        findings.add("spec.holdTime", spec.hold_time, "0s, or 3s and more")
    if (hold_ns is None and keepalive_ns is None) or hold_ns == keepalive_ns == 0:
        return None, None
    if hold_ns is None:
        assert keepalive_ns is not None
        hold_ns = 3 * keepalive_ns
    elif keepalive_ns is None:
        keepalive_ns = hold_ns // 3
    if keepalive_ns > hold_ns:
        findings.add("spec.keepaliveTime", spec.keepalive_time, "not more than spec.holdTime")
    return hold_ns // 10**9, keepalive_ns // 10**9


def _connect_time(findings: Findings, spec: custom.BGPPeerSpec) -> int | None:
    nanoseconds = _duration(findings, "spec.connectTime", spec.connect_time)
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    if rest or not 1 <= seconds <= 65535:
        findings.add("spec.connectTime", spec.connect_time, "1s to 65535s, in whole seconds")
    return seconds


def _duration(findings: Findings, field: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return duration_ns(text)
    except ValueError:
        findings.add(field, text, "a duration such as 90s or 1m30s")
        return None


def duration_ns(text: str) -> int:
    """Read a duration as Go writes it, such as `1m30s`; ValueError if it is none, or less than nothing."""
    if text == "0":
        return 0
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not text or at < len(text) or total >= 1 << 63:
        raise ValueError(f"expected a duration such as 90s or 1m30s, not {text!r}")
    return round(total)


def _password(findings: Findings, spec: custom.BGPPeerSpec, secrets: Mapping[str, Secret]) -> Password | None:
    name = spec.password_secret.name
    if spec.password and name:
        findings.add("spec.passwordSecret", name, "none beside spec.password")
    if not name:
        return Password(spec.password) if spec.password else None
    secret = secrets.get(name)
    if secret is None:
        findings.add(
            "spec.passwordSecret", name, "the name of a Secret of MetalLB's namespace that may be read", transient=True
        )
    elif secret.type != BASIC_AUTH:
        findings.add("spec.passwordSecret", name, f"a Secret of type {BASIC_AUTH}")
    elif PASSWORD not in secret.data:
        findings.add("spec.passwordSecret", name, f"a Secret with the key {PASSWORD}")
    else:
        try:
            return Password(b64decode(secret.data[PASSWORD], validate=True).decode())
        except (Error, UnicodeDecodeError):
            findings.add("spec.passwordSecret", name, f"a Secret whose key {PASSWORD} is text")
    return None


def _conflicts(peers: Mapping[str, Peer], keys: Mapping[str, Key], *, any_nodes: bool) -> list[Problem]:
    problems = []
    for one, other in combinations(peers.values(), 2):
        if any_nodes and not one.nodes & other.nodes:
            continue
        if one.router_id != other.router_id:
            expected = f"{one.router_id or 'none'}, as {one.name} has, which runs on the same nodes"
            problems.append(Problem(PEER, keys[other.name], "spec.routerID", other.router_id, expected))
        if _identity(one) == _identity(other):
            field = "spec.peerAddress" if other.address else "spec.interface"
            expected = f"another neighbour than that of {one.name}, which runs on the same nodes"
            problems.append(Problem(PEER, keys[other.name], field, other.address or other.interface, expected))
    return problems


def _identity(peer: Peer) -> tuple[str, str]:
    return peer.address or peer.interface, peer.vrf
