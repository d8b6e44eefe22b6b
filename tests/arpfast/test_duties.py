"""The wish and the interfaces together: what is wanted where, and what changes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.conflicts import ConflictPolicy
from arpfast.crossing import FactKind, MessageKind
from arpfast.duties import Answer, Settings
from arpfast.inspection import Phase
from arpfast.interfaces import Choice
from arpfast.probing import ProbeMode
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterable

from tests.arpfast.stage import OTHER, STRANGER, V4, V6, Stage, eth


def test_a_proxied_prefix_is_neither_probed_nor_announced() -> None:
    stage = Stage()
    stage.want(Answer(Spans.parse("2001:db8::/64"), proxy=True))
    stage.wait(600)
    assert stage.links[2].proxied == Spans.parse("2001:db8::/64")
    assert stage.links[2].groups == Spans.parse("2001:db8::/64")
    assert not stage.sent


def test_a_new_mac_is_announced_at_once() -> None:
    stage = Stage(repeat=1, refresh_s=0)
    stage.want(V4)
    stage.wait(5)
    stage.show(eth(mac=OTHER))
    assert stage.links[2].interface.mac == OTHER
    assert stage.times(MessageKind.ANNOUNCE)[-1] == 5


@pytest.mark.parametrize("change", [{"up": False}, {"enslaved": True, "master": 9}, {"name": "no"}, {"arp": False}])
def test_an_interface_that_is_used_no_more_is_dropped_and_comes_back_with_probes(change: dict[str, Any]) -> None:
    stage = Stage(refresh_s=0)
    stage.settings = Settings(choice=Choice(("eth*",)))
    stage.want(V4)
    stage.wait(1)
    stage.show(eth(**change))
    assert not stage.links
    assert stage.on(V4).phase == Phase.ABSENT
    assert stage.on(V4).why
    stage.wait(5)
    probes = len(stage.times(MessageKind.PROBE))
    stage.show(eth())
    stage.wait(1)
    assert stage.links[2].own == Spans.parse(V4)
    assert len(stage.times(MessageKind.PROBE)) == probes + 3


def test_an_answer_may_be_for_some_interfaces_only_and_follows_a_rename() -> None:
    stage = Stage(eth(2), eth(3))
    stage.want(Answer(Spans.parse(V4), interfaces=frozenset({"eth3", "eth9"})), V6)
    stage.wait(1)
    assert stage.links[2].own == Spans.parse(V6)
    assert stage.links[3].own == Spans.parse(V4, V6)
    assert stage.on(V4).why == "wanted on other interfaces only"
    stage.show(eth(2, name="eth9"), eth(3, name="lan"))
    stage.wait(1)
    assert stage.links[2].own == Spans.parse(V4, V6)
    assert stage.links[3].own == Spans.parse(V6)


def test_what_is_in_both_wishes_is_not_touched() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4, "192.0.2.11")
    stage.wait(10)
    sent, orders = len(stage.sent), stage.orders
    stage.want("192.0.2.11", V4)
    assert stage.orders == orders
    stage.want(V4, "192.0.2.12")
    assert "192.0.2.11" not in stage.links[2].own
    assert stage.on(V4).phase == Phase.ANSWERING
    stage.wait(10)
    assert stage.links[2].own == Spans.parse(V4, "192.0.2.12")
    assert {message.span for _, message in stage.sent[sent:]} == {Span.parse("192.0.2.12")}


def test_a_failed_socket_is_opened_anew() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(1)
    orders = stage.orders
    stage.fact(FactKind.SOCKET_FAILED, "0.0.0.0")
    stage.wait(2)
    assert stage.orders == orders + 1


universe = st.integers(0, 15).map(lambda n: f"10.0.0.{n}")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.frozensets(universe)),
        st.tuples(st.just("taken"), universe),
        st.tuples(st.just("conflict"), universe),
        st.tuples(st.just("carrier"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 0.11, 1.0, 30.0, 400.0])),
        st.tuples(st.just("mac"), st.integers(1, 3)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from(list(ProbeMode)), st.sampled_from(list(ConflictPolicy)))
def test_whatever_happens_every_wanted_address_is_in_one_place(
    script: Iterable[tuple[str, Any]], probe: ProbeMode, conflict: ConflictPolicy
) -> None:
    stage = Stage(probe=probe, conflict=conflict, rate_per_s=40)
    wanted: Iterable[str] = ()
    interface = eth()
    for what, value in script:
        if what == "want":
            wanted = value
            stage.want(*wanted)
        elif what == "taken":
            stage.fact(FactKind.TAKEN, value)
        elif what == "conflict":
            stage.fact(FactKind.CONFLICT, value)
        elif what == "wait":
            stage.wait(value)
        else:
            field = {"carrier": value} if what == "carrier" else {"mac": bytes([2, 0, 0, 0, 9, value])}
            interface = msgspec.structs.replace(interface, **field)
            stage.show(interface)
        presence = stage.duties.presences[2]
        withheld = Spans(Span(v, a, a) for (v, a), held in presence.withheld.items() if not held.trying)
        sets = [presence.waiting, presence.probing, presence.answering, withheld]
        assert sum(each.size for each in sets) == Spans.parse(*wanted).size
        assert sets[0] | sets[1] | sets[2] | sets[3] == Spans.parse(*wanted) == presence.own
    stage.show(msgspec.structs.replace(interface, carrier=True))
    stage.wait(4000)
    assert stage.links[2].own == Spans.parse(*wanted)


def test_what_a_member_answered_for_before_is_answered_at_once_and_the_router_asked_first() -> None:
    stage = Stage(eth(gateways=(ip_address("192.0.2.1"),)))
    stage.want(Answer(Spans.parse("192.0.2.10"), settled=True), "192.0.2.11")
    assert stage.links[2].own == Spans.parse("192.0.2.10")
    assert stage.links[2].tentative == Spans.parse("192.0.2.11")
    kinds = [message.kind for _, message in stage.sent if message.span == Span.parse("192.0.2.10")]
    assert kinds == [MessageKind.ASK, MessageKind.ANNOUNCE]


def test_groups_are_joined_for_what_may_have_to_be_answered_at_any_moment() -> None:
    stage = Stage()
    stage.settings = Settings(standby=Spans.parse(V6, V4))
    stage.want("2001:db8::99", probe=ProbeMode.OFF)
    assert stage.links[2].groups == Spans.parse(V6, "2001:db8::99")
    assert stage.links[2].own == Spans.parse("2001:db8::99")


def test_what_a_member_of_our_ring_has_is_not_taken_however_late_we_hear_that_it_is_one() -> None:
    stage = Stage(eth())
    addresses = [f"192.0.2.{last}" for last in range(10, 25)]
    stage.want(*addresses)
    for address in addresses:
        stage.fact(FactKind.TAKEN, address)
    stage.duties.members(frozenset({STRANGER}), stage.now)
    stage.wait(0.1)
    stage.fact(FactKind.TAKEN, addresses[0])
    stage.wait(1)
    assert {stage.on(address).phase for address in addresses} == {Phase.ANSWERING}
    told = len(stage.said("another host uses"))
    stage.fact(FactKind.CONFLICT, addresses[0])
    assert len(stage.said("another host uses")) == told
