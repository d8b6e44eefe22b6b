"""Which watches there are, and what facts about them come to. The responder is a stand-in that notes its orders."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.crossing import Fact, FactKind, MessageKind, Watch
from arpfast.interfaces import Interface
from arpfast.ring.roster import Wire
from arpfast.ring.standing import Standing
from arpfast.ring.watching import LEASE_MS, Told, Watching
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


def fact(kind: FactKind, mac: bytes = THEIRS, ifindex: int = 2, address: str = "192.0.2.100") -> Fact:
    return Fact(kind, ifindex, 4, int(ip_address(address)), mac, 0)


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
    assert made.shown("b").wire is Wire.ASKED
    assert made.fact(fact(FactKind.SILENT, OTHER)) == Told("b")
    assert made.shown("b").wire is Wire.ASKED
    made.fact(fact(FactKind.SILENT))
    assert made.shown("b").wire is Wire.SILENT
    made.fact(fact(FactKind.SPOKE))
    assert made.shown("b").wire is Wire.ASKED
    assert made.fact(fact(FactKind.SILENT, ifindex=9)) is None
    assert made.shown("c").wire is None


def test_an_heir_lays_ready_what_to_answer_and_asks_the_router_first() -> None:
    made, orders = watching(ETH0, profile="fast")
    assert orders.lease == LEASE_MS["fast"]
    heirs = {"b": Spans.parse("192.0.2.100")}
    made.want((), heirs, {"b": B}, {})
    ((watch,),) = orders.watches
    assert [message.kind for message in watch.estate.messages] == [MessageKind.ASK, MessageKind.ANNOUNCE]
    assert made.fact(fact(FactKind.INHERITED)) == Told("b", heirs["b"])
    made.want((), heirs, {"b": Standing("b", 2, macs=B.macs, networks=B.networks, claims=B.claims)}, {})
    assert len(orders.watches) == 1, "a new standing with the same claims begins no watch anew"


def test_watches_of_one_reach_share_an_estate() -> None:
    """A member that does not say which hardware address is where is asked at each of them."""
    made, orders = watching(ETH0, profile="fast")
    two = Standing("b", 1, macs=(THEIRS, OTHER), networks=B.networks, claims=B.claims)
    made.want((), {"b": Spans.parse("192.0.2.100")}, {"b": two}, {})
    one, other = orders.watches[-1]
    assert {one.mac, other.mac} == {THEIRS, OTHER}
    assert one.estate is other.estate is not None


TWO = Standing(
    "b", 1, macs=(THEIRS, OTHER), networks=Spans.parse("192.0.2.0/24", "203.0.113.0/24"),
    claims={1: Spans.parse("192.0.2.100", "203.0.113.100", "198.51.100.1")},
    links={THEIRS: Spans.parse("192.0.2.0/24"), OTHER: Spans.parse("203.0.113.0/24")},
)  # fmt: skip
ON_ETH0, ON_ETH1, ANYWHERE = Spans.parse("192.0.2.100"), Spans.parse("203.0.113.100"), Spans.parse("198.51.100.1")


def test_a_member_is_asked_for_each_address_where_it_is_at_home() -> None:
    made, orders = watching(profile="fast")
    made.want((), {"b": TWO.owned}, {"b": TWO}, {})
    asked = [(watch.ifindex, str(ip_address(watch.address)), watch.mac) for watch in orders.watches[-1]]
    assert asked == [
        (2, "192.0.2.100", THEIRS), (3, "203.0.113.100", OTHER), (2, "198.51.100.1", THEIRS), (3, "198.51.100.1", OTHER)
    ]  # fmt: skip
    estates = [watch.estate for watch in orders.watches[-1]]
    assert len({id(estate) for estate in estates}) == 3
    assert estates[2] is estates[3], "what is at home nowhere is left by who is silent everywhere"
    made.fact(fact(FactKind.SILENT))
    assert made.shown("b") == (Wire.ASKED, ON_ETH0)
    made.fact(fact(FactKind.SILENT, OTHER, 3, "203.0.113.100"))
    assert made.shown("b") == (Wire.ASKED, ON_ETH0 | ON_ETH1)
    for mac, ifindex in ((THEIRS, 2), (OTHER, 3)):
        made.fact(fact(FactKind.SILENT, mac, ifindex, "198.51.100.1"))
    assert made.shown("b") == (Wire.SILENT, Spans())


def test_nobody_is_asked_on_a_network_where_nothing_of_his_is_at_home() -> None:
    made, orders = watching()
    made.want(("b",), {}, {"b": msgspec.structs.replace(TWO, claims={1: ON_ETH0})}, {})
    assert orders.watches == [(Watch(2, 4, int(ip_address("192.0.2.100")), THEIRS),)]
    made.interfaces([msgspec.structs.replace(ETH0, carrier=False), ETH1])
    made.want(("b",), {}, {"b": TWO}, {})
    assert [watch.ifindex for watch in orders.watches[-1]] == [3], "we cannot ask on the other any more"


def test_two_interfaces_on_one_network_lead_to_it_together() -> None:
    made, orders = watching(ETH0, msgspec.structs.replace(ETH0, index=3, name="eth1"), profile="fast")
    made.want((), {"b": ON_ETH0}, {"b": B}, {})
    one, other = orders.watches[-1]
    assert (one.ifindex, other.ifindex) == (2, 3)
    assert one.estate is other.estate is not None
    assert made.fact(fact(FactKind.INHERITED)) == Told("b", ON_ETH0)


def test_what_is_inherited_on_one_network_of_several_counts_when_a_router_there_has_answered() -> None:
    made, orders = watching(profile="fast")
    made.want((), {"b": TWO.owned}, {"b": TWO}, {})
    network = Spans.parse("192.0.2.0/24")
    assert made.fact(fact(FactKind.INHERITED)) == Told("b")
    assert made.fact(fact(FactKind.CONFIRMED, ifindex=3)) is None, "that is another cable"
    assert made.fact(fact(FactKind.CONFIRMED, address="203.0.113.100")) is None
    assert made.fact(fact(FactKind.CONFIRMED)) == Told("b", ON_ETH0, network)
    assert made.fact(fact(FactKind.CONFIRMED)) is None
    assert made.fact(fact(FactKind.SPOKE)) == Told("b", network=network, heard=True)
    assert len(orders.watches) == 1


def test_what_nobody_has_confirmed_is_given_up_when_the_owner_speaks() -> None:
    made, orders = watching(profile="fast")
    made.want((), {"b": TWO.owned}, {"b": TWO}, {})
    made.fact(fact(FactKind.INHERITED))
    made.fact(fact(FactKind.SPOKE))
    made.want((), {"b": TWO.owned}, {"b": TWO}, {})
    before, after = ({watch.estate for watch in watches} for watches in orders.watches)
    assert not before & after, "expected estates that are not in force"
    assert made.fact(fact(FactKind.CONFIRMED)) is None


def test_what_is_about_to_be_handed_over_is_asked_for_by_nobody() -> None:
    made, orders = watching(ETH0)
    made.want(("b",), {}, {"b": B}, {"b": Spans.parse("2001:db8::1")})
    assert orders.watches == [(Watch(2, 6, int(ip_address("2001:db8::1")), THEIRS),)]
    made.want(("b",), {}, {"b": B}, {})
    assert orders.watches[-1] == (Watch(2, 4, int(ip_address("192.0.2.100")), THEIRS),)


def test_what_was_inherited_by_a_watch_that_is_over_by_now_counts() -> None:
    made, orders = watching(ETH0, profile="fast")
    heirs = {"b": Spans.parse("192.0.2.101")}
    more = Standing("b", 1, macs=B.macs, networks=B.networks, claims={1: Spans.parse("192.0.2.100-192.0.2.101")})
    made.want((), heirs, {"b": more}, {})
    less = Standing("b", 2, macs=B.macs, networks=B.networks, claims={1: Spans.parse("192.0.2.101")})
    made.want((), heirs, {"b": less}, {})
    (before,), (after,) = orders.watches
    assert before.address != after.address
    assert before.estate == after.estate, "expected it to be in force still"
    assert made.fact(fact(FactKind.SILENT)) is None
    assert made.fact(fact(FactKind.INHERITED)) == Told("b", heirs["b"])
