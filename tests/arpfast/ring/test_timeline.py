"""What happened, in order, and to whom."""

from arpfast.ring.timeline import KEPT, Timeline, told
from arpfast.spans import NOTHING, Spans


def test_of_one_address_its_own_events_and_those_of_members() -> None:
    timeline = Timeline()
    timeline.note(1.0, "took", spans=Spans.parse("192.0.2.10-192.0.2.11"), why="nobody owned them")
    timeline.note(2.0, "took", spans=Spans.parse("192.0.2.20"))
    timeline.note(3.0, "member suspect", member="b")
    assert [moment.unix_s for moment in timeline.of()] == [1.0, 2.0, 3.0]
    found = list(timeline.of((4, 0xC000020B)))
    assert [(moment.unix_s, moment.event) for moment in found] == [(1.0, "took"), (3.0, "member suspect")]
    assert (found[0].addresses, found[0].count, found[1].member) == ("192.0.2.10/31", 2, "b")


def test_it_keeps_so_many_and_no_more() -> None:
    timeline = Timeline()
    for second in range(KEPT + 10):
        timeline.note(second, "took")
    assert next(timeline.of()).unix_s == 10


def test_a_line_holds_a_few_addresses() -> None:
    assert told(NOTHING) == ""
    many = Spans.parse(*(f"192.0.2.{2 * number}" for number in range(10)))
    assert told(many) == "192.0.2.0, 192.0.2.2, 192.0.2.4, 192.0.2.6 and 6 more"
