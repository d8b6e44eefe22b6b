"""Probing: who is asked when, what an answer or none of it means, and what we do for others who probe."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from arpfast.gossip.keys import Key
from arpfast.gossip.members import State
from arpfast.gossip.messages import Ack, Alive, IndirectPing, Nack, Ping, Suspect, decode
from arpfast.gossip.outgoing import PACKET_BYTES, Delivery, Exchange, StreamPing
from arpfast.gossip.protocol import Heard
from arpfast.gossip.timing import LAN, RING
from arpfast.gossip.wire import Wire
from tests.arpfast.gossip.stage import Stage, alive, dead, endpoint, raw, suspect

ALIVE, SUSPECT, DEAD, LEFT = State
QUIET = replace(LAN, push_pull_interval_s=0.0)


def first_ping(stage: Stage) -> Ping:
    """Let time pass to the next probe."""
    before = len(stage.said(Ping))
    while len(stage.said(Ping)) == before:
        stage.wait(0.01)
    ping: Ping = stage.said(Ping)[before]
    return ping


def test_each_is_probed_in_turn_once_a_round() -> None:
    stage = Stage("abcde", QUIET)
    for _ in range(20):
        stage.tell(Ack(first_ping(stage).sequence))
    asked = [ping.node for ping in stage.said(Ping)]
    for at in range(0, 15, 5):
        assert len(set(asked[at : at + 10])) == 5
    assert stage.protocol.counts.probes_failed == 0
    times = [at for at, _, told in stage.sent if isinstance(told, Ping)]
    assert all(later - earlier == pytest.approx(1, abs=0.011) for earlier, later in itertools.pairwise(times))


def test_a_ping_says_who_we_are_and_whom_we_mean() -> None:
    stage = Stage("a", QUIET)
    ping = first_ping(stage)
    assert ping == Ping(ping.sequence, "a", raw(1), 7946, "me")
    assert stage.sent[-1][1] == endpoint(10)


def test_no_answer_then_others_and_a_stream_then_suspicion() -> None:
    stage = Stage("abcde", QUIET)
    ping = first_ping(stage)
    stage.wait(0.45)
    assert not stage.said(IndirectPing)
    stage.wait(0.1)
    asked = stage.said(IndirectPing)
    assert len(asked) == 3
    assert {(each.sequence, each.node, each.nack) for each in asked} == {(ping.sequence, ping.node, True)}
    helpers = {where for _, where, told in stage.sent if isinstance(told, IndirectPing)}
    target = stage.protocol.find(ping.node)
    assert target is not None
    assert (target.address, target.port) not in helpers
    assert len(helpers) == 3
    (dial,) = stage.dials
    assert isinstance(dial, StreamPing)
    assert (dial.endpoint, dial.name, dial.sequence) == ((target.address, 7946), ping.node, ping.sequence)
    assert dial.within_s == pytest.approx(0.5)
    assert stage.state(ping.node) is ALIVE
    stage.wait(0.47)
    assert stage.state(ping.node) is SUSPECT
    assert stage.protocol.counts.probes_failed == 1


@pytest.mark.parametrize("how", ["late", "relayed", "stream"])
def test_any_answer_before_the_end_of_the_interval_is_life(how: str) -> None:
    stage = Stage("abc", QUIET)
    ping = first_ping(stage)
    stage.wait(0.9)
    if how == "stream":
        stage.protocol.answered(ping.sequence, stage.now)
    else:
        stage.tell(Ack(ping.sequence), by=11 if how == "relayed" else 10)
    stage.wait(0.2)
    assert stage.protocol.counts.suspected == 0


def test_invariant_8_late_doubled_and_unknown_answers_mean_nothing() -> None:
    stage = Stage("ab", QUIET)
    ping = first_ping(stage)
    stage.wait(1.05)
    assert stage.state(ping.node) is SUSPECT
    stage.tell(Ack(ping.sequence), Ack(ping.sequence), Ack(12345), Nack(ping.sequence), Nack(777))
    assert stage.state(ping.node) is SUSPECT


def test_invariant_8_sequence_numbers_wrap() -> None:
    stage = Stage("a", QUIET)
    stage.protocol._detector._sequence = 0xFFFFFFFE
    for expected in (0xFFFFFFFF, 0, 1):
        ping = first_ping(stage)
        assert ping.sequence == expected
        stage.tell(Ack(ping.sequence))
    assert stage.protocol.counts.suspected == 0


def test_invariant_8_a_nack_does_not_end_the_probe() -> None:
    stage = Stage("abcd", QUIET)
    ping = first_ping(stage)
    stage.wait(0.6)
    stage.tell(Nack(ping.sequence), Nack(ping.sequence))
    stage.tell(Ack(ping.sequence))
    stage.wait(0.6)
    assert stage.protocol.counts.suspected == 0


@pytest.mark.parametrize(("nacks", "health"), [(3, 0), (2, 1), (0, 3)])
def test_whose_helpers_do_not_answer_either_is_in_bad_health_itself(nacks: int, health: int) -> None:
    stage = Stage("abcde", QUIET)
    ping = first_ping(stage)
    stage.wait(0.6)
    stage.tell(*[Nack(ping.sequence)] * nacks) if nacks else None
    stage.wait(0.42)
    assert stage.protocol.health == health


def test_bad_health_stretches_the_interval_and_good_answers_heal() -> None:
    stage = Stage("a", QUIET)
    stage.tell(suspect("me"), suspect("me", incarnation=9))
    assert stage.protocol.health == 2
    gaps = []
    for _ in range(4):
        at = stage.now
        stage.tell(Ack(first_ping(stage).sequence))
        gaps.append(round(stage.now - at))
    assert gaps[1:] == [3, 2, 1]
    assert stage.protocol.health == 0


def test_a_suspect_is_told_with_the_ping_what_it_has_to_refute() -> None:
    stage = Stage("a", QUIET)
    stage.tell(suspect("a", by="x"))
    stage.wait(1)
    (packet,) = [packet for to, packet in stage.packets if Suspect(1, "a", "me") in map(_decoded, _parts(packet))]
    assert any(isinstance(_decoded(part), Ping) for part in _parts(packet))


def _parts(packet: bytes) -> list[bytes]:
    return Wire().unpack(packet).messages


def _decoded(part: bytes) -> Any:
    return decode(part)


def test_who_watches_looks_past_a_suspect_at_once() -> None:
    stage = Stage("abcdef", replace(RING, push_pull_interval_s=0.0))
    (first,) = stage.protocol._table.successors(1)
    stage.tell(suspect(first.name))
    second = stage.protocol._table.successors(1)
    assert second[0] is first
    assert len(second) == 2


# What we do for others


def test_invariant_9_an_answer_goes_where_the_ping_says_not_where_it_came_from() -> None:
    stage = Stage("", QUIET)
    stage.tell(Ping(5, "me", raw(50), 1234, "x"), by=60)
    stage.tell(Ping(6, "me"), by=60)
    stage.tell(Ping(7, ""), by=60)
    stage.tell(Ping(8, "me", b"bad", 1234), by=60)
    assert [(where, told.sequence) for _, where, told in stage.sent if isinstance(told, Ack)] == [
        (("10.0.0.50", 1234), 5),
        (endpoint(60), 6),
        (endpoint(60), 7),
        (endpoint(60), 8),
    ]


def test_invariant_4_a_ping_for_another_name_is_not_answered() -> None:
    stage = Stage("", QUIET)
    stage.tell(Ping(5, "you"))
    assert not stage.sent
    assert stage.protocol.counts.misdirected == 1
    assert stage.protocol.stream_ack(Ping(5, "you")) is None
    assert stage.protocol.stream_ack(Ping(5, "me")) is not None


def test_asked_to_probe_we_relay_the_answer_or_say_that_there_is_none() -> None:
    stage = Stage("ab", QUIET)
    request = IndirectPing(70, raw(10), 7946, "a", nack=True, source_address=raw(50), source_port=5, source_node="x")
    stage.tell(request)
    (ping,) = stage.said(Ping, to=10)
    assert ping.node == "a"
    assert ping.sequence != 70
    stage.tell(Ack(ping.sequence), by=10)
    assert [(where, told) for _, where, told in stage.sent if isinstance(told, Ack)] == [(("10.0.0.50", 5), Ack(70))]
    stage.wait(0.6)
    assert not stage.said(Nack)
    stage.forget()
    stage.tell(request)
    stage.wait(0.49)
    assert not stage.said(Nack)
    stage.wait(0.02)
    assert [(where, told) for _, where, told in stage.sent if isinstance(told, Nack)] == [(("10.0.0.50", 5), Nack(70))]
    stage.forget()
    stage.tell(replace(request, nack=False))
    stage.wait(0.6)
    assert not stage.said(Nack)


def test_not_everybody_can_have_us_probe_at_once() -> None:
    stage = Stage("", QUIET)
    for sequence in range(2000):
        stage.tell(IndirectPing(sequence, raw(10), 7946, "a"))
    assert stage.protocol.counts.relayed == 512
    stage.wait(0.6)
    stage.tell(IndirectPing(1, raw(10), 7946, "a"))
    assert stage.protocol.counts.relayed == 513


# Time


def test_invariant_12_time_in_which_we_did_not_run_is_not_held_against_others() -> None:
    stage = Stage("abc", QUIET)
    stage.tell(suspect("b"))
    ping = first_ping(stage)
    stage.sleep(60)
    stage.protocol.advance(stage.now)
    stage.collect()
    assert stage.state(ping.node) in {ALIVE, SUSPECT}
    assert stage.state("b") is SUSPECT
    assert stage.protocol.counts.lags == 1
    assert stage.protocol.health == 1
    stage.tell(Ack(ping.sequence), alive("b", 2))
    stage.wait(0.3)
    assert stage.protocol.counts.died == 0


def test_invariant_12_late_probes_do_not_pile_up() -> None:
    stage = Stage("a", QUIET)
    stage.tell(Ack(first_ping(stage).sequence))
    stage.forget()
    stage.sleep(60)
    stage.protocol.advance(stage.now)
    stage.collect()
    assert len(stage.said(Ping)) <= 1


def test_a_little_lateness_is_no_illness() -> None:
    stage = Stage("a", QUIET)
    for _ in range(50):
        stage.now = stage.protocol.next_deadline() + 0.04
        stage.protocol.advance(stage.now)
        stage.collect()
        for ping in stage.said(Ping):
            stage.tell(Ack(ping.sequence))
        stage.forget()
    assert stage.protocol.counts.lags == 0
    assert stage.protocol.counts.suspected == 0


def test_invariant_11_what_cannot_be_sent_is_asked_of_others_at_once() -> None:
    stage = Stage("abc", QUIET)
    ping = first_ping(stage)
    target = stage.protocol.find(ping.node)
    assert target is not None
    stage.protocol.unsent((target.address, target.port), stage.now)
    stage.collect()
    assert len(stage.said(IndirectPing)) == 2
    stage.wait(0.6)
    assert len(stage.said(IndirectPing)) == 2
    assert stage.protocol.counts.packets_unsent == 1


# The dead


def test_the_dead_are_called_with_their_accusation_first_and_met_again() -> None:
    stage = Stage("ab", replace(RING, push_pull_interval_s=0.0))
    stage.tell(dead("a"))
    stage.forget()
    while not stage.said(Ping, to=10):
        stage.wait(0.01)
    accusation, ping = (_decoded(part) for part in _parts(stage.packets[-1][1])[:2])
    assert accusation == Suspect(1, "a", "me")
    stage.tell(alive("a", 2), Ack(ping.sequence))
    assert stage.state("a") is ALIVE
    stage.wait(0.35)
    assert [dial for dial in stage.dials if isinstance(dial, Exchange)] == [Exchange(endpoint(10), "a")]


def test_who_has_left_is_not_called() -> None:
    stage = Stage("ab", replace(RING, push_pull_interval_s=0.0))
    stage.tell(dead("a", "a"))
    stage.wait(2)
    stage.forget()
    stage.wait(5)
    assert not [to for to, _ in stage.packets if to == endpoint(10)]


# What the ring's user says


def test_a_user_message_is_broadcast_and_replaces_an_older_one_of_its_topic() -> None:
    stage = Stage("a", QUIET)
    stage.protocol.broadcast("t", b"old", stage.now)
    stage.protocol.broadcast("t", b"new", stage.now)
    stage.protocol.broadcast("u", b"other", stage.now)
    stage.wait(3)
    users = [told for _, _, told in stage.sent if isinstance(told, bytes)]
    assert sorted(users) == [b"\x08new"] * 4 + [b"\x08other"] * 4


def test_a_user_message_reaches_named_members_now() -> None:
    stage = Stage("abc", QUIET)
    assert stage.protocol.send(b"x" * 1000, ["a", "c", "nobody"]) == 2
    assert stage.protocol.send(b"y" * 5000, ["b"]) == 1
    stage.collect()
    assert [(to, packet[-1001:]) for to, packet in stage.packets] == [
        (endpoint(10), b"\x08" + b"x" * 1000),
        (endpoint(12), b"\x08" + b"x" * 1000),
    ]
    assert stage.dials == [Delivery(endpoint(11), b"y" * 5000)]


def test_what_is_heard_is_an_event() -> None:
    stage = Stage("", QUIET)
    stage.tell(b"\x08hello", b"\x08")
    assert stage.events == [Heard(b"hello"), Heard(b"")]


@pytest.mark.parametrize("wire", [Wire(), Wire("r" * 255, [Key(bytes(32))])], ids=["plain", "sealed, long label"])
def test_invariant_13_no_packet_is_larger_than_the_network_takes(wire: Wire) -> None:
    stage = Stage("", QUIET, wire)
    for n in range(120):
        stage.tell(Alive(1, f"n{n}", raw(n), 7946, bytes(n * 4)))
        room = stage.protocol._outgoing.payload_room
        stage.protocol.broadcast(f"t{n}", bytes(room if n % 9 == 0 else n), stage.now)
    with pytest.raises(ValueError, match=f"at most {room} bytes to broadcast, not {room + 1}"):
        stage.protocol.broadcast("large", bytes(room + 1), stage.now)
    stage.wait(20)
    sizes = [len(packet) for _, packet in stage.packets]
    assert max(sizes) <= PACKET_BYTES
    assert sorted(sizes)[-10] > PACKET_BYTES - 100


def test_invariant_13_meta_has_a_limit() -> None:
    stage = Stage("a", QUIET)
    stage.protocol.set_meta(bytes(512), stage.now)
    with pytest.raises(ValueError, match="at most 512 bytes of meta, not 513"):
        stage.protocol.set_meta(bytes(513), stage.now)


def test_what_is_wrong_is_counted_by_its_cause() -> None:
    stage = Stage("", QUIET)
    for packet in (b"", b"\x63", b"\x04\xc1", b"\xf4\x04ring\x00", b"\x07\x02\x00\x02\x00\x01"):
        stage.protocol.receive(packet, endpoint(9), stage.now)
    counts = stage.protocol.counts
    assert (counts.refused_malformed, counts.refused_label, counts.refused_key) == (4, 1, 0)
    sealed = Stage("", QUIET, Wire(keys=[Key(bytes(16))]))
    sealed.protocol.receive(b"\x02\x80", endpoint(9), sealed.now)
    assert sealed.protocol.counts.refused_key == 1
