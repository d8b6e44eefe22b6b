"""Which prefixes this node announces by BGP, to which peers, and with what. Pure: no clock, no socket, no session.

Other than of an ARP answer there is no owner: each node decides by itself, and announces whatever it may. The routers
spread their traffic over all that do. Each Service has a *share*: the prefixes that its addresses are announced in, and
what each peer is told. A route is what the shares of all Services with its prefix come to: an aggregate stays until the
last of them is gone, and each peer is told the communities of all of them, and the greatest of their preferences.

`Routes` keeps what it has decided. A Service that changes costs that Service; configuration, and a node that begins or
ceases to be available, are about everybody. Where nothing is announced by BGP, nothing is looked at.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from arpfast.spans import address_of
from cluster.communities import order
from cluster.world import NOBODY
from speaker.bgp.wish import Attributes, Neighbour
from speaker.judging import addressed
from speaker.nodes import ABLE, Rules, stand
from speaker.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from arpfast.spans import Span, Version
    from cluster.config import BGPAdvertisement, Config, Peer, Pool
    from cluster.resources import Key, Service
    from cluster.world import Change, Serving, World
    from speaker.bgp.wish import Prefix
    from speaker.nodes import Standing

    Told = Mapping[str, Attributes]
    """By the name of the peer."""

_HOST: dict[Version, int] = {4: 32, 6: 128}


class Share(msgspec.Struct, frozen=True):
    """What is announced for one Service."""

    addresses: tuple[Span, ...] = ()
    routes: Mapping[Prefix, Told] = {}
    elsewhere: frozenset[str] = frozenset()
    """The other nodes in good order that announce it, too."""


class Judge(NamedTuple):
    """All that a Service is judged by."""

    node: str
    """This one."""
    config: Config
    neighbours: Mapping[str, Neighbour]
    standings: Mapping[str, Standing]
    """Of the nodes that are barred or avoided."""
    told: dict[tuple[str, Version], Told]
    """What an advertisement, by its name, has peers told: the same for many Services."""
    others: dict[str, frozenset[str]]
    """The other nodes in good order that announce what it is about."""


def neighbours(config: Config, node: str, refused: Collection[str] = ()) -> dict[str, Neighbour]:
    """The peers that a node speaks with, by name; without those that it cannot speak with."""
    return {
        peer.name: Neighbour(peer, config.bfd_profiles.get(peer.bfd_profile))
        for peer in config.peers
        if node in peer.nodes and peer.name not in refused
    }


def families(peer: Peer) -> frozenset[Version]:
    """Of which families a peer is told addresses: those of its own, or both, if that is asked for."""
    if peer.dual_stack or not peer.address:
        return frozenset({4, 6})
    return frozenset({6 if ":" in peer.address else 4})


def prefix(address: Span, length: int) -> Prefix:
    """The prefix of this length that a single address is in."""
    host_bits = _HOST[address.version] - length
    return f"{address_of(address.version, address.first >> host_bits << host_bits)}/{length}"


def prefixes(address: Span) -> Iterator[Prefix]:
    """All that an address is in, the longest first."""
    return (prefix(address, length) for length in range(_HOST[address.version], -1, -1))


def judge(service: Service, serving: Serving, by: Judge) -> Share | Reason:
    """What this node announces for a Service, or the first reason for nothing, in MetalLB's order of tests."""
    found = addressed(service, by.config)
    if isinstance(found, Reason):
        return found
    addresses, pool = found
    here = [each for each in by.config.bgp_advertisements if pool.name in each.pools and by.node in each.nodes]
    if not here:
        return Reason.NOT_OWNER
    labels = service.metadata.labels
    matching = [each for each in here if each.covers(labels)]
    if not matching:
        return Reason.NO_MATCHING_ADVERTISEMENT
    if any(conflict(one, other, pool) for one, other in combinations(matching, 2)):
        return Reason.CONFLICTING_ADVERTISEMENTS
    if barred := by.standings.get(by.node, ABLE).barred:
        return barred[0]
    local = service.spec.external_traffic_policy == "Local"
    if local and by.node not in serving.nodes:
        return Reason.NO_LOCAL_ENDPOINTS
    if not serving.anywhere:
        return Reason.NO_ENDPOINTS
    routes = _routes(addresses, matching, by)
    if not routes:
        return Reason.NO_PEER
    about = [each for each in by.config.bgp_advertisements if pool.name in each.pools and each.covers(labels)]
    elsewhere = _others(about[0], by)
    for each in about[1:]:
        elsewhere |= _others(each, by)
    return Share(addresses, routes, elsewhere & serving.nodes if local else elsewhere)


def conflict(one: BGPAdvertisement, other: BGPAdvertisement, pool: Pool) -> bool:
    """Whether two that are about this node and one Service would tell one peer two preferences of one prefix."""
    if one.local_pref == other.local_pref:
        return False
    if one.peers is not None and other.peers is not None and not one.peers & other.peers:
        return False
    mine, theirs = _lengths(one), _lengths(other)
    return any(mine[version] == theirs[version] for version in {span.version for span in pool.spans})


def unite(told: Sequence[Told]) -> Told:
    """What each peer is told of a prefix by all who have it announced."""
    if len(told) == 1:
        return told[0]
    peers: dict[str, list[Attributes]] = {}
    for one in told:
        for peer, attributes in one.items():
            peers.setdefault(peer, []).append(attributes)
    return {peer: _united(peers[peer]) for peer in sorted(peers)}


def _united(all_of_them: list[Attributes]) -> Attributes:
    communities = {community for each in all_of_them for community in each.communities}
    return Attributes(max(each.local_pref for each in all_of_them), tuple(sorted(communities, key=order)))


