"""The life of an address on one interface: probed, taken, tried again, without carrier."""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_address

import pytest

from arpfast.crossing import Fact, FactKind, MessageKind
from arpfast.duties import Answer
from arpfast.inspection import Phase
from arpfast.probing import ProbeMode
from arpfast.spans import Spans
from tests.arpfast.stage import STRANGER, V4, V6, Stage, eth


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
