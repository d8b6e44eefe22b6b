"""Announcing, probing and defending in virtual time: a clock, a picture of the host, and what comes out of it."""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.conflicts import ConflictPolicy
from arpfast.crossing import Fact, FactKind, Message, MessageKind
from arpfast.duties import Answer, Duties, LinkOrder, Settings
from arpfast.explaining import explain
from arpfast.inspection import Event, LinkExplanation, Phase
from arpfast.interfaces import Choice, Interface
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.spans import Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterable

STRANGER = bytes.fromhex("02000000ff01")
OTHER = bytes.fromhex("02000000ff02")
ROUTER = bytes.fromhex("02000000ffee")


def eth(index: int = 2, **fields: Any) -> Interface:
    whole: dict[str, Any] = {
        "index": index,
        "name": f"eth{index}",
        "mac": bytes([2, 0, 0, 0, 0, index]),
        "up": True,
        "carrier": True,
        "ipv6": True,
    }
    return Interface(**(whole | fields))


class Stage:
    """Drives `Duties` as the shell does, with a clock of its own, and keeps what came out by time."""

    def __init__(self, *interfaces: Interface, rate_per_s: float = 20000, **announce: Any) -> None:
        self.now = 1000.0
        self.duties = Duties(rate_per_s, random.Random(1))
        self.settings = Settings(announce=AnnounceSettings(**announce))
        self.links: dict[int, LinkOrder] = {}
        self.sent: list[tuple[float, Message]] = []
        self.events: list[Event] = []
        self.orders = 0
        self.join = True
        self.show(*(interfaces or (eth(),)))

    def _collect(self) -> None:
        while True:
            orders = self.duties.orders()
            for index in orders.drops:
                del self.links[index]
            for link in orders.links:
                self.orders += 1
                self.links[link.interface.index] = link
                assert not link.own & link.tentative
                if self.join:
                    self.duties.joined(link.interface.index, self.now)
            self.sent += ((self.now, message) for message in orders.messages)
            self.events += orders.events
            for message in orders.messages:
                # Nothing leaves for an address that would not be answered, or probed for one that would.
                link = self.links[message.ifindex]
                among = link.tentative if message.kind is MessageKind.PROBE else link.own
                assert message.span in among, message
            if not orders.links:
                return

    def show(self, *interfaces: Interface) -> None:
        self.duties.interfaces({interface.index: interface for interface in interfaces}, self.now)
        self._collect()

    def want(self, *answers: str | Answer, **announce: Any) -> None:
        if announce:
            self.settings = msgspec.structs.replace(
                self.settings, announce=msgspec.structs.replace(self.settings.announce, **announce)
            )
        self.duties.want(
            [a if isinstance(a, Answer) else Answer(Spans.parse(a)) for a in answers], self.settings, self.now
        )
        self._collect()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.duties.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.duties.advance(self.now)
            self._collect()
        self.now = until

    def fact(self, kind: FactKind, address: str, mac: bytes = STRANGER, index: int = 2) -> None:
        parsed = ip_address(address)
        self.duties.facts([Fact(kind, index, parsed.version, int(parsed), mac, int(self.now * 1e9))], self.now)
        self._collect()

    def times(self, kind: MessageKind, address: str | None = None) -> list[float]:
        """When such frames left, in seconds since the start."""
        wanted = None if address is None else ip_address(address)
        return [
            round(at - 1000, 3)
            for at, message in self.sent
            if message.kind is kind and (not wanted or wanted in message.span)
        ]

    def on(self, address: str, index: int = 2) -> LinkExplanation:
        span = Span.parse(address)
        found = explain(self.duties, span.version, span.first, self.now, self.now)
        return next(link for link in found.links if link.ifindex == index)

    def said(self, part: str) -> list[Event]:
        return [event for event in self.events if part in event.event]


V4, V6 = "192.0.2.10", "2001:db8::10"


