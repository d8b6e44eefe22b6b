"""Watches of a ring in which some addresses are answered on some interfaces only."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from arpfast.crossing import MessageKind
from arpfast.ring.watching import Watching
from arpfast.spans import Spans
from speaker.places import Places
from tests.arpfast.ring.test_watching import ETH0, ETH1, B, Orders
from tests.speaker.cluster_of import ad, key
from tests.speaker.test_decide import at

FOUR, SIX = at("192.0.2.100"), at("2001:db8::1")
BOTH = Spans([FOUR, SIX])


class Scope:
    """As the seat has it."""

    def __init__(self, **interfaces: str) -> None:
        from speaker.decide import Decision

        self.places = Places("a")
        spans = {"four": FOUR, "six": SIX}
        decisions = {
            spans[name]: Decision((key(),), ("a",), 1, (ad(interfaces=frozenset([on]), nodes="a"),))
            for name, on in interfaces.items()
        }
        self.places.learn(decisions, list(decisions))

    def on(self, interface: str, spans: Spans) -> Spans:
        return self.places.on(interface, spans)

    def everywhere(self, spans: Spans) -> Spans:
        return spans - self.places.restricted


def watches(scope: Scope) -> Any:
    orders: Any = Orders()
    made = Watching(orders, "fast", lambda _: None, scope)
    made.interfaces([ETH0, ETH1])
    made.want((), {"b": BOTH}, {"b": B}, {})
    (watch,) = orders.watches[-1]
    return watch


def test_it_is_asked_for_what_is_answered_everywhere() -> None:
    assert watches(Scope()).version == 4
    assert watches(Scope(four="eth1")).version == 6


def test_nobody_is_succeeded_for_silence_on_the_wrong_interface() -> None:
    assert watches(Scope(four="eth1", six="eth1")).estate is None


def test_what_is_inherited_is_answered_where_it_may_be() -> None:
    estate = watches(Scope(four="eth1")).estate
    addresses = [ip_address("192.0.2.100"), ip_address("2001:db8::1")]
    answered = {index: [table.find(address) is not None for address in addresses] for index, table in estate.tables}
    assert answered == {2: [False, True], 3: [True, True]}
    announced = [(one.ifindex, str(one.span)) for one in estate.messages if one.kind is MessageKind.ANNOUNCE]
    assert announced == [(2, "2001:db8::1"), (3, "192.0.2.100"), (3, "2001:db8::1")]
