"""A prefix and its route, as the daemon's API writes them. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network
from itertools import islice
from typing import TYPE_CHECKING

from speaker.bgp import messages
from speaker.bgp.messages import Attribute, Path
from speaker.bgp.protobuf import encode
from speaker.bgp.routes import LARGE, TAG_ADMIN, Route, in_order, numbers

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from speaker.bgp.wish import Prefix

CHUNK = 250
"""So many paths go in one message; making it takes the event loop some milliseconds."""
FAMILIES = {4: messages.Family(messages.IPV4, messages.UNICAST), 6: messages.Family(messages.IPV6, messages.UNICAST)}
_ORIGIN = Attribute(origin=messages.OriginAttribute())
_WITHDRAWN = encode(Path(pattrs=(_ORIGIN,), is_withdraw=True))
_NEXT_HOP = Attribute(next_hop=messages.NextHopAttribute("0.0.0.0"))  # noqa: S104 (the session's local address)


def announcement(prefix: Prefix, route: Route) -> bytes:
    """The Path that announces it, written. Raises ValueError for what is no prefix."""
    return _reach(prefix) + _attributes(route)


def withdrawal(prefix: Prefix) -> bytes:
    """The Path that withdraws it, written. Raises ValueError for what is no prefix."""
    return _reach(prefix) + _WITHDRAWN


def _reach(prefix: Prefix) -> bytes:
    """What depends on the prefix alone: messages may be written in parts."""
    network = ip_network(prefix)  # whatever is none must not reach the daemon
    family = FAMILIES[network.version]
    nlri = messages.NLRI(messages.IPAddressPrefix(network.prefixlen, str(network.network_address)))
    if network.version == 4:
        return encode(Path(nlri, (_NEXT_HOP,), family=family))
    reach = Attribute(mp_reach=messages.MpReachNLRIAttribute(family, ("::",), (nlri,)))
    return encode(Path(nlri, (reach,), family=family))


@lru_cache(maxsize=1024)
def _attributes(route: Route) -> bytes:
    """What depends on the route alone."""
    attributes = [_ORIGIN]
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
    return encode(Path(pattrs=tuple(attributes)))


def read(destination: messages.Destination, tags: Container[int]) -> tuple[Prefix, Route] | None:
    """What the daemon has of a prefix from us, where it knows these tags; None if that is nothing."""
    for found in destination.paths:
        route = _route(found, tags)
        if route.tags and found.nlri is not None and found.nlri.prefix is not None:
            prefix = found.nlri.prefix
            return f"{prefix.prefix}/{prefix.prefix_len}", route
    return None


def _route(found: Path, known: Container[int]) -> Route:
    local_pref, plain, large = None, list[str](), list[messages.LargeCommunity]()
    for attribute in found.pattrs:
        if attribute.local_pref is not None:
            local_pref = attribute.local_pref.local_pref
        elif attribute.communities is not None:
            plain = [f"{each >> 16}:{each & 0xFFFF}" for each in attribute.communities.communities]
        elif attribute.large_communities is not None:
            large = list(attribute.large_communities.communities)
    tags, others = list[int](), list[str]()
    for each in large:
        tag = each.local_data1 << 32 | each.local_data2
        if each.global_admin == TAG_ADMIN and tag in known:
            tags.append(tag)
        else:  # somebody may have asked for one that looks like a tag
            others.append(f"{LARGE}{each.global_admin}:{each.local_data1}:{each.local_data2}")
    return Route(tuple(sorted(tags)), local_pref, in_order([*plain, *others]))


def requests(paths: Iterable[bytes]) -> Iterator[messages.AddPathStreamRequest]:
    """Paths as the daemon takes them in."""
    rest = iter(paths)
    while chunk := tuple(islice(rest, CHUNK)):
        yield messages.AddPathStreamRequest(messages.GLOBAL_TABLE, chunk)