def test_quick_probing_sends_three_probes_100_ms_apart_and_the_verdict_comes_100_ms_after_the_last() -> None:
    stage = Stage()
    stage.want(V4, V6)
    assert stage.links[2].tentative == Spans.parse(V4, V6)
    stage.wait(0.299)
    assert stage.times(MessageKind.PROBE, V4) == pytest.approx([0, 0.1, 0.2], abs=0.001)
    assert not stage.links[2].own
    stage.wait(0.05)
    assert stage.links[2].own == Spans.parse(V4)
    assert stage.times(MessageKind.PROBE, V6) == pytest.approx([0.05, 0.15, 0.25], abs=0.001)
    stage.wait(0.01)
    assert stage.links[2].own == Spans.parse(V4, V6)
    assert not stage.links[2].tentative
    assert stage.on(V4).phase == Phase.ANSWERING


def test_rfc5227_probes_take_a_random_second_then_1_to_2_s_each_and_2_s_to_the_verdict() -> None:
    firsts = set()
    for seed in range(20):
        stage = Stage(probe=ProbeMode.RFC)
        stage.duties.office.random = random.Random(seed)
        stage.want(V4)
        stage.wait(8)
        first, second, third = stage.times(MessageKind.PROBE)
        assert 0 <= first <= 1
        assert 1 <= second - first <= 2.001
        assert 1 <= third - second <= 2.001
        assert stage.times(MessageKind.ANNOUNCE)[0] == pytest.approx(third + 2, abs=0.002)
        firsts.add(first)
    assert len(firsts) == 20


def test_rfc4862_sends_one_solicitation_within_a_second_and_waits_one() -> None:
    stage = Stage(probe=ProbeMode.RFC)
    stage.want(V6)
    stage.wait(3)
    (probe,) = stage.times(MessageKind.PROBE)
    assert 0 <= probe <= 1
    assert stage.times(MessageKind.ANNOUNCE)[0] == pytest.approx(probe + 1, abs=0.002)


def test_rfc4862_5_4_2_an_ipv6_address_is_not_probed_before_its_group_is_joined() -> None:
    stage = Stage()
    stage.join = False
    stage.want(V4, V6)
    stage.wait(1)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert (stage.on(V6).phase, stage.on(V6).why) == (Phase.WAITING, "its solicited-node group is being joined")
    stage.duties.joined(2, stage.now)
    stage._collect()
    stage.wait(0.4)
    assert stage.on(V6).phase == Phase.ANSWERING
    stage.want(V4, V6, "2001:db8::11")
    stage.wait(1)
    assert not stage.times(MessageKind.PROBE, "2001:db8::11")


def test_without_probing_the_address_is_answered_and_announced_at_once() -> None:
    stage = Stage(probe=ProbeMode.OFF)
    stage.want(V4)
    assert stage.links[2].own == Spans.parse(V4)
    assert stage.times(MessageKind.ANNOUNCE) == [0]


@pytest.mark.parametrize(("repeat", "v4", "v6"), [(1, 1, 1), (2, 2, 2), (5, 5, 3), (0, 0, 0)])
def test_announcements_are_2_s_apart_and_of_ipv6_never_more_than_three(repeat: int, v4: int, v6: int) -> None:
    stage = Stage(probe=ProbeMode.OFF, repeat=repeat, refresh_s=0)
    stage.want(V4, V6)
    stage.wait(60)
    assert stage.times(MessageKind.ANNOUNCE, V4) == pytest.approx([2.0 * n for n in range(v4)], abs=0.01)
    assert stage.times(MessageKind.ANNOUNCE, V6) == pytest.approx([2.0 * n for n in range(v6)], abs=0.01)
    assert stage.duties.next_deadline() is None


