"""Which watches there are, and what facts about them come to. The responder is a stand-in that notes its orders."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface
from typing import TYPE_CHECKING, Any

from arpfast.crossing import Fact, FactKind, MessageKind, Watch
from arpfast.interfaces import Interface
from arpfast.ring.roster import Wire
from arpfast.ring.standing import Standing
from arpfast.ring.watching import LEASE_MS, Watching
from arpfast.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Iterable

THEIRS, OTHER = b"\x02\0\0\0\0\x0b", b"\x02\0\0\0\0\x0c"
ETH0 = Interface(
    2, "eth0", b"\x02\0\0\0\0\x01", up=True, carrier=True, ipv6=True,
    addresses=(ip_interface("192.0.2.11/24"),), gateways=(ip_address("192.0.2.1"),), link_local=IPv6Address("fe80::1"),
)  # fmt: skip
ETH1 = Interface(3, "eth1", b"\x02\0\0\0\0\x02", up=True, carrier=True, addresses=(ip_interface("203.0.113.11/24"),))
B = Standing(
    "b", 1, macs=(THEIRS,), networks=Spans.parse("192.0.2.0/24"), claims={1: Spans.parse("192.0.2.100", "2001:db8::1")}
)


class Orders:
    """What a responder would be told."""

    def __init__(self) -> None:
        self.watches: list[tuple[Watch, ...]] = []
        self.members: frozenset[bytes] = frozenset()
        self.lease: float | None = None
        self.resumed = 0

    def set_watches(self, watches: Iterable[Watch]) -> None:
        self.watches.append(tuple(watches))

    def set_members(self, macs: Iterable[bytes]) -> None:
        self.members = frozenset(macs)

    def set_lease(self, max_gap_ms: float | None) -> None:
        self.lease = max_gap_ms

    def resume(self) -> None:
        self.resumed += 1


def watching(*interfaces: Interface, profile: str = "default") -> tuple[Watching, Any]:
    orders: Any = Orders()
    made = Watching(orders, profile, lambda _: None)
    made.interfaces(interfaces or (ETH0, ETH1))
    return made, orders


def fact(kind: FactKind, mac: bytes = THEIRS, ifindex: int = 2) -> Fact:
    return Fact(kind, ifindex, 4, int(ip_address("192.0.2.100")), mac, 0)


def test_a_member_is_watched_where_it_shares_a_network_for_an_address_that_it_claims() -> None:
    made, orders = watching()
    made.want(("b",), {}, {"b": B}, {})
    assert orders.members == {THEIRS}
    assert orders.watches == [(Watch(2, 4, int(ip_address("192.0.2.100")), THEIRS),)]
    made.want(("b",), {}, {"b": B}, {})
    assert len(orders.watches) == 1, "the same again is no order"
    made.want((), {}, {"b": B}, {})
    assert orders.watches[-1] == ()


def test_it_is_silent_only_if_all_of_its_watches_are() -> None:
    made, _ = watching(ETH0)
    two = Standing("b", 1, macs=(THEIRS, OTHER), networks=B.networks, claims=B.claims)
    made.want(("b",), {}, {"b": two}, {})
    assert made.shown("b") is Wire.ASKED
    assert made.fact(fact(FactKind.SILENT, OTHER)) == ("b", Spans())
    assert made.shown("b") is Wire.ASKED
    made.fact(fact(FactKind.SILENT))
    assert made.shown("b") is Wire.SILENT
    made.fact(fact(FactKind.SPOKE))
    assert made.shown("b") is Wire.ASKED
    assert made.fact(fact(FactKind.SILENT, ifindex=9)) is None
    assert made.shown("c") is None


def test_an_heir_lays_ready_what_to_answer_and_asks_the_router_first() -> None:
    made, orders = watching(ETH0, profile="fast")
    assert orders.lease == LEASE_MS["fast"]
    heirs = {"b": Spans.parse("192.0.2.100")}
    made.want((), heirs, {"b": B}, {})
    ((watch,),) = orders.watches
    assert [message.kind for message in watch.estate.messages] == [MessageKind.ASK, MessageKind.ANNOUNCE]
    assert made.fact(fact(FactKind.INHERITED)) == ("b", heirs["b"])
    made.want((), heirs, {"b": Standing("b", 2, macs=B.macs, networks=B.networks, claims=B.claims)}, {})
    assert len(orders.watches) == 1, "a new standing with the same claims begins no watch anew"


def test_where_one_watch_cannot_know_the_thread_does_not_act() -> None:
    made, orders = watching(ETH0, profile="fast")
    two = Standing("b", 1, macs=(THEIRS, OTHER), networks=B.networks, claims=B.claims)
    made.want((), {"b": Spans.parse("192.0.2.100")}, {"b": two}, {})
    assert [watch.estate for watch in orders.watches[-1]] == [None, None]


def test_what_is_about_to_be_handed_over_is_asked_for_by_nobody() -> None:
    made, orders = watching(ETH0)
    made.want(("b",), {}, {"b": B}, {"b": Spans.parse("2001:db8::1")})
    assert orders.watches == [(Watch(2, 6, int(ip_address("2001:db8::1")), THEIRS),)]
    made.want(("b",), {}, {"b": B}, {})
    assert orders.watches[-1] == (Watch(2, 4, int(ip_address("192.0.2.100")), THEIRS),)


def test_what_was_inherited_by_a_watch_that_is_over_by_now_counts() -> None:
    made, orders = watching(ETH0, profile="fast")
    heirs = {"b": Spans.parse("192.0.2.101")}
    made.want((), heirs, {"b": B}, {})
    less = Standing("b", 2, macs=B.macs, networks=B.networks, claims={1: Spans.parse("192.0.2.101")})
    made.want((), heirs, {"b": less}, {})
    (before,), (after,) = orders.watches
    assert before.address != after.address
    assert before.estate == after.estate, "expected it to be in force still"
    assert made.fact(fact(FactKind.SILENT)) is None
    assert made.fact(fact(FactKind.INHERITED)) == ("b", heirs["b"])
