"""Where the time of a take-over went."""

from arpfast.ring.parts import Parts


def test_each_part_is_measured_from_the_event_that_began_it() -> None:
    parts = Parts()
    parts.note("member suspect", "b", 10.0)
    parts.note("member suspect", "c", 10.0)
    parts.note("silent on the wire", "b", 10.06)
    parts.note("member alive", "c", 10.1)
    parts.note("took over", "b", 10.0605)
    parts.note("took over", "c", 11.0)
    found = {part: (dict(buckets), round(sum_s, 4)) for part, buckets, sum_s in parts.histograms()}
    assert set(found) == {"suspected", "silent"}
    suspected, sum_s = found["suspected"]
    assert (suspected["0.05"], suspected["0.1"], suspected["+Inf"], sum_s) == (0, 1, 1, 0.06)
    assert (found["silent"][0]["0.001"], found["silent"][0]["+Inf"]) == (1, 1)
