"""Routers that are asked from our addresses, and what their answers say."""

from __future__ import annotations

from ipaddress import ip_address

from arpfast.crossing import FactKind, MessageKind
from tests.arpfast.stage import ROUTER, V4, V6, Stage, eth


def test_routers_are_asked_from_a_new_address_and_their_answer_is_timed() -> None:
    stage = Stage(eth(gateways=(ip_address("192.0.2.1"), ip_address("fe80::1"))), refresh_s=0)
    stage.want(V4, V6)
    stage.wait(0.305)
    stage.fact(FactKind.CONFIRMED, V4, ROUTER)
    stage.wait(0.05)
    asks = [message for _, message in stage.sent if message.kind is MessageKind.ASK]
    assert {(str(m.span), m.target) for m in asks} == {
        (V4, int(ip_address("192.0.2.1"))),
        (V6, int(ip_address("fe80::1"))),
    }
    (confirmed,) = stage.on(V4).confirmed
    assert confirmed.mac == "02:00:00:00:ff:ee"
    assert 3 < confirmed.confirmed_ms < 6
    stage.wait(10)
    assert len(stage.times(MessageKind.ASK, V4)) == 1
    assert len(stage.times(MessageKind.ASK, V6)) == 3
    assert [event.fields["address"] for event in stage.said("no router answered")] == [V6]


def test_a_router_that_appears_later_is_asked_then() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(5)
    assert not stage.times(MessageKind.ASK)
    stage.show(eth(gateways=(ip_address("192.0.2.1"),)))
    assert stage.times(MessageKind.ASK) == [5]