def _lengths(advertisement: BGPAdvertisement) -> dict[Version, int]:
    return {4: advertisement.aggregation_length, 6: advertisement.aggregation_length_v6}


def _routes(addresses: Iterable[Span], advertisements: Iterable[BGPAdvertisement], by: Judge) -> dict[Prefix, Told]:
    """What each peer is told of each prefix; none of which nobody is told."""
    found: dict[Prefix, list[Told]] = {}
    for advertisement in advertisements:
        for address in addresses:
            known = advertisement.name, address.version
            if known not in by.told:
                by.told[known] = _told(advertisement, address.version, by.neighbours)
            if told := by.told[known]:
                found.setdefault(prefix(address, _lengths(advertisement)[address.version]), []).append(told)
    return {each: unite(told) for each, told in found.items()}


def _told(advertisement: BGPAdvertisement, version: Version, neighbours: Mapping[str, Neighbour]) -> Told:
    attributes = Attributes(advertisement.local_pref, advertisement.communities)
    names = neighbours.keys() if advertisement.peers is None else neighbours.keys() & advertisement.peers
    return {name: attributes for name in sorted(names) if version in families(neighbours[name].peer)}


def _others(advertisement: BGPAdvertisement, by: Judge) -> frozenset[str]:
    """The nodes that announce it and have somebody to tell; not this one, and none that is barred or avoided."""
    if advertisement.name not in by.others:
        told = [
            peer.nodes for peer in by.config.peers if advertisement.peers is None or peer.name in advertisement.peers
        ]
        there = advertisement.nodes & frozenset[str]().union(*told)
        by.others[advertisement.name] = there - {by.node} - by.standings.keys()
    return by.others[advertisement.name]


class Routes:
    """All routes of this node, by what is known of the cluster."""

    def __init__(self, node: str, rules: Rules = Rules()) -> None:  # noqa: B008 (immutable)
        """Nothing is known yet."""
        self._node, self._rules = node, rules
        self.shares: dict[Key, Share] = {}
        """Of the Services that are announced."""
        self.routes: dict[Prefix, Told] = {}
        self.neighbours: Mapping[str, Neighbour] = {}
        self.judged = 0
        """How many Services have been judged since the start."""
        self._standings: dict[str, Standing] = {}
        self._holders: dict[Prefix, dict[Key, Told]] = {}
        """Who has a prefix announced, and what it has peers told of it."""
        self._judge: Judge | None = None

    def apply(self, world: World, change: Change, neighbours: Mapping[str, Neighbour]) -> frozenset[Key]:
        """Take the world as it is now, of which `change` is new, and the peers of this node: the Services that are
        announced otherwise than before.
        """
        everything = self._judge is None or change.config or neighbours != self.neighbours
        self.neighbours = neighbours
        everything |= self._look(world, {*world.nodes, *self._standings} if everything else change.nodes)
        if self._judge is None or everything:
            self._judge = Judge(self._node, world.config, neighbours, self._standings, {}, {})
        keys: Iterable[Key] = change.services
        if not world.config.bgp_advertisements:
            keys = [*self.shares]
        elif everything:
            keys = {*world.services, *self.shares}
        return frozenset(key for key in keys if self._renew(world, key))

    @property
    def avoided(self) -> bool:
        """Whether this node is one that others are to come before."""
        return bool(self._standings.get(self._node, ABLE).avoided)

    def holders(self, prefix: Prefix) -> list[Key]:
        """The Services that have a prefix announced."""
        return sorted(self._holders.get(prefix, ()))

    def needed(self, lost: frozenset[str] = frozenset()) -> dict[Prefix, Told]:
        """The routes without those whose Services are all announced by other nodes that are in good order and not
        `lost`.
        """
        return {
            prefix: told
            for prefix, told in self.routes.items()
            if not all(self.shares[key].elsewhere - lost for key in self._holders[prefix])
        }

    def why(self, world: World, key: Key, node: str) -> Reason | None:
        """Why a Service is not announced by a node, as far as the cluster says; None: it is."""
        service = world.services.get(key)
        if service is None:
            return Reason.SERVICE_DELETED
        spoken = self.neighbours if node == self._node else neighbours(world.config, node)
        by = Judge(node, world.config, spoken, self._standings, {}, {})
        found = judge(service, world.serving.get(key, NOBODY), by)
        return found if isinstance(found, Reason) else None

    def _look(self, world: World, nodes: Iterable[str]) -> bool:
        """Look at these nodes; whether any stands otherwise than before."""
        before = dict(self._standings)
        for node in nodes:
            standing = stand(world.nodes[node], self._rules) if node in world.nodes else ABLE
            if standing is ABLE:
                self._standings.pop(node, None)
            else:
                self._standings[node] = standing
        return self._standings != before

    def _renew(self, world: World, key: Key) -> bool:
        """Judge a Service anew; whether anything came of it."""
        assert self._judge is not None
        self.judged += 1
        service = world.services.get(key)
        found = None if service is None else judge(service, world.serving.get(key, NOBODY), self._judge)
        after = found if isinstance(found, Share) else None
        before = self.shares.get(key)
        if after == before:
            return False
        if after is None:
            del self.shares[key]
        else:
            self.shares[key] = after
        self._put(key, {} if before is None else before.routes, {} if after is None else after.routes)
        return True

    def _put(self, key: Key, before: Mapping[Prefix, Told], after: Mapping[Prefix, Told]) -> None:
        for gone in before.keys() - after.keys():
            del self._holders[gone][key]
        for prefix, told in after.items():
            self._holders.setdefault(prefix, {})[key] = told
        for prefix in before.keys() | after.keys():
            if holders := self._holders[prefix]:
                self.routes[prefix] = unite(list(holders.values()))
            else:
                del self._holders[prefix], self.routes[prefix]