def test_an_address_in_use_is_withheld_told_once_and_tried_again_ever_more_slowly() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4, "192.0.2.11")
    for _ in range(5):
        stage.fact(FactKind.TAKEN, V4)
    stage.wait(0.4)
    assert stage.links[2].own == Spans.parse("192.0.2.11")
    assert (stage.on(V4).phase, stage.on(V4).taken_by) == (Phase.TAKEN, "02:00:00:00:ff:01")
    tries = []
    for _ in range(6):
        before = len(stage.times(MessageKind.PROBE, V4))
        stage.wait(stage.on(V4).retry_in_s or 0)
        stage.wait(0.1)
        assert len(stage.times(MessageKind.PROBE, V4)) > before
        tries.append(stage.times(MessageKind.PROBE, V4)[before])
        stage.fact(FactKind.TAKEN, V4)
        stage.wait(0.5)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert 60 <= tries[0] <= 76
    assert all(low <= gap <= low * 1.25 + 1 for gap, low in zip(gaps, [120, 240, 300, 300, 300], strict=True))
    assert len(stage.said("in use by another host")) == 1
    assert stage.links[2].own == Spans.parse("192.0.2.11")
    stage.wait(400)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert len(stage.said("free again")) == 1


def test_rfc5227_2_1_1_after_ten_conflicts_an_interface_tries_again_once_a_minute_at_most() -> None:
    stage = Stage(refresh_s=0)
    stage.want("192.0.2.0/27")
    for host in range(12):
        stage.fact(FactKind.TAKEN, f"192.0.2.{host}")
        stage.wait(2)
    for _ in range(4):
        stage.duties.announce(Spans.parse("192.0.2.0/27"), stage.now)
        stage._collect()
        stage.wait(1)
    stage.wait(1000)
    begun = sorted({at for at in stage.times(MessageKind.PROBE, "192.0.2.3") if at > 20})[::3]
    assert begun
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(begun))


def test_what_is_taken_is_not_answered_as_part_of_a_proxied_prefix_either() -> None:
    stage = Stage()
    stage.want(V4, Answer(Spans.parse("192.0.2.0/24"), proxy=True))
    stage.fact(FactKind.TAKEN, V4)
    stage.wait(1)
    assert stage.links[2].proxied == Spans.parse("192.0.2.0/24") - Spans.parse(V4)
    assert not stage.links[2].own
    assert stage.on("192.0.2.77").phase == Phase.PROXYING


def test_a_proxied_prefix_is_neither_probed_nor_announced() -> None:
    stage = Stage()
    stage.want(Answer(Spans.parse("2001:db8::/64"), proxy=True))
    stage.wait(600)
    assert stage.links[2].proxied == Spans.parse("2001:db8::/64")
    assert stage.links[2].groups == Spans.parse("2001:db8::/64")
    assert not stage.sent


def test_defend_announces_once_in_10_s_for_ever_and_tells_each_mac_once() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1)
    stage.want(V4)
    for _ in range(300):
        stage.wait(0.1)
        stage.fact(FactKind.CONFLICT, V4)
        stage.fact(FactKind.CONFLICT, V4, OTHER)
    defences = stage.times(MessageKind.ANNOUNCE)[1:]
    assert len(defences) == 3
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(defences))
    assert stage.on(V4).phase == Phase.ANSWERING
    assert sorted(str(e.fields["mac"]) for e in stage.said("uses an address of ours")) == [
        "02:00:00:00:ff:01",
        "02:00:00:00:ff:02",
    ]
    assert [conflict.frames for conflict in stage.on(V4).conflicts] == [300, 300]


def test_yield_defends_once_and_gives_the_address_up_if_it_goes_on() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1, conflict=ConflictPolicy.YIELD)
    stage.want(V4, "192.0.2.11")
    stage.fact(FactKind.CONFLICT, V4)
    stage.wait(10.1)
    stage.fact(FactKind.CONFLICT, V4)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert len(stage.times(MessageKind.ANNOUNCE, V4)) == 3
    stage.wait(9)
    stage.fact(FactKind.CONFLICT, V4)
    assert (stage.on(V4).phase, stage.on(V4).taken_by) == (Phase.YIELDED, "02:00:00:00:ff:01")
    assert stage.links[2].own == Spans.parse("192.0.2.11")
    stage.wait(80)
    assert stage.on(V4).phase == Phase.ANSWERING


