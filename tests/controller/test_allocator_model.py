"""Pools and Services that come, change and go in any order, beside a plain model that scans small pools.

The model asks of every moment: is an address given twice that may not be shared, is one given that is of no pool, is
one lost though it could have been kept, does a Service wait though there is something for it, and is what a new
Service gets what a scan would have found?
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arpfast.spans import address_of
from cluster.resources import Key
from cluster.selectors import Selector
from controller.request import Request
from tests.controller.cluster import PREFER, REQUIRE, Cluster, pool, service

if TYPE_CHECKING:
    from arpfast.spans import Address
    from cluster.config import Pool
    from cluster.resources import Service

SPANS = ["192.0.2.0/31", "192.0.2.254-192.0.3.1", "192.0.2.8/32", "2001:db8::/127", "2001:db8::8/128"]
ADDRESSES = ["192.0.2.0", "192.0.2.255", "192.0.2.8", "2001:db8::1", "192.0.2.1,2001:db8::", "203.0.113.1"]
POOLS = ["one", "two", "three"]
KEYS = [*(Key("shop", name) for name in "abcdef"), Key("ops", "g"), Key("ops", "h")]
WEB = {"app": "web"}


@st.composite
def pools_of_one_cluster(draw: st.DrawFn) -> list[Pool]:
    owners = draw(st.lists(st.sampled_from(POOLS), min_size=len(SPANS), max_size=len(SPANS)))
    made = []
    for name in POOLS:
        spans = [span for span, owner in zip(SPANS, owners, strict=True) if owner == name]
        if spans:
            pinned = draw(st.booleans())
            limits: dict[str, Any] = {
                "namespaces": draw(st.sampled_from([None, None, None, frozenset({"shop"}), frozenset()])),
                "service_selectors": draw(st.sampled_from([(), (), (), (Selector(WEB),)])),
                "priority": draw(st.sampled_from([0, 1, 2])),
            }
            made.append(
                pool(
                    name,
                    *draw(st.permutations(spans)),
                    pinned=pinned,
                    auto_assign=draw(st.sampled_from([True] * 9 + [False])),
                    avoid_buggy_ips=draw(st.booleans()),
                    **(limits if pinned else {}),
                )
            )
    return made


FAMILIES: list[dict[str, Any]] = [
    *({"families": (4,), "policy": policy} for policy in ("", "", "", PREFER, REQUIRE)),
    {"families": (6,)},
    *({"families": families, "policy": PREFER} for families in ((4, 6), (6, 4))),
    {"families": (4, 6), "policy": REQUIRE},
]
PORTS = [{("TCP", 80)}, {("UDP", 80)}, {("TCP", 443)}, {("TCP", 443), ("UDP", 80)}]
SERVICES = st.builds(
    dict[str, Any],
    st.sampled_from(FAMILIES),
    pool=st.sampled_from([None] * 9 + POOLS),
    ips=st.sampled_from([None] * 24 + ADDRESSES),
    share=st.sampled_from([None, "k", "k", "k", "l"]),
    ports=st.sampled_from(PORTS),
    labels=st.sampled_from([{}, WEB]),
    local=st.sampled_from([None, None, None, WEB]),
    type=st.sampled_from(["LoadBalancer"] * 9 + ["ClusterIP"]),
)


class Model(RuleBasedStateMachine):
    """The allocator's cluster, and what a scan says of it."""

    @initialize(
        pools=pools_of_one_cluster(),
        cool_down_s=st.sampled_from([0.0, 0.0, 5.0]),
        balanced=st.sampled_from([False, False, True]),
    )
    def start(self, pools: list[Pool], cool_down_s: float, balanced: bool) -> None:
        self.cluster = Cluster(*pools, cool_down_s=cool_down_s, balanced=balanced)
        self.plain = not cool_down_s and not balanced

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(some=st.lists(st.tuples(st.sampled_from(KEYS), SERVICES), min_size=1, max_size=6))
    def apply(self, some: list[tuple[Key, dict[str, Any]]]) -> None:
        for key, fields in some:
            self.cluster.now_s += 1.0
            one = service(key.name, namespace=key.namespace, **fields)
            fresh = one.key not in self.held()
            expected = self.scanned(one) if fresh else None
            before = self.kept_without(one.key)
            self.cluster.apply(one)
            self.assert_kept(before)
            if fresh and self.plain:
                got = self.held().get(one.key)
                assert (None if got is None else got[1]) == expected

    @precondition(lambda self: self.cluster.services)
    @rule(which=st.integers(0, len(KEYS) - 1))
    def delete(self, which: int) -> None:
        key = [*self.cluster.services][which % len(self.cluster.services)]
        before = self.kept_without(key)
        self.cluster.delete(key.name, key.namespace)
        self.assert_kept(before)

    @rule(pools=pools_of_one_cluster())
    def change_pools(self, pools: list[Pool]) -> None:
        by_name = {one.name: one for one in pools}
        before = {key: addresses for key, (_, addresses) in self.held().items()}
        keeps = {key: has for key, has in before.items() if self.may_keep(key, has, by_name)}
        self.cluster.set_pools(*pools)
        self.assert_kept(keeps)

    @rule()
    def restart(self) -> None:
        before = self.held()
        self.cluster.restart()
        assert self.held().items() >= before.items()

    # -- what has to be so -------------------------------------------------------------------------------------------

    @invariant()
    def addresses_are_of_their_pools_and_shared_by_those_who_may(self) -> None:
        if not hasattr(self, "cluster"):
            return
        held = self.held()
        for key, (name, addresses) in held.items():
            request = self.request(key)
            assert set(addresses) <= set(self.scan(self.pools()[name]))
            assert self.pools()[name].admits(key.namespace, request.labels)
            assert tuple(sorted(address.version for address in addresses)) in request.choices
            assert request.pool in ("", name)
            assert request.fault or set(request.addresses or addresses) == set(addresses)
        for one, other in combinations(held, 2):
            if set(held[one][1]) & set(held[other][1]):
                assert self.may_share(one, other)

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        if not hasattr(self, "cluster"):
            return
        held = self.held()
        for key, one in self.cluster.services.items():
            has = held.get(key)
            if has is None:
                assert self.scanned(one) is None
            elif len(has[1]) < len(self.request(key).families) and not self.request(key).fault:
                versions = set(self.request(key).families) - {address.version for address in has[1]}
                free = [one for one in self.scan(self.pools()[has[0]]) if one.version in versions]
                assert not any(self.is_open(address, key) for address in free)

    # -- a plain look ------------------------------------------------------------------------------------------------

    def held(self) -> dict[Key, tuple[str, tuple[Address, ...]]]:
        found = {key: self.cluster.allocator.assignment(key) for key in self.cluster.services}
        return {key: (one.pool, one.addresses) for key, one in found.items() if one is not None}

    def pools(self) -> dict[str, Pool]:
        return {one.name: one for one in self.cluster.pools}

    def request(self, key: Key) -> Request:
        return Request.of(self.cluster.services[key])

    def scan(self, one: Pool) -> list[Address]:
        walked = [address_of(s.version, value) for s in one.spans for value in range(s.first, s.last + 1)]
        buggy = [a for a in walked if one.avoid_buggy_ips and a.version == 4 and int(a) % 256 in (0, 255)]
        return [address for address in walked if address not in buggy]

    def may_share(self, one: Key, other: Key) -> bool:
        first, second = self.request(one), self.request(other)
        return first.sharing is not None and first.sharing == second.sharing and not first.ports & second.ports

    def is_open(self, address: Address, key: Key) -> bool:
        held = self.held()
        return all(self.may_share(key, other) for other, (_, has) in held.items() if other != key and address in has)

    def scanned(self, one: Service) -> tuple[Address, ...] | None:
        """What a scan finds for a Service that has nothing."""
        self.cluster.services, before = {**self.cluster.services, one.key: one}, self.cluster.services
        try:
            return self._scanned(one)
        finally:
            self.cluster.services = before

    def _scanned(self, one: Service) -> tuple[Address, ...] | None:
        request = Request.of(one)
        if (
            one.spec.type != "LoadBalancer"
            or request.fault
            or (one.spec.ip_family_policy == REQUIRE and len(request.families) < 2)
        ):
            return None
        admitting = [each for each in self.cluster.pools if each.admits(one.key.namespace, request.labels)]
        if request.addresses:
            for each in admitting:
                inside = all(address in self.scan(each) for address in request.addresses)
                if inside and request.pool in ("", each.name):
                    return request.addresses if all(self.is_open(a, one.key) for a in request.addresses) else None
            return None
        if request.pool:
            stages = [[each for each in admitting if each.name == request.pool]]
        else:
            auto = sorted((p for p in admitting if p.auto_assign), key=lambda p: (p.priority or 99, p.name))
            stages = [[p for p in auto if p.pinned], [p for p in auto if not p.pinned]]
        for stage in stages:
            for families in request.choices:
                for each in stage:
                    free = [address for address in self.scan(each) if self.is_open(address, one.key)]
                    found = [next((a for a in free if a.version == version), None) for version in families]
                    if None not in found:
                        return tuple(address for address in found if address is not None)
        return None

    def may_keep(self, key: Key, has: tuple[Address, ...], pools: dict[str, Pool]) -> bool:
        request = self.request(key)
        return any(
            set(has) <= set(self.scan(one))
            and one.admits(key.namespace, request.labels)
            and request.pool in ("", one.name)
            for one in pools.values()
        )

    def kept_without(self, key: Key) -> dict[Key, tuple[Address, ...]]:
        """What all others have."""
        return {other: addresses for other, (_, addresses) in self.held().items() if other != key}

    def assert_kept(self, before: dict[Key, tuple[Address, ...]]) -> None:
        after = self.held()
        for key, addresses in before.items():
            assert set(addresses) <= set(after[key][1]), f"{key} has lost {addresses}"


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=100, stateful_step_count=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
