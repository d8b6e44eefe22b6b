"""From what each peer is to be told to paths and export statements of one daemon. Pure.

GoBGP has one policy for all peers, with conditions on the peer that a path would go to. A path carries its attributes
where all who are told it are told the same, and a *tag*: a large community that says who they are. For each tag there
is a statement that accepts, for these peers, paths with the tag, and takes the tag off; what no statement accepts is
told nobody. Where peers are told different things about one prefix its path carries several tags, and their
statements add the attributes. So who is told a prefix changes with the path alone, and GoBGP itself works out who
must be told of the change.

A tag is a digest of everything that its statements say. A statement is never edited, two that say the same are one,
and a speaker that starts anew finds its own. The tag's first number is 4294967295, which RFC 8092 keeps from
everybody else.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from speaker.bgp import messages
from speaker.bgp.wish import Attributes, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TAG_ADMIN = (1 << 32) - 1
LARGE = "large:"
GRACEFUL_SHUTDOWN = "65535:0"
"""RFC 8326 section 5."""
POLICY = "arpfast"
REMEMBERED = 100
_NOT_SAID = Attributes()


class Target(msgspec.Struct, frozen=True):
    """A peer as statements see it."""

    address: str
    """Without a zone."""
    next_hops: tuple[tuple[int, str], ...] = ()
    """By address family (AFI), where it is not the session's own local address."""
    families: tuple[int, ...] = ()
    """Those that it may be told of; empty: all that its session carries."""


class Route(msgspec.Struct, frozen=True, cache_hash=True):
    """What the path of one prefix carries."""

    tags: tuple[int, ...]
    """64 bits each; in order."""
    local_pref: int | None = None
    communities: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """All that there is to one tag."""

    sets: tuple[messages.DefinedSet, ...]
    statements: tuple[messages.Statement, ...]
    peers: tuple[str, ...] = ()
    """Their names; unknown of rules that an earlier speaker has left."""


class Plan(msgspec.Struct, frozen=True):
    """What the daemon is to have."""

    routes: Mapping[Prefix, Route]
    rules: Mapping[int, Rule]
    """By tag."""


class Planner:
    """Makes plans, for targets that stay the same; what it has worked out once it remembers."""

    def __init__(self, targets: Mapping[str, Target], *, draining: bool = False) -> None:
        """`targets` by the name of the peer: others are told nothing. `draining`: everybody is asked to look for other
        ways (RFC 8326).
        """
        self.targets, self.draining = targets, draining
        self.rules: dict[int, Rule] = {}
        self._known: dict[frozenset[tuple[str, Attributes]], Route | None] = {}

    def route(self, told: Mapping[str, Attributes]) -> Route | None:
        """The path for what peers are told of one prefix; None if nobody is told anything."""
        key = frozenset(told.items())
        if key not in self._known:
            self._known[key] = self._work_out(told)
        return self._known[key]

    def plan(self, routes: Mapping[Prefix, Mapping[str, Attributes]]) -> Plan:
        """All of it at once."""
        planned = {prefix: route for prefix, told in routes.items() if (route := self.route(told)) is not None}
        used = {tag: self.rules[tag] for route in set(planned.values()) for tag in route.tags}
        if len(self.rules) > 2 * len(used) + REMEMBERED:
            self.rules, self._known = dict(used), {}
        return Plan(planned, used)

    def _work_out(self, told: Mapping[str, Attributes]) -> Route | None:
        groups: dict[Attributes, list[str]] = {}
        for name in sorted(told.keys() & self.targets.keys()):
            groups.setdefault(told[name], []).append(name)
        if not groups:
            return None
        if len(groups) == 1:
            ((attributes, names),) = groups.items()
            local_pref, communities = self._said(attributes)
            return Route((self._tag(names, None),), local_pref, communities)
        return Route(tuple(sorted(self._tag(names, attributes) for attributes, names in groups.items())))

    def _said(self, attributes: Attributes) -> tuple[int | None, tuple[str, ...]]:
        if not self.draining:
            return attributes.local_pref or None, in_order(attributes.communities)
        return 0, in_order({*attributes.communities, GRACEFUL_SHUTDOWN})

    def _tag(self, names: list[str], attributes: Attributes | None) -> int:
        """The tag of a rule, which it makes if there is none: `attributes` are added by it, if given."""
        targets = tuple(self.targets[name] for name in names)
        said = None if attributes is None else self._said(attributes)
        tag = int.from_bytes(sha256(msgspec.json.encode((targets, said))).digest()[:8])
        if tag not in self.rules:
            self.rules[tag] = rule(tag, targets, said, tuple(names))
        return tag


