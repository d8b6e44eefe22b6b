"""From MetalLB's custom resources to the configuration: every object checked, every problem reported at once. Pure.

What is wrong with one kind of object does not hold up another. Of a kind with a problem all objects stay as they were
when all of them were last good: half of a change is worse than none of it. What refers to another kind is checked
against, and resolved by, what is in force of that; what stays as it was may still name what there is no longer.
Of peers and of what is announced to them nothing may be in force yet, as after a start: then those objects are that
nothing is wrong with, for a session that stands must not end because another has been mistyped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from cluster.advertisements import parse_bgp_advertisements, parse_l2_advertisements
from cluster.communities import parse_communities
from cluster.config import BGPAdvertisement, Config, Peer
from cluster.peering import PEER, parse_bfd_profiles, parse_peers
from cluster.pools import parse_pools
from cluster.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.custom import Objects
    from cluster.resources import Secret

    Labelled = Mapping[str, Mapping[str, str]]


N = TypeVar("N", BGPAdvertisement, Peer)


class Parsed(NamedTuple):
    """What is to be in force, and what is wrong."""

    config: Config
    problems: tuple[Problem, ...]


NOTHING = Config()


def parse(
    objects: Objects, nodes: Labelled, namespaces: Labelled, secrets: Mapping[str, Secret], last: Config = NOTHING
) -> Parsed:
    """What follows from all objects. `nodes` and `namespaces`: the labels of each; `secrets`: those that are known of
    MetalLB's namespace, by name; `last`: what has been in force.
    """
    return _parse(objects, nodes, namespaces, secrets, last)


def check(objects: Objects, nodes: Labelled) -> tuple[Problem, ...]:
    """All that is wrong with these objects. None hides behind another: unlike `parse`, what refers to an object is
    checked against it even if that is at fault itself. No Secrets are known here, so each one that is referred to is
    a transient problem.
    """
    return _parse(objects, nodes, {}, {}, None).problems


def _parse(
    objects: Objects, nodes: Labelled, namespaces: Labelled, secrets: Mapping[str, Secret], last: Config | None
) -> Parsed:
    """`last` is in force of each kind that has a problem; None: it is used as it is."""
    problems: list[Problem] = []

    pools, found = parse_pools(objects.pools, namespaces)
    pools = last.pools if found and last else pools
    problems += found

    l2_advertisements, found = parse_l2_advertisements(objects.l2_advertisements, pools, nodes)
    l2_advertisements = last.l2_advertisements if found and last else l2_advertisements
    problems += found

    aliases, found = parse_communities(objects.communities)
    aliases = last.communities if found and last else aliases
    problems += found

    bgp_advertisements, found = parse_bgp_advertisements(objects.bgp_advertisements, pools, nodes, aliases)
    if found and last:
        bgp_advertisements = last.bgp_advertisements or _right(bgp_advertisements, found)
    problems += found

    profiles, found = parse_bfd_profiles(objects.bfd_profiles)
    profiles = last.bfd_profiles if found and last else profiles
    problems += found

    peers, found = parse_peers(objects.peers, nodes, secrets, profiles)
    config = Config(
        pools=pools,
        l2_advertisements=l2_advertisements,
        bgp_advertisements=bgp_advertisements,
        peers=peers,
        bfd_profiles=profiles,
        communities=aliases,
    )
    if not found or last is None:
        found += _echoes(config, objects)
    if found and last:
        config = msgspec.structs.replace(config, peers=last.peers or _right(peers, found))
    return Parsed(config, tuple(problems + found))


def _right(parsed: tuple[N, ...], problems: list[Problem]) -> tuple[N, ...]:
    """Those that nothing is wrong with."""
    wrong = {problem.key.name for problem in problems}
    return tuple(each for each in parsed if each.name not in wrong)


def _echoes(config: Config, objects: Objects) -> list[Problem]:
    """BFD's echoes are IPv4's: no peer may have them to which addresses of IPv6 are announced."""
    keys = {written.metadata.name: written.key for written in objects.peers}
    problems = []
    for peer in config.peers:
        profile = config.bfd_profiles.get(peer.bfd_profile)
        if profile is not None and profile.echo_mode and (pool := _pool_of_ipv6(config, peer.name)):
            expected = f"a profile without echoMode, as pool {pool} has IPv6 and is announced to it"
            problems.append(Problem(PEER, keys[peer.name], "spec.bfdProfile", peer.bfd_profile, expected))
    return problems


def _pool_of_ipv6(config: Config, peer: str) -> str:
    """A pool with IPv6 that is announced to this peer; empty if there is none."""
    for advertisement in config.bgp_advertisements:
        if advertisement.peers is None or peer in advertisement.peers:
            for name in sorted(advertisement.pools):
                if name in config.pools and any(span.version == 6 for span in config.pools[name].spans):
                    return name
    return ""
