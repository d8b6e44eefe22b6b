"""Routers that are asked from our addresses, and what their answers say."""

from __future__ import annotations

from ipaddress import ip_address

from arpfast.crossing import FactKind, MessageKind
from arpfast.probing import ProbeMode
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
    stage.wait(5)
    assert len(stage.times(MessageKind.ASK, V4)) == 1
    assert len(stage.times(MessageKind.ASK, V6)) == 3
    assert [event.fields["address"] for event in stage.said("no router answered")] == [V6]


def test_what_a_switch_swallowed_at_first_is_announced_anew_when_a_router_answers() -> None:
    """As behind a port that forwards nothing for half a minute after it came up."""
    stage = Stage(eth(gateways=(ip_address("192.0.2.1"),)), refresh_s=0, probe=ProbeMode.OFF)
    stage.want("192.0.2.10-192.0.2.12")
    stage.wait(40)
    asked = [round(at) for at in stage.times(MessageKind.ASK, V4)]
    assert asked == [0, 1, 2, 7, 15, 31]
    assert stage.times(MessageKind.ASK, "192.0.2.12") == [0, 1, 2], "expected one to be enough"
    assert stage.times(MessageKind.ANNOUNCE, "192.0.2.12") == [0, 2]
    stage.fact(FactKind.CONFIRMED, V4, ROUTER)
    stage.wait(3)
    assert stage.times(MessageKind.ANNOUNCE, V4) == stage.times(MessageKind.ANNOUNCE, "192.0.2.12") == [0, 2, 40, 42]
    (told,) = stage.said("a router answers at last")
    assert told.fields["addresses"] == 3
    for address in ("192.0.2.11", "192.0.2.12"):
        stage.fact(FactKind.CONFIRMED, address, ROUTER)
    stage.wait(200)
    assert [round(at) for at in stage.times(MessageKind.ASK, "192.0.2.12")] == [0, 1, 2, 40, 41, 42]
    assert len(stage.times(MessageKind.ASK, V4)) == len(asked)
    assert stage.duties.next_deadline() is None


def test_nobody_goes_on_asking_from_what_is_given_up() -> None:
    stage = Stage(eth(gateways=(ip_address("192.0.2.1"),)), refresh_s=0)
    stage.want(V4)
    stage.wait(20)
    asked = len(stage.times(MessageKind.ASK))
    stage.want()
    stage.wait(100)
    assert len(stage.times(MessageKind.ASK)) == asked
    assert stage.duties.next_deadline() is None


def test_a_router_that_appears_later_is_asked_then() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(5)
    assert not stage.times(MessageKind.ASK)
    stage.show(eth(gateways=(ip_address("192.0.2.1"),)))
    assert stage.times(MessageKind.ASK) == [5]
