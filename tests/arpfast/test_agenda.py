"""The order of what is due, and the pace at which parcels leave."""

from __future__ import annotations

import pytest

from arpfast.agenda import Agenda, Outbox, Parcel
from arpfast.crossing import MessageKind
from arpfast.spans import Spans


def test_what_is_due_runs_in_order_of_time_also_what_becomes_due_by_it() -> None:
    agenda, ran = Agenda(), list[str]()
    agenda.at(2, lambda _: ran.append("two"))
    agenda.at(1, lambda _: agenda.at(1.5, lambda _: ran.append("one and a half")))
    agenda.at(3, lambda _: ran.append("three"))
    assert agenda.next_deadline() == 1
    agenda.advance(2)
    assert ran == ["one and a half", "two"]
    assert agenda.next_deadline() == 3


def parcel(text: str, left: list[float] | None = None, live: Spans | None = None) -> Parcel:
    return Parcel(
        MessageKind.ANNOUNCE,
        2,
        Spans.parse(text),
        live=lambda spans: spans if live is None else spans & live,
        then=None if left is None else left.append,
    )


def run(agenda: Agenda, outbox: Outbox, seconds: float) -> list[tuple[float, int]]:
    """When how many frames were handed over."""
    handed = [(0.0, sum(message.span.size for message in outbox.taken()))]
    while (deadline := agenda.next_deadline()) is not None and deadline <= seconds:
        agenda.advance(deadline)
        handed.append((deadline, sum(message.span.size for message in outbox.taken())))
    return [(at, frames) for at, frames in handed if frames]


def test_frames_are_handed_over_a_tenth_of_a_second_ahead_of_the_pace() -> None:
    agenda = Agenda()
    outbox, left = Outbox(agenda, 1000), list[float]()
    outbox.put(parcel("10.0.0.0/22", left), 0.0)
    handed = run(agenda, outbox, 10)
    assert sum(frames for _, frames in handed) == 1024
    total = 0
    for at, frames in handed:
        total += frames
        assert total <= 1000 * (at + 0.1) + 2
    assert left == pytest.approx([1.024], abs=0.002)
    assert len(handed) < 30


def test_what_is_not_live_any_more_costs_nothing() -> None:
    agenda = Agenda()
    outbox = Outbox(agenda, 1000)
    outbox.put(parcel("10.0.0.0/24", live=Spans.parse("10.0.0.7")), 0.0)
    assert [frames for _, frames in run(agenda, outbox, 0.2)] == [1]


def test_what_is_urgent_leaves_before_what_waits() -> None:
    agenda = Agenda()
    outbox = Outbox(agenda, 100)
    outbox.put(parcel("10.0.0.0/24"), 0.0)
    outbox.taken()
    outbox.put(parcel("192.0.2.1"), 0.0, urgent=True)
    agenda.advance(agenda.next_deadline() or 0)
    assert outbox.taken()[0].span.first == 0xC0000201


@pytest.mark.parametrize("rate_per_s", [10, 100, 10_000])
def test_another_rate_holds_also_for_what_the_thread_was_given_before(rate_per_s: int) -> None:
    """Of 1024 frames at 1000/s half have left after 0.512 s; the rest takes as long as the new rate says."""
    agenda = Agenda()
    outbox, left = Outbox(agenda, 1000), list[float]()
    outbox.put(parcel("10.0.0.0/22", left), 0.0)
    before = sum(frames for _, frames in run(agenda, outbox, 0.512))
    assert 512 < before <= 614
    outbox.set_rate(rate_per_s, 0.512)
    handed = run(agenda, outbox, 100)
    assert before + sum(frames for _, frames in handed) == 1024
    assert left == pytest.approx([0.512 + 512 / rate_per_s], rel=0.01)
    total = before
    for at, frames in handed:
        total += frames
        assert total <= 512 + rate_per_s * (max(at, 0.512) - 0.512 + 0.1) + max(2, before - 512)


def test_what_is_in_the_threads_hands_is_awaited_by_the_new_rate() -> None:
    agenda = Agenda()
    outbox, left = Outbox(agenda, 1000), list[float]()
    outbox.put(parcel("10.0.0.0-10.0.0.49", left), 0.0)
    outbox.put(parcel("192.0.2.1", left), 0.0)
    outbox.set_rate(10, 0.01)
    agenda.advance(4)
    assert left == []
    run(agenda, outbox, 10)
    assert left == pytest.approx([4.01, 4.11])
