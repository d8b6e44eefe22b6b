"""L2Advertisements and BGPAdvertisements: checked, and their selectors of pools and nodes resolved.

Names of pools and peers that there are not are passed over: they may be made later, as MetalLB lets them.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from cluster.communities import resolve
from cluster.config import BGPAdvertisement, L2Advertisement
from cluster.problems import Findings, Problem
from cluster.selecting import check_selector, check_selectors, selected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.spans import Span, Version
    from cluster import custom
    from cluster.config import Pool
    from cluster.resources import Key
    from cluster.selectors import Selector

L2, BGP = "L2Advertisement", "BGPAdvertisement"
_HOST: dict[Version, int] = {4: 32, 6: 128}
_LEAST: dict[Version, int] = {4: 1, 6: 0}
"""As the schema has it."""
_NONE: frozenset[str] = frozenset()


def parse_l2_advertisements(
    objects: Iterable[custom.L2Advertisement],
    pools: Mapping[str, Pool],
    nodes: Mapping[str, Mapping[str, str]],
) -> tuple[tuple[L2Advertisement, ...], list[Problem]]:
    """All of them in the order of their names, and all that is wrong with them. `nodes`: the labels of each."""
    parsed: dict[str, L2Advertisement] = {}
    problems: list[Problem] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(L2, written.key)
        spec = written.spec
        _check_name(findings, written.metadata.name, parsed)
        eligible = _nodes(findings, spec.node_selectors, nodes)
        parsed[written.metadata.name] = L2Advertisement(
            name=written.metadata.name,
            pools=_pools(findings, spec.ip_address_pools, spec.ip_address_pool_selectors, pools),
            nodes=eligible,
            interfaces=frozenset(spec.interfaces),
            service_selectors=check_selectors(findings, "spec.serviceSelectors", spec.service_selectors),
            preferences=_preferences(findings, spec.preferred_node_selectors, eligible, nodes),
        )
        problems += findings.problems
    return tuple(parsed.values()), problems


def _preferences(
    findings: Findings,
    preferred: tuple[custom.PreferredNodes, ...],
    eligible: frozenset[str],
    nodes: Mapping[str, Mapping[str, str]],
) -> dict[str, int]:
    scores: dict[str, int] = {}
    for at, one in enumerate(preferred):
        field = f"spec.preferredNodeSelectors[{at}]"
        if not 1 <= one.weight <= 100:
            findings.add(f"{field}.weight", one.weight, "1 to 100")
        if check_selector(findings, f"{field}.preference", one.preference):
            for name in sorted(eligible):
                if one.preference.matches(nodes[name]):
                    scores[name] = scores.get(name, 0) + one.weight
    return scores


def parse_bgp_advertisements(
    objects: Iterable[custom.BGPAdvertisement],
    pools: Mapping[str, Pool],
    nodes: Mapping[str, Mapping[str, str]],
    aliases: Mapping[str, str],
) -> tuple[tuple[BGPAdvertisement, ...], list[Problem]]:
    """All of them in the order of their names, and all that is wrong with them. `aliases`: of communities."""
    parsed: dict[str, BGPAdvertisement] = {}
    keys: dict[str, Key] = {}
    problems: list[Problem] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(BGP, written.key)
        spec, name = written.spec, written.metadata.name
        _check_name(findings, name, parsed)
        findings.unique("spec.peers", spec.peers)
        findings.unique("spec.communities", spec.communities)
        advertisement = BGPAdvertisement(
            name=name,
            pools=_pools(findings, spec.ip_address_pools, spec.ip_address_pool_selectors, pools),
            nodes=_nodes(findings, spec.node_selectors, nodes),
            peers=frozenset(spec.peers) if spec.peers else None,
            aggregation_length=spec.aggregation_length,
            aggregation_length_v6=spec.aggregation_length_v6,
            local_pref=spec.local_pref,
            communities=resolve(findings, "spec.communities", spec.communities, aliases),
            service_selectors=check_selectors(findings, "spec.serviceSelectors", spec.service_selectors),
        )
        _check_aggregation(findings, advertisement, pools)
        if not 0 <= spec.local_pref < 1 << 32:
            findings.add("spec.localPref", spec.local_pref, "0 to 4294967295")
        parsed[name], keys[name] = advertisement, written.key
        problems += findings.problems
    return tuple(parsed.values()), problems + _conflicts(parsed, keys, pools, any_nodes=bool(nodes))


def _check_name(findings: Findings, name: str, parsed: Mapping[str, object]) -> None:
    if name in parsed:
        findings.add("metadata.name", name, "each name once")


def _pools(
    findings: Findings, names: tuple[str, ...], selectors: tuple[Selector, ...], pools: Mapping[str, Pool]
) -> frozenset[str]:
    """The pools that it is about: by name or by label; all, where neither is said."""
    findings.unique("spec.ipAddressPools", names)
    usable = check_selectors(findings, "spec.ipAddressPoolSelectors", selectors)
    if not names and not selectors:
        return frozenset(pools)
    by_label = selected(usable, {name: pool.labels for name, pool in pools.items()}, otherwise=_NONE)
    return frozenset(name for name in names if name in pools) | by_label


def _nodes(
    findings: Findings, selectors: tuple[Selector, ...], nodes: Mapping[str, Mapping[str, str]]
) -> frozenset[str]:
    usable = check_selectors(findings, "spec.nodeSelectors", selectors)
    return selected(usable, nodes, otherwise=_NONE if selectors else frozenset(nodes))


def _check_aggregation(findings: Findings, advertisement: BGPAdvertisement, pools: Mapping[str, Pool]) -> None:
    lengths = _lengths(advertisement)
    fields: dict[Version, str] = {4: "spec.aggregationLength", 6: "spec.aggregationLengthV6"}
    for version, field in fields.items():
        length, least, host = lengths[version], _LEAST[version], _HOST[version]
        if not least <= length <= host:
            findings.add(field, length, f"{least} to {host}")
            continue
        if advertisement.service_selectors and length != host:
            findings.add(field, length, f"{host} where spec.serviceSelectors select")
        for name in sorted(advertisement.pools):
            for span in pools[name].spans:
                if span.version == version and length < (shortest := shortest_prefix(span)):
                    expected = f"at least {shortest}, as pool {name} has {span}"
                    findings.add(field, length, expected)


def _lengths(advertisement: BGPAdvertisement) -> dict[Version, int]:
    return {4: advertisement.aggregation_length, 6: advertisement.aggregation_length_v6}


def shortest_prefix(span: Span) -> int:
    """The length of the widest prefix in the fewest that make up `span`.

    The widest of them has as many addresses as the largest power of two that divides a bound within the span.
    """
    bits = _HOST[span.version]
    for size_bits in range(span.size.bit_length() - 1, -1, -1):
        first = -(-span.first >> size_bits) << size_bits
        if first + (1 << size_bits) - 1 <= span.last:
            return bits - size_bits
    raise AssertionError(f"{span} is empty")


def _conflicts(
    advertisements: Mapping[str, BGPAdvertisement],
    keys: Mapping[str, Key],
    pools: Mapping[str, Pool],
    *,
    any_nodes: bool,
) -> list[Problem]:
    """Two that would give one prefix two preferences, in one pool, to one peer, from one node: from any, where no node
    is known yet.
    """
    problems = []
    for one, other in combinations(advertisements.values(), 2):
        if one.local_pref == other.local_pref or one.service_selectors or other.service_selectors:
            continue
        if any_nodes and not one.nodes & other.nodes:
            continue
        if one.peers is not None and other.peers is not None and not one.peers & other.peers:
            continue
        mine, theirs = _lengths(one), _lengths(other)
        for name in sorted(one.pools & other.pools):
            if any(mine[version] == theirs[version] for version in {span.version for span in pools[name].spans}):
                expected = f"{one.local_pref}, as {one.name} has for the same prefixes of pool {name}"
                problems.append(Problem(BGP, keys[other.name], "spec.localPref", str(other.local_pref), expected))
                break
    return problems
