"""A prefix and its route, as the daemon's API writes them. Pure."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from speaker.bgp import messages
from speaker.bgp.messages import Attribute, Path
from speaker.bgp.routes import LARGE, TAG_ADMIN, Route, in_order, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from speaker.bgp.wish import Prefix

CHUNK = 250
"""So many paths go in one message; making it takes the event loop some milliseconds."""
FAMILIES = {4: messages.Family(messages.IPV4, messages.UNICAST), 6: messages.Family(messages.IPV6, messages.UNICAST)}
_ORIGIN = Attribute(origin=messages.OriginAttribute())
_NEXT_HOP = Attribute(next_hop=messages.NextHopAttribute("0.0.0.0"))  # noqa: S104 (the session's local address)


def path(prefix: Prefix, route: Route) -> Path:
    """To announce it."""
    family, nlri = _nlri(prefix)
    attributes = [_ORIGIN]
    if family.afi == messages.IPV4:
        attributes.append(_NEXT_HOP)
    else:
        attributes.append(Attribute(mp_reach=messages.MpReachNLRIAttribute(family, ("::",), (nlri,))))
    if route.local_pref is not None:
        attributes.append(Attribute(local_pref=messages.LocalPrefAttribute(route.local_pref)))
    plain = [numbers(each) for each in route.communities if not each.startswith(LARGE)]
    if plain:
        packed = tuple(first << 16 | second for first, second in plain)
        attributes.append(Attribute(communities=messages.CommunitiesAttribute(packed)))
    large = [(TAG_ADMIN, tag >> 32, tag & TAG_ADMIN) for tag in route.tags]
    large += [numbers(each) for each in route.communities if each.startswith(LARGE)]  # type: ignore[misc]
    written = tuple(messages.LargeCommunity(*each) for each in large)
    attributes.append(Attribute(large_communities=messages.LargeCommunitiesAttribute(written)))
    return Path(nlri, tuple(attributes), family=family)


def withdrawal(prefix: Prefix) -> Path:
    """To withdraw it."""
    family, nlri = _nlri(prefix)
    return Path(nlri, (_ORIGIN, _NEXT_HOP) if family.afi == messages.IPV4 else (
        _ORIGIN, Attribute(mp_reach=messages.MpReachNLRIAttribute(family, ("::",), (nlri,))),
    ), is_withdraw=True, family=family)  # fmt: skip


def read(destination: messages.Destination) -> tuple[Prefix, Route] | None:
    """What the daemon has of a prefix from us; None if that is nothing."""
    for found in destination.paths:
        route = _route(found)
        if route.tags and found.nlri is not None and found.nlri.prefix is not None:
            prefix = found.nlri.prefix
            return f"{prefix.prefix}/{prefix.prefix_len}", route
    return None


def _route(found: Path) -> Route:
    local_pref, plain, large = None, list[str](), list[messages.LargeCommunity]()
    for attribute in found.pattrs:
        if attribute.local_pref is not None:
            local_pref = attribute.local_pref.local_pref
        elif attribute.communities is not None:
            plain = [f"{each >> 16}:{each & 0xFFFF}" for each in attribute.communities.communities]
        elif attribute.large_communities is not None:
            large = list(attribute.large_communities.communities)
    tags = sorted(each.local_data1 << 32 | each.local_data2 for each in large if each.global_admin == TAG_ADMIN)
    others = [
        f"{LARGE}{each.global_admin}:{each.local_data1}:{each.local_data2}"
        for each in large
        if each.global_admin != TAG_ADMIN
    ]
    return Route(tuple(tags), local_pref, in_order([*plain, *others]))


def requests(paths: Iterable[Path]) -> Iterator[messages.AddPathStreamRequest]:
    """Paths as the daemon takes them in."""
    chunk: list[Path] = []
    for each in paths:
        chunk.append(each)
        if len(chunk) == CHUNK:
            yield messages.AddPathStreamRequest(messages.GLOBAL_TABLE, tuple(chunk))
            chunk = []
    if chunk:
        yield messages.AddPathStreamRequest(messages.GLOBAL_TABLE, tuple(chunk))


def _nlri(prefix: Prefix) -> tuple[messages.Family, messages.NLRI]:
    network = ip_network(prefix)  # whatever is none must not reach the daemon
    nlri = messages.NLRI(messages.IPAddressPrefix(network.prefixlen, str(network.network_address)))
    return FAMILIES[network.version], nlri