def test_report_only_reports() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1, conflict=ConflictPolicy.REPORT)
    stage.want(V4)
    for _ in range(30):
        stage.wait(1)
        stage.fact(FactKind.CONFLICT, V4)
    assert len(stage.times(MessageKind.ANNOUNCE)) == 1
    assert len(stage.said("uses an address of ours")) == 1


def test_our_own_other_interfaces_are_never_in_conflict_with_us() -> None:
    stage = Stage(eth(2), eth(3, up=False))
    stage.want(V4)
    stage.fact(FactKind.TAKEN, V4, eth(3).mac)
    stage.wait(1)
    stage.fact(FactKind.CONFLICT, V4, eth(3).mac)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert not stage.on(V4).conflicts
    assert stage.links[2].kin == (eth(3).mac,)


def test_losing_the_carrier_means_probing_again_when_it_is_back_and_silence_until_then() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4, V6)
    stage.wait(5)
    stage.show(eth(carrier=False))
    assert not stage.links[2].own
    assert (stage.on(V4).phase, stage.on(V4).why) == (Phase.WAITING, "the interface has no carrier")
    stage.wait(100)
    sent = len(stage.sent)
    stage.show(eth())
    assert len(stage.sent) > sent
    assert not stage.links[2].own
    stage.wait(0.4)
    assert stage.links[2].own == Spans.parse(V4, V6)


def test_a_carrier_lost_while_probing_starts_the_probes_over() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(0.15)
    stage.show(eth(carrier=False))
    stage.show(eth())
    stage.wait(0.25)
    assert not stage.links[2].own
    stage.wait(0.1)
    assert stage.links[2].own == Spans.parse(V4)
    assert len(stage.times(MessageKind.PROBE)) == 5


def test_without_probing_a_lost_carrier_interrupts_nothing_and_its_return_is_announced() -> None:
    stage = Stage(probe=ProbeMode.OFF, repeat=1, refresh_s=0)
    stage.want(V4)
    stage.show(eth(carrier=False))
    assert stage.links[2].own == Spans.parse(V4)
    stage.wait(3)
    stage.show(eth())
    assert stage.times(MessageKind.ANNOUNCE) == [0, 3]


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


def test_nothing_leaves_for_an_address_withdrawn_meanwhile() -> None:
    stage = Stage(rate_per_s=100, probe=ProbeMode.OFF)
    stage.want("192.0.2.0/24")
    stage.wait(1)
    stage.want()
    sent = len(stage.sent)
    stage.wait(100)
    assert len(stage.sent) == sent


def test_the_verdict_waits_for_the_last_probe_to_have_left() -> None:
    stage = Stage(rate_per_s=1000, refresh_s=0, confirm=False)
    stage.want("10.0.0.0/24")
    first = stage.on("10.0.0.0")
    assert first.phase == Phase.PROBING
    while stage.on("10.0.0.0").phase != Phase.ANSWERING:
        stage.wait(0.005)
    # 200 addresses of a batch take 0.2 s to leave, three times, each followed by 0.1 s
    assert stage.now - 1000 == pytest.approx(0.9, abs=0.02)
    stage.wait(20)
    assert stage.links[2].own == Spans.parse("10.0.0.0/24")


def test_a_sixteen_is_probed_at_the_pace_in_batches_and_few_orders() -> None:
    stage = Stage(refresh_s=0, confirm=False)
    stage.want("10.0.0.0/16")
    stage.wait(3)
    assert stage.on("10.0.0.0").phase == Phase.ANSWERING
    assert stage.on("10.0.255.255").phase == Phase.WAITING
    stage.wait(40)
    assert stage.links[2].own == Spans.parse("10.0.0.0/16")
    frames = sum(message.span.size for _, message in stage.sent)
    assert frames == 65536 * 5
    assert stage.orders < 40
    per_second: dict[int, int] = {}
    for at, message in stage.sent:
        per_second[int(at)] = per_second.get(int(at), 0) + message.span.size
    assert max(per_second.values()) <= 20000 * 1.1 + 1