def in_order(communities: Iterable[str]) -> tuple[str, ...]:
    """Communities by their numbers, plain ones first, each once."""
    return tuple(sorted(set(communities), key=lambda each: (each.startswith(LARGE), numbers(each))))


def numbers(community: str) -> tuple[int, ...]:
    """The numbers of `65000:1` or of `large:65000:1:2`. ValueError for what is neither."""
    parts = tuple(map(int, community.removeprefix(LARGE).split(":")))
    large = community.startswith(LARGE)
    if len(parts) != (3 if large else 2) or not all(0 <= part < 1 << (32 if large else 16) for part in parts):
        raise ValueError(f"expected a community such as 65000:1 or large:65000:1:2, not {community!r}")
    return parts


def rule(
    tag: int,
    targets: tuple[Target, ...],
    said: tuple[int | None, tuple[str, ...]] | None,
    peers: tuple[str, ...] = (),
) -> Rule:
    """The statements of a tag: for those targets, with these attributes besides what the path carries."""
    name = f"{POLICY}-{tag:016x}"
    groups: dict[tuple[int, str], set[str]] = {}
    for target in targets:
        there = dict(target.next_hops)
        for afi in target.families or ((messages.IPV4, messages.IPV6) if there else (0,)):
            groups.setdefault((afi, there.get(afi, "")), set()).add(cidr(target.address))
    tagged = messages.DefinedSet(messages.LARGE_COMMUNITY_SET, name, (_tag_pattern(tag),))
    sets, statements = [tagged], []
    for number, ((afi, next_hop), neighbours) in enumerate(sorted(groups.items())):
        part = f"{name}-{number}"
        sets.append(messages.DefinedSet(messages.NEIGHBOUR_SET, part, tuple(sorted(neighbours))))
        conditions = messages.Conditions(
            neighbor_set=messages.MatchSet(messages.ANY, part),
            large_community_set=messages.MatchSet(messages.ANY, name),
            afi_safi_in=(messages.Family(afi, messages.UNICAST),) if afi else (),
        )
        statements.append(messages.Statement(part, conditions, _actions(tag, said, next_hop)))
    return Rule(tuple(sets), tuple(statements), peers)


def _actions(tag: int, said: tuple[int | None, tuple[str, ...]] | None, next_hop: str) -> messages.Actions:
    local_pref, communities = said or (None, ())
    plain = tuple(each for each in communities if not each.startswith(LARGE))
    large = tuple(each.removeprefix(LARGE) for each in communities if each.startswith(LARGE))
    if said is None:  # the path's own stay
        take_off = messages.CommunityAction(messages.REMOVE, (_tag_pattern(tag),))
    elif large:
        take_off = messages.CommunityAction(messages.REPLACE, large)
    else:
        take_off = messages.CommunityAction(messages.REMOVE, (f"^{TAG_ADMIN}:.*:.*$",))
    return messages.Actions(
        route_action=messages.ACCEPT,
        community=messages.CommunityAction(messages.ADD, plain) if plain else None,
        nexthop=messages.NexthopAction(next_hop) if next_hop else None,
        local_pref=None if local_pref is None else messages.LocalPrefAction(local_pref),
        large_community=take_off,
    )


def _tag_pattern(tag: int) -> str:
    return f"^{TAG_ADMIN}:{tag >> 32}:{tag & TAG_ADMIN}$"


def cidr(address: str) -> str:
    """An address as a prefix with one address in it."""
    return f"{address}/{128 if ':' in address else 32}"
