"""What is kept from turn to turn is what would be found anew."""

from hypothesis import given
from hypothesis import strategies as st

from arpfast.ring.overlaps import Overlaps
from arpfast.spans import Span, Spans

shares = st.sets(st.integers(0, 30)).map(lambda which: Spans(Span(4, at, at) for at in which))


@given(st.lists(st.tuples(st.sampled_from("ab"), shares, shares), max_size=8))
def test_however_either_share_changes(turns: list[tuple[str, Spans, Spans]]) -> None:
    overlaps = Overlaps()
    for name, theirs, ours in turns:
        assert overlaps.of(name, theirs, ours) == theirs & ours


def test_who_is_gone_and_comes_again() -> None:
    overlaps = Overlaps()
    theirs, ours = Spans.parse("192.0.2.0/24"), Spans.parse("192.0.2.7", "192.0.3.7")
    for names in ("ab", "b", ""):
        assert overlaps.of("a", theirs, ours) == Spans.parse("192.0.2.7")
        overlaps.keep(names)
