"""A peer, as the daemon's API writes it. Pure.

What the daemon has of a peer is not compared field by field, for it fills in much of its own: a digest of what was
asked for stands in the peer's description, behind its name. What has another digest is removed and made anew. What can
be changed without that, how often a connection is tried and that BFD begins, is no part of the digest, and is compared.

With graceful restart a first session says that we have restarted and, truly, for the kernel forwards without us, that
our forwarding state was preserved. A peer that is not told so drops what it has kept for us before it is told it again
(RFC 4724 section 4.2).
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from speaker.bgp import messages
from speaker.bgp.protobuf import encode

if TYPE_CHECKING:
    from cluster.config import BFDProfile, Peer
    from speaker.bgp.wish import Neighbour

HOLD_TIME_S = 90
CONNECT_RETRY_S = 5
IDLE_AFTER_RESET_S = 1
"""A reset is what BFD does to a session."""
RESTART_TIME_S = 60
"""So long a peer keeps what we told it, when we restart gracefully."""
DEFERRAL_S = 1
"""So long the daemon waits, after a restart, for a peer to have told all it has, before it tells the peer anything."""
MULTIHOP_TTL = 255
BFD_INTERVAL_MS, BFD_MULTIPLIER = 300, 3
MARK = "arpfast"


class Known(NamedTuple):
    """A peer that the daemon has."""

    name: str
    digest: str
    address: str
    """Empty if what the daemon says is none."""
    soft: tuple[int, bool] = (0, False)
    """What can be changed while the session stays: how often a connection is tried, and whether there is BFD."""


def local_asn(peer: Peer) -> int:
    """The number that the peer is told as ours."""
    return peer.local_asn or peer.my_asn


def expected_asn(peer: Peer) -> int:
    """The number that it has to say; 0: any but ours."""
    return peer.asn or (local_asn(peer) if peer.dynamic_asn == "internal" else 0)


def families(peer: Peer) -> tuple[int, ...]:
    """The address families (AFI) of its session: that of its address, unless both are asked for; on a bare interface
    both are.
    """
    if peer.dual_stack or peer.interface:
        return messages.IPV4, messages.IPV6
    return (messages.IPV6,) if ":" in peer.address else (messages.IPV4,)


def write(neighbour: Neighbour, address: str, *, bfd: bool = True) -> messages.Peer:
    """To make it, or to change it softly; `address` with a zone where it needs one, `bfd`: now, if it is wanted."""
    peer = neighbour.peer
    hold_s = HOLD_TIME_S if peer.hold_time_s is None else peer.hold_time_s
    third_s = max(1, hold_s // 3)  # more than that ends the session when one is late; FRR does not do more either
    keepalive_s = min(third_s, max(1, third_s if peer.keepalive_time_s is None else peer.keepalive_time_s))
    graceful = messages.MpGracefulRestart(messages.MpGracefulRestartConfig(peer.graceful_restart))
    timers = messages.TimersConfig(0, hold_s, keepalive_s, IDLE_AFTER_RESET_S)
    conf = messages.PeerConf(
        auth_password=peer.password.text if peer.password is not None else "",
        local_asn=local_asn(peer),
        neighbor_address=address,
        peer_asn=expected_asn(peer),
    )
    written = messages.Peer(
        conf=conf,
        ebgp_multihop=messages.EbgpMultihop(enabled=True, multihop_ttl=MULTIHOP_TTL) if peer.ebgp_multi_hop else None,
        timers=messages.Timers(timers),
        transport=messages.Transport(peer.source_address, peer.port),
        graceful_restart=messages.GracefulRestart(enabled=True, restart_time=RESTART_TIME_S)
        if peer.graceful_restart
        else None,
        afi_safis=tuple(
            messages.AfiSafi(graceful, messages.AfiSafiConfig(messages.Family(afi, messages.UNICAST), enabled=True))
            for afi in families(peer)
        ),
        bfd=None if neighbour.bfd is None else _bfd(neighbour.bfd),
    )
    described = f"{MARK} {peer.name} {sha256(encode(written)).hexdigest()[:32]}"
    connect_s = peer.connect_time_s or CONNECT_RETRY_S
    return msgspec.structs.replace(
        written,
        conf=msgspec.structs.replace(conf, description=described),
        graceful_restart=written.graceful_restart
        and msgspec.structs.replace(written.graceful_restart, deferral_time=DEFERRAL_S, local_restarting=True),
        timers=messages.Timers(msgspec.structs.replace(timers, connect_retry=connect_s)),
        bfd=written.bfd if bfd else None,
    )


def known(peer: messages.Peer) -> Known:
    """What the daemon has; without a name if it is none of ours."""
    conf = peer.conf or messages.PeerConf()
    state = peer.state or messages.PeerState()
    address = next(filter(_is_address, (state.neighbor_address, conf.neighbor_address)), "")
    match conf.description.split(" "):
        case [mark, name, digest] if mark == MARK:
            return Known(name, digest, address, _soft(peer))
    return Known("", "", address)


def _soft(peer: messages.Peer) -> tuple[int, bool]:
    timers = peer.timers.config if peer.timers is not None else None
    connect_s = 0 if timers is None else timers.connect_retry
    return connect_s, peer.bfd is not None and peer.bfd.enabled


def _is_address(text: str) -> bool:
    """What is none ends the daemon, if it is asked to remove such a peer."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def detection_ms(profile: BFDProfile) -> int:
    """After so long a peer notices that we are silent, unless it is slower itself."""
    return (profile.transmit_interval_ms or BFD_INTERVAL_MS) * (profile.detect_multiplier or BFD_MULTIPLIER)


def _bfd(profile: BFDProfile) -> messages.BfdPeerConfig:
    return messages.BfdPeerConfig(
        enabled=True,
        desired_minimum_tx_interval=1000 * (profile.transmit_interval_ms or BFD_INTERVAL_MS),
        required_minimum_receive=1000 * (profile.receive_interval_ms or BFD_INTERVAL_MS),
        detection_multiplier=profile.detect_multiplier or BFD_MULTIPLIER,
    )
