"""What MetalLB's custom resources ask for, checked and resolved: the values that controller and speaker decide by.

Selectors of nodes, namespaces and pools are resolved when the configuration is read, against the nodes and namespaces
that there are then; selectors of Services are asked for each Service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cluster.selectors import Selector, any_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arpfast.spans import Span


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """An IPAddressPool."""

    name: str
    spans: tuple[Span, ...]
    """In the order of `spec.addresses`: the first that has a free address of a family gives it."""
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    pinned: bool = False
    """It has `serviceAllocation`, even an empty one: preferred to those that have none."""
    priority: int = 0
    """The least number first; 0 is last."""
    namespaces: frozenset[str] | None = None
    """Those that may use it, by name or by selector; None: all. Selectors that match none leave it to none."""
    service_selectors: tuple[Selector, ...] = ()
    """One of them has to select the Service, if there are any."""

    def admits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a Service of this namespace, with these labels, may have addresses of this pool."""
        if self.namespaces is not None and namespace not in self.namespaces:
            return False
        return not self.service_selectors or any_matches(self.service_selectors, labels)


class L2Advertisement(msgspec.Struct, frozen=True, kw_only=True):
    """An L2Advertisement."""

    name: str
    pools: frozenset[str]
    nodes: frozenset[str]
    """The names of those that may answer: all nodes, where nothing selects."""
    interfaces: frozenset[str] = frozenset()
    """Empty: all."""
    service_selectors: tuple[Selector, ...] = ()
    """One of them has to select the Service, if there are any."""
    preferences: dict[str, int] = {}
    """The summed weight of each node that is preferred."""

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about a Service with these labels."""
        return not self.service_selectors or any_matches(self.service_selectors, labels)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. What BGP needs is `peers` and the like, added beside these."""

    pools: dict[str, Pool] = {}
    """By name, in the order of their names."""
    l2_advertisements: tuple[L2Advertisement, ...] = ()

    def pool_of(self, span: Span) -> Pool | None:
        """The pool that has this whole span; pools never overlap."""
        for pool in self.pools.values():
            for own in pool.spans:
                if own.version == span.version and own.first <= span.first and span.last <= own.last:
                    return pool
        return None
