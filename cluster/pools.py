"""IPAddressPools: checked, and their namespaces resolved.

An entry of `spec.addresses` is a prefix, whose host bits are masked, or a range, around whose ends spaces are passed
over. A single address is neither, for MetalLB refuses it too: it is written as a /32 or a /128.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from arpfast.spans import Address, Span
from cluster.config import Pool
from cluster.problems import Findings, Problem
from cluster.selecting import check_selectors, selected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.custom import IPAddressPool, ServiceAllocation
    from cluster.resources import Key

KIND = "IPAddressPool"
_PREFIX = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}", re.ASCII)
_NONE: frozenset[str] = frozenset()


def parse_pools(
    objects: Iterable[IPAddressPool], namespaces: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Pool], list[Problem]]:
    """All pools by name, and all that is wrong with them. `namespaces`: the labels of each."""
    pools: dict[str, Pool] = {}
    problems: list[Problem] = []
    claims: list[_Claim] = []
    for written in sorted(objects, key=lambda each: each.metadata.name):
        findings = Findings(KIND, written.key)
        name = written.metadata.name
        if not name:
            findings.add("metadata.name", "", "a name")
        elif name in pools:
            findings.add("metadata.name", name, "each name once")
        spans = _spans(findings, written.spec.addresses)
        claims += [_Claim(span, name, at, written.key) for at, span in spans]
        allocation = written.spec.service_allocation
        pools[name] = Pool(
            name=name,
            labels=written.metadata.labels,
            spans=tuple(span for _, span in spans),
            auto_assign=written.spec.auto_assign,
            avoid_buggy_ips=written.spec.avoid_buggy_ips,
            pinned=allocation is not None,
            priority=allocation.priority if allocation else 0,
            namespaces=_namespaces(findings, allocation, namespaces) if allocation else None,
            service_selectors=check_selectors(
                findings, "spec.serviceAllocation.serviceSelectors", allocation.service_selectors
            )
            if allocation
            else (),
        )
        problems += findings.problems
    return pools, problems + _overlaps(claims)


def _namespaces(
    findings: Findings, allocation: ServiceAllocation, namespaces: Mapping[str, Mapping[str, str]]
) -> frozenset[str] | None:
    """Who may use it; selectors that match nobody leave it to nobody, not to all."""
    field = "spec.serviceAllocation"
    findings.unique(f"{field}.namespaces", allocation.namespaces)
    selectors = check_selectors(findings, f"{field}.namespaceSelectors", allocation.namespace_selectors)
    if not allocation.namespaces and not allocation.namespace_selectors:
        return None
    return frozenset(allocation.namespaces) | selected(selectors, namespaces, otherwise=_NONE)


def _spans(findings: Findings, addresses: tuple[str, ...]) -> list[tuple[int, Span]]:
    if not addresses:
        findings.add("spec.addresses", "", "at least one prefix or range")
    spans = []
    for at, text in enumerate(addresses):
        try:
            spans.append((at, parse_entry(text)))
        except ValueError as error:
            findings.add(f"spec.addresses[{at}]", text, str(error))
    return spans


def parse_entry(text: str) -> Span:
    """Read one entry of `spec.addresses`. ValueError, with what was expected, for what is none."""
    first_text, dash, last_text = text.partition("-")
    if not dash:
        if not _PREFIX.fullmatch(text):
            raise ValueError("a prefix (192.0.2.0/24) or a range (192.0.2.1-192.0.2.9)")
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError("a prefix such as 192.0.2.0/24 or 2001:db8::/64") from None
        return Span(network.version, int(network[0]), int(network[-1]))
    first, last = _end(first_text), _end(last_text)
    if first.version != last.version:
        raise ValueError("a range with both ends in one family")
    if int(first) > int(last):
        raise ValueError(f"a range that runs upwards, as in {last}-{first}")
    return Span(first.version, int(first), int(last))


def _end(text: str) -> Address:
    """One end of a range. What is mapped into IPv6 is IPv4, as it is for MetalLB."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        raise ValueError("a range of two addresses, as in 192.0.2.1-192.0.2.9") from None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id:
        raise ValueError("addresses without a zone")
    mapped: IPv4Address | IPv6Address | None = address.ipv4_mapped
    return mapped or address


class _Claim:
    """An entry of a pool."""

    def __init__(self, span: Span, pool: str, at: int, key: Key) -> None:
        self.span, self.pool, self.at, self.key = span, pool, at, key

    @property
    def told(self) -> str:
        return f"spec.addresses[{self.at}] of {self.pool}, {self.span}"


def _overlaps(claims: list[_Claim]) -> list[Problem]:
    """Each entry that shares addresses with another: with the one before it that reaches furthest, not with all."""
    problems = []
    furthest: _Claim | None = None
    for claim in sorted(claims, key=lambda each: each.span):
        if furthest is not None and furthest.span.version == claim.span.version:
            if claim.span.first <= furthest.span.last:
                blamed, other = sorted((claim, furthest), key=lambda each: (each.pool, each.at), reverse=True)
                problems.append(
                    Problem(
                        KIND,
                        blamed.key,
                        f"spec.addresses[{blamed.at}]",
                        str(blamed.span),
                        f"no address of another entry ({other.told})",
                    )
                )
            if claim.span.last <= furthest.span.last:
                continue
        furthest = claim
    return problems
