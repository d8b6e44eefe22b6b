"""The hashes that members must agree on, whatever machine they run on, and what the C refuses to take."""

from __future__ import annotations

import pytest

from arpfast.rendezvous import Fitness, Poll, Roll
from arpfast.spans import Span, Spans
from tests.arpfast.electing import score

NAMES = ["alpha", "beta", "gamma", "knoten-ä"]
SPANS = [
    Span.parse(text) for text in ("0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "2001:db8::/64", "ff00::/8", "::/0")
]
SCORES = {
    ("192.0.2.1", "alpha"): 10848663309671781216,
    ("192.0.2.1", "beta"): 9243935493346141794,
    ("2001:db8::1", "alpha"): 15197628774505639731,
    ("2001:db8::/64", "knoten-ä"): 12673767490499962619,
}
ABLE = bytes(len(NAMES))


def roll() -> Roll:
    return Roll(Spans.parse("192.0.2.0/30").spans, {})


def poll() -> Poll:
    return Poll(roll(), NAMES, [1] * 4, [0] * 4, [ABLE], [(0, 0)])


@pytest.mark.parametrize(("text", "name"), SCORES)
def test_the_score_is_this_number_on_every_machine(text: str, name: str) -> None:
    assert score(Span.parse(text), name) == SCORES[text, name]


@pytest.mark.parametrize("span", SPANS, ids=str)
def test_a_single_unit_goes_to_the_highest_score(span: Span) -> None:
    runs, wholes = ((Span(span.version, span.first, span.first),), {} if span.size == 1 else {0: span})
    alone = Poll(Roll(runs, wholes), NAMES, [1] * 4, [0] * 4, [ABLE], [(0, 0)])
    order = sorted(range(4), key=lambda index: -score(span, NAMES[index]))
    gone = bytearray(4)
    nobody = b"\xff" * 4
    for index in order:
        (owner,) = memoryview(alone.balanced(nobody, bytes(gone))).cast("i")
        assert owner == index
        gone[index] = True
    assert alone.balanced(nobody, bytes(gone)) == nobody


def test_scores_spread_evenly() -> None:
    spans = [Span(6, value, value) for value in range(0x20010DB8 << 96, (0x20010DB8 << 96) + 4000)]
    first = [max(NAMES, key=lambda name: score(span, name)) for span in spans]
    assert all(880 < first.count(name) < 1120 for name in NAMES)


def test_what_does_not_fit_the_roll_is_refused() -> None:
    short = b"\xff" * 12
    enough = b"\xff" * 16
    with pytest.raises(ValueError, match="expected holders of 4 units, not 12 bytes"):
        poll().balanced(short, ABLE)
    with pytest.raises(ValueError, match="expected 4 flags, not 3"):
        poll().balanced(enough, bytes(3))
    with pytest.raises(ValueError, match="expected 32 bytes for each of 4 units, not 32"):
        poll().first([bytes(32)] * 4, enough, ABLE)
    with pytest.raises(ValueError, match="expected labels for 4 units, not 12 bytes"):
        roll().gather(short, 1)
    with pytest.raises(ValueError, match="expected at most 268435456 units"):
        Roll((Span.parse("0.0.0.0/0"),), {})
    with pytest.raises(IndexError, match="expected a unit below 4 and a candidate below 4"):
        poll().fitness(4, 0)


def test_a_poll_knows_how_everybody_stands() -> None:
    rows = [bytes([0, 1, 2, 3]), bytes([4, 5, 6, 0])]
    some = Poll(roll(), NAMES, [1] * 4, [0] * 4, rows, [(0, 0), (3, 1)])
    assert [some.fitness(unit, 0) for unit in range(4)] == [Fitness.ABLE] * 3 + [Fitness.UNHEALTHY]
    assert some.fitness(3, 2) is Fitness.REFUSED
