"""What is elected one by one and what as a whole, and that every address belongs to exactly one unit."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arpfast import units as units_module
from arpfast.spans import Span, Spans
from arpfast.units import LARGEST, Units

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

POOL = Span.parse("192.0.2.0/28")
PREFIX = Span.parse("2001:db8::/64")
INSIDE = Span.parse("2001:db8::10")


def named(units: Units) -> list[str]:
    return list(map(str, units))


def territories(units: Units) -> list[Spans]:
    return [units.territory(unit) for unit in range(len(units))]


def test_each_address_of_a_range_is_a_unit_and_a_large_span_is_one() -> None:
    units = Units([POOL, PREFIX])
    assert len(units) == 17
    assert named(units)[:2] == ["192.0.2.0", "192.0.2.1"]
    assert named(units)[16] == "2001:db8::/64"
    assert units.spans == Spans((POOL, PREFIX))


def test_a_span_of_65_536_is_elected_one_by_one_and_one_more_is_not() -> None:
    assert len(Units([Span.parse("10.0.0.0/16")])) == LARGEST
    assert len(Units([Span.parse("10.0.0.0-10.1.0.0")])) == 1


def test_large_neighbours_stay_apart_and_overlapping_ones_are_one() -> None:
    assert named(Units(map(Span.parse, ("2001:db8::/64", "2001:db8:0:1::/64")))) == [
        "2001:db8::/64",
        "2001:db8:0:1::/64",
    ]
    assert named(Units(map(Span.parse, ("2001:db8::/64", "2001:db8::/48")))) == ["2001:db8::/48"]


def test_a_neighbour_does_not_make_a_whole_of_what_is_elected_one_by_one() -> None:
    assert len(Units(map(Span.parse, ("10.0.0.0/16", "10.1.0.0")))) == LARGEST + 1


def test_a_proxied_span_is_whole_however_small_and_own_addresses_in_it_are_set_apart() -> None:
    units = Units([Span.parse("192.0.2.0"), Span.parse("192.0.2.7")], [Span.parse("192.0.2.0/28")])
    assert named(units) == ["192.0.2.0", "192.0.2.0/28", "192.0.2.7"]
    assert units.territory(1) == Spans.parse("192.0.2.1-192.0.2.6", "192.0.2.8-192.0.2.15")
    assert [units.find(4, Span.parse(f"192.0.2.{host}").first) for host in (0, 1, 6, 7, 8, 15, 16)] == [
        0,
        1,
        1,
        2,
        1,
        1,
        None,
    ]


def test_own_prefixes_hide_proxied_ones_and_what_is_hidden_altogether_is_no_unit() -> None:
    units = Units([PREFIX, INSIDE], [Span.parse("2001:db8::/48"), Span.parse("2001:db8::/64")])
    assert sorted(named(units)) == ["2001:db8::/48", "2001:db8::/64", "2001:db8::10"]
    assert sorted(named(Units([PREFIX], [PREFIX]))) == ["2001:db8::/64"]


def test_too_many_addresses_for_one_by_one_make_wholes_of_the_larger_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units_module, "MOST", 260)
    spans = list(map(Span.parse, ("192.0.2.0/24", "198.51.100.0/28", "203.0.113.1")))
    assert named(Units(spans)).count("192.0.2.0/24") == 1
    assert len(Units(spans)) == 1 + 16 + 1
    assert len(Units(spans[:2])) == 1 + 16
    assert len(Units(spans[:1])) == 256


def test_there_may_be_nothing_to_elect() -> None:
    units = Units([])
    assert len(units) == 0
    assert units.find(4, 1) is None
    assert units.gather(b"", 1) == [Spans()]
    assert units.turns(Spans((POOL,)), entirely=True) == []


some_spans = st.lists(
    st.builds(
        lambda version, first, size: Span(version, first, first + size),
        st.sampled_from([4, 6]),
        st.integers(0, 60),
        st.integers(0, 30),
    ),
    max_size=6,
)


@PATIENT
@given(some_spans, some_spans, some_spans, st.data())
def test_every_address_belongs_to_one_unit(
    own: list[Span], proxied: list[Span], among: list[Span], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units_module, "LARGEST", 12)
        units = Units(own, proxied)
        again = Units(reversed(own), proxied[::-1])
    assert list(units) == list(again)
    assert territories(units) == territories(again)
    assert Spans(span for each in territories(units) for span in each) == units.spans == Spans((*own, *proxied))
    assert sum(each.size for each in territories(units)) == units.spans.size
    for unit, territory in enumerate(territories(units)):
        for version, first, last in territory:
            assert {units.find(version, value) for value in range(first, last + 1)} == {unit}

    some = Spans(among)
    for entirely in (True, False):
        turns = units.turns(some, entirely=entirely)
        for unit, territory in enumerate(territories(units)):
            belongs = not territory - some if entirely else bool(territory & some)
            assert sum(turn <= unit for turn in turns) % 2 == belongs

    labels = data.draw(st.lists(st.integers(-1, 2), min_size=len(units), max_size=len(units)))
    gathered = units.gather(b"".join(label.to_bytes(4, sys.byteorder, signed=True) for label in labels), 2)
    for label, spans in enumerate(gathered):
        chosen = [units.territory(unit) for unit, its in enumerate(labels) if its == label]
        assert spans == Spans(span for each in chosen for span in each)
