"""What a BGPPeer may ask of MetalLB's engines and GoBGP's daemon cannot do. Pure, but for what it is given to ask.

Such a peer is not spoken with, rather than spoken with in some other way than was asked for; all others are.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from itertools import combinations
from typing import TYPE_CHECKING

from cluster.problems import Findings, Problem
from cluster.resources import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from arpfast.spans import Address
    from cluster.config import BFDProfile, Config, Peer

PEER = "BGPPeer"
SECONDS_MOST = 65535
PASSWORD_BYTES_AT_MOST = 80
"""TCP_MD5SIG_MAXKEYLEN of Linux."""
INTERFACE_NAME_AT_MOST = 15


def refusals(config: Config, namespace: str, chosen: Callable[[str], Address | None] = lambda _: None) -> list[Problem]:
    """All that is wrong with the peers, in their order; `namespace` is where they are. The peers that are named are to
    be left out of a wish. `chosen` says from which of our addresses the kernel would send to another, None: nobody
    knows yet.
    """
    problems: list[Problem] = []
    for peer in config.peers:
        findings = Findings(PEER, Key(namespace, peer.name))
        _check_place(findings, peer)
        _check_times(findings, peer)
        if peer.vrf:
            findings.add("spec.vrf", peer.vrf, "none: GoBGP speaks from the node's own routing table only")
        if peer.router_id and isinstance(ip_address(peer.router_id), IPv6Address):
            findings.add("spec.routerID", peer.router_id, "an IPv4 address")
        if peer.password is not None and len(length := peer.password.text.encode()) > PASSWORD_BYTES_AT_MOST:
            said = f"one of {len(length)} bytes"
            findings.add("spec.passwordSecret", said, f"a password of at most {PASSWORD_BYTES_AT_MOST} bytes")
        if peer.bfd_profile and (profile := config.bfd_profiles.get(peer.bfd_profile)) is not None:
            _check_bfd(findings, peer, profile, chosen)
        problems += findings.problems
    return problems + _same_place(config, namespace)


def _check_place(findings: Findings, peer: Peer) -> None:
    if peer.interface:
        name = peer.interface
        if len(name.encode()) > INTERFACE_NAME_AT_MOST or any(each.isspace() or each in "/%" for each in name):
            expected = f"an interface's name of at most {INTERFACE_NAME_AT_MOST} bytes, without spaces, / and %"
            findings.add("spec.interface", name, expected)
        if peer.source_address:
            findings.add("spec.sourceAddress", peer.source_address, "none beside spec.interface")
        return
    address = ip_address(peer.address)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        findings.add("spec.peerAddress", peer.address, str(address.ipv4_mapped))
    elif address.is_link_local and address.version == 6:
        findings.add(
            "spec.peerAddress", peer.address, "spec.interface instead of an address that is good on one link only"
        )
    elif address.is_multicast or address.is_unspecified:
        findings.add("spec.peerAddress", peer.address, "the address of one router")
    if peer.source_address and ip_address(peer.source_address).version != address.version:
        findings.add(
            "spec.sourceAddress", peer.source_address, f"an IPv{address.version} address, as spec.peerAddress is"
        )


def _check_times(findings: Findings, peer: Peer) -> None:
    for field, value, least in (("holdTime", peer.hold_time_s, 3), ("keepaliveTime", peer.keepalive_time_s, 1)):
        if value is not None and not least <= value <= SECONDS_MOST:
            findings.add(f"spec.{field}", f"{value}s", f"{least}s to {SECONDS_MOST}s")


def _check_bfd(findings: Findings, peer: Peer, profile: BFDProfile, chosen: Callable[[str], Address | None]) -> None:
    if profile.echo_mode:
        findings.add("spec.bfdProfile", profile.name, "a BFDProfile without echoMode, which GoBGP lacks")
    if profile.passive_mode:
        findings.add("spec.bfdProfile", profile.name, "a BFDProfile without passiveMode, which GoBGP lacks")
    if peer.ebgp_multi_hop:
        expected = "none beside spec.ebgpMultiHop: GoBGP has no BFD over several hops"
        findings.add("spec.bfdProfile", profile.name, expected)
    elif peer.source_address and peer.address:
        ours = chosen(peer.address)  # by which GoBGP sends BFD, whatever the session's own address is
        if ours is not None and ours != ip_address(peer.source_address):
            expected = (
                f"{ours}, by which the kernel would send BFD to {peer.address}, or a route that has it send by this"
            )
            findings.add("spec.sourceAddress", peer.source_address, expected)


def _same_place(config: Config, namespace: str) -> list[Problem]:
    """Two texts may be one address."""
    problems = []
    for one, other in combinations([peer for peer in config.peers if peer.address], 2):
        if one.nodes & other.nodes and ip_address(one.address) == ip_address(other.address):
            expected = f"another neighbour than that of {one.name}, which runs on the same nodes"
            problems.append(Problem(PEER, Key(namespace, other.name), "spec.peerAddress", other.address, expected))
    return problems