def test_what_is_too_large_to_probe_is_answered_at_once_and_said_so() -> None:
    stage = Stage()
    stage.want("2001:db8::/64", V4)
    assert stage.links[2].own == Spans.parse("2001:db8::/64")
    assert stage.said("too many addresses")
    stage.wait(600)
    assert not stage.times(MessageKind.ANNOUNCE, "2001:db8::1")


@pytest.mark.parametrize("count", [1, 2, 100, 1000, 20000])
def test_the_refresh_reaches_every_address_once_in_its_time_in_even_steps(count: int) -> None:
    stage = Stage(probe=ProbeMode.OFF, repeat=1, refresh_s=240, confirm=False)
    first = int(ip_address("10.0.0.0"))
    stage.want(*(Answer(Spans([Span(4, first + 2 * n, first + 2 * n)])) for n in range(count)))
    stage.wait(239.5)
    begun = len(stage.sent)
    assert begun == count
    stage.wait(240.4)
    again = [message.span.first for _, message in stage.sent[begun:]]
    assert sorted(again) == [first + 2 * n for n in range(count)]
    wakes = {at for at, _ in stage.sent[begun:]}
    assert len(wakes) <= 241
    if count == 1:
        assert stage.duties.next_deadline() == pytest.approx(1480, abs=0.01)


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


def test_announce_by_hand_repeats_and_tries_again_what_was_taken() -> None:
    stage = Stage(refresh_s=0, repeat=1)
    stage.want(V4, "192.0.2.11")
    stage.fact(FactKind.TAKEN, V4)
    stage.wait(5)
    assert stage.duties.announce(Spans.parse("192.0.2.0/24"), stage.now) == (1, 1)
    stage._collect()
    assert stage.times(MessageKind.ANNOUNCE, "192.0.2.11")[-1] == 5
    stage.wait(1)
    assert stage.on(V4).phase == Phase.ANSWERING


def test_silence_proves_nothing_while_answers_are_lost() -> None:
    """A router with proxy ARP answers for a whole pool at once, and not all of it reaches us."""
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(0.25)
    stage.duties.facts([], stage.now, taken_lost=1)
    stage.wait(0.25)
    assert stage.on(V4).phase == Phase.PROBING
    assert len(stage.times(MessageKind.PROBE, V4)) == 5
    stage.wait(0.5)
    assert stage.on(V4).phase == Phase.ANSWERING


def test_many_taken_addresses_are_counted_not_listed_one_by_one() -> None:
    stage = Stage(refresh_s=0)
    stage.want("10.0.0.0/22")
    facts = [Fact(FactKind.TAKEN, 2, 4, int(ip_address("10.0.0.0")) + n, STRANGER, 0) for n in range(1000)]
    stage.duties.facts(facts, stage.now)
    stage._collect()
    stage.wait(11)
    assert len(stage.said("in use by another host")) == 20
    assert stage.said("more addresses were contested")[0].fields["more"] == 980
    assert stage.duties.totals()[0].taken == 1000
    assert stage.links[2].own.size == 24


def test_a_failed_socket_is_opened_anew() -> None:
    stage = Stage(refresh_s=0)
    stage.want(V4)
    stage.wait(1)
    orders = stage.orders
    stage.fact(FactKind.SOCKET_FAILED, "0.0.0.0")
    stage.wait(2)
    assert stage.orders == orders + 1


def test_explain_knows_the_kernels_own_addresses() -> None:
    stage = Stage(eth(addresses=(ip_interface("192.0.2.10/24"),)))
    stage.want(V4)
    found = explain(stage.duties, 4, int(ip_address(V4)), stage.now, 5e9)
    assert found.kernel_interfaces == ("eth2",)
    assert msgspec.json.encode(found)


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
