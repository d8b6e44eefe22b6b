"""What is said about BGP to whoever asks: of the sessions, and of what each peer is told of an address or a Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speaker.bgp.deciding import families, prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arpfast.spans import Span
    from cluster.config import Peer
    from cluster.resources import Key
    from cluster.world import World
    from speaker.bgp.routing import Routing
    from speaker.bgp.wish import Prefix


def status_told(routing: Routing, world: World | None) -> dict[str, Any] | None:
    """All peers of this node, and how it is with them; None: it has none."""
    peers = [] if world is None else [peer for peer in world.config.peers if routing.node in peer.nodes]
    if not peers:
        return None
    sessions, asked = routing.sessions(), routing.asked()
    told = []
    for peer in peers:
        session = sessions.get(peer.name)
        told.append({
            "peer": peer.name,
            "address": session.address if session is not None and session.address else peer.address or peer.interface,
            "asn": peer.asn or peer.dynamic_asn,
            "state": "idle" if session is None else session.state,
            "since_unix_s": None if session is None else session.since_unix_s or None,
            "why": _refused(routing, peer) or (routing.trouble if session is None else session.why),
            "flaps": 0 if session is None else session.flaps,
            "bfd": "none" if session is None else session.bfd,
            "announced": 0 if session is None else session.announced,
            "asked": asked.get(peer.name, 0),
        })  # fmt: skip
    return {
        "trouble": routing.trouble,
        "leaving": routing.leaving,
        "routes": len(routing.wish.routes),
        "peers": told,
    }


def address_told(routing: Routing, world: World | None, address: Span) -> list[dict[str, Any]]:
    """What each peer is told of every prefix that is announced and has this address; what it is not told, and why."""
    return _routes(routing, world, [each for each in prefixes(address) if each in routing.routes.routes])


def service_told(routing: Routing, world: World, key: Key) -> dict[str, Any] | None:
    """Why which node does not announce a Service, and what each peer of this one is told of it; None: nobody announces
    anything.
    """
    if not world.config.bgp_advertisements:
        return None
    share = routing.routes.shares.get(key)
    why = {node: routing.routes.why(world, key, node) for node in sorted({*world.nodes, routing.node})}
    return {
        "reason": why[routing.node],
        "nodes": why,
        "routes": _routes(routing, world, () if share is None else share.routes),
    }


def _routes(routing: Routing, world: World | None, of: Iterable[Prefix]) -> list[dict[str, Any]]:
    if world is None:
        return []
    sessions = routing.sessions()
    rows = []
    for prefix in of:
        told = routing.wish.routes.get(prefix, {})
        for peer in world.config.peers:
            if routing.node not in peer.nodes:
                continue
            attributes, session = told.get(peer.name), sessions.get(peer.name)
            rows.append({
                "prefix": prefix,
                "services": list(map(str, routing.routes.holders(prefix))),
                "peer": peer.name,
                "told": attributes is not None,
                "state": "idle" if session is None else session.state,
                "local_pref": None if attributes is None else attributes.local_pref or None,
                "communities": [] if attributes is None else list(attributes.communities),
                "why": "" if attributes is not None else _why(routing, peer, prefix),
            })  # fmt: skip
    return rows


def _why(routing: Routing, peer: Peer, prefix: Prefix) -> str:
    """Why a peer of this node is not told of a prefix that others are told."""
    if refused := _refused(routing, peer):
        return refused
    if (6 if ":" in prefix else 4) not in families(peer):
        return "its session does not carry this family"
    if peer.name not in routing.routes.routes[prefix]:
        return "no advertisement names it"
    return "given up to other nodes, as this one is drained"


def _refused(routing: Routing, peer: Peer) -> str:
    if peer.name in routing.wish.neighbours:
        return ""
    wrong = [problem for problem in routing.problems if problem.key.name == peer.name]
    return "; ".join(f"{each.field}: expected {each.expected}" for each in wrong)
