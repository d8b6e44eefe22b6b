"""From MetalLB's custom resources to the configuration: every object checked, every problem reported at once. Pure.

What is wrong with one kind of object does not hold up another. Of a kind with a problem all objects stay as they were
when all of them were last good: half of a change is worse than none of it. What refers to another kind is checked
against, and resolved by, what is in force of that; what stays as it was may still name what there is no longer, and a
BFDProfile is kept for a peer that does: without it the peer would not be as it was.
Of peers and of what is announced to them nothing may be in force yet, as after a start: then those objects are that
nothing is wrong with, for a session that stands must not end because another has been mistyped.

A node may ask for itself. Then what is wrong with peers and BGPAdvertisements of other nodes alone is no problem and
keeps nothing from being in force; of those it knows that which nothing is wrong with.
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
    from collections.abc import Callable, Iterable, Mapping

    from cluster.custom import Objects
    from cluster.resources import Object, Secret

    Labelled = Mapping[str, Mapping[str, str]]


N = TypeVar("N", BGPAdvertisement, Peer)
T = TypeVar("T", bound="Object")


class Parsed(NamedTuple):
    """What is to be in force, and what is wrong."""

    config: Config
    problems: tuple[Problem, ...]


NOTHING = Config()


def parse(
    objects: Objects,
    nodes: Labelled,
    namespaces: Labelled,
    secrets: Mapping[str, Secret],
    last: Config = NOTHING,
    node: str = "",
) -> Parsed:
    """What follows from all objects. `nodes` and `namespaces`: the labels of each; `secrets`: those that are known of
    MetalLB's namespace, by name; `last`: what has been in force; `node`: who asks, empty: nobody in particular.
    """
    return _parse(objects, nodes, namespaces, secrets, last, node)


def check(objects: Objects, nodes: Labelled) -> tuple[Problem, ...]:
    """All that is wrong with these objects. None hides behind another: unlike `parse`, what refers to an object is
    checked against it even if that is at fault itself. No Secrets are known here, so each one that is referred to is
    a transient problem.
    """
    return _parse(objects, nodes, {}, {}, None).problems


def _parse(
    objects: Objects,
    nodes: Labelled,
    namespaces: Labelled,
    secrets: Mapping[str, Secret],
    last: Config | None,
    node: str = "",
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

    bgp_advertisements, wrong = parse_bgp_advertisements(objects.bgp_advertisements, pools, nodes, aliases)
    found = _concerning(
        node, objects.bgp_advertisements, bgp_advertisements, wrong, nodes,
        lambda some, only: parse_bgp_advertisements(some, pools, only, aliases)[1],
    )  # fmt: skip
    if wrong and last:
        bgp_advertisements = _in_force(bgp_advertisements, wrong, found, last.bgp_advertisements, node)
    problems += found

    profiles, found = parse_bfd_profiles(objects.bfd_profiles)
    profiles = last.bfd_profiles if found and last else profiles
    problems += found

    peers, wrong = parse_peers(objects.peers, nodes, secrets, profiles)
    found = _concerning(
        node, objects.peers, peers, wrong, nodes, lambda some, only: parse_peers(some, only, secrets, profiles)[1]
    )
    config = Config(
        pools=pools,
        l2_advertisements=l2_advertisements,
        bgp_advertisements=bgp_advertisements,
        peers=peers,
        bfd_profiles=profiles,
        communities=aliases,
    )
    if not found or last is None:
        echoes = _echoes(config, objects)
        wrong = wrong + echoes
        ours = {peer.name for peer in peers if not node or node in peer.nodes}
        found = found + [problem for problem in echoes if problem.key.name in ours]
    if wrong and last:
        peers = _in_force(peers, wrong, found, last.peers, node)
        named = {peer.bfd_profile for peer in peers} - profiles.keys()
        kept = {name: profile for name, profile in last.bfd_profiles.items() if name in named}
        config = msgspec.structs.replace(config, peers=peers, bfd_profiles={**profiles, **kept})
    return Parsed(config, tuple(problems + found))


def _concerning(
    node: str,
    written: Iterable[T],
    parsed: tuple[N, ...],
    wrong: list[Problem],
    nodes: Labelled,
    check: Callable[[list[T], Labelled], list[Problem]],
) -> list[Problem]:
    """What of that which is `wrong` a node has to do with; without a node, all. Of objects whose selectors are at fault
    nobody knows whom they concern, so they concern all.
    """
    if not node or not wrong:
        return wrong
    names = {each.name for each in parsed if node in each.nodes}
    names |= {problem.key.name for problem in wrong if problem.field.startswith("spec.nodeSelectors")}
    concerned = [each for each in written if each.metadata.name in names]
    return check(concerned, {node: nodes.get(node, {})})


def _in_force(
    parsed: tuple[N, ...], wrong: list[Problem], found: list[Problem], last: tuple[N, ...], node: str
) -> tuple[N, ...]:
    """What is, if anything is `wrong`: by what was `found` of it to concern a node, and by what was last."""
    if not node:
        return last or _right(parsed, wrong)
    ours = _of(parsed, node)
    if found:
        ours = _of(last, node) or _right(ours, found)
    names = {each.name for each in _of(parsed, node) + ours}
    others = tuple(each for each in _right(parsed, wrong) if each.name not in names)
    return tuple(sorted(others + ours, key=_name))


def _of(several: tuple[N, ...], node: str) -> tuple[N, ...]:
    """Those of this node."""
    return tuple(each for each in several if node in each.nodes)


def _name(one: BGPAdvertisement | Peer) -> str:
    return one.name


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
