"""A figure: one curve for each answerer, both axes logarithmic, each curve with its name at its end.

A point is the median over the rounds of what was measured, in either direction; the bar through it is the interval of
`ledger.interval`. Where an axis would have to show zero, the point is left out.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from bench.ledger import interval, reduce, shown
from bench.picture import COLOURS, OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.ledger import Curve

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 560, 90, 190, 50, 60
LABEL = 15
"""The least distance between two names."""
STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.axis{fill:#555}"
    ".grid{stroke:#ddd}.curve{fill:none;stroke-width:2}"
)


class _Scale:
    """From values to places, in decades."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        logs = [log10(value) for value in values]
        self.low, self.high = floor(min(logs)), max(ceil(max(logs)), floor(min(logs)) + 1)
        self._start, self._step = start, (end - start) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        return self._start + (log10(value) - self.low) * self._step

    def decades(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def draw(curves: Sequence[Curve]) -> str:
    """The figure for curves of one title and one pair of units."""
    traced = [(curve, _points(curve)) for curve in curves]
    traced = [(curve, points) for curve, points in traced if points]
    first = curves[0]
    parts = [f'<text x="{LEFT}" y="24" class="title">{escape(first.figure)}</text>']
    if traced:
        x = _Scale((at for _, points in traced for at, *_ in points), LEFT, WIDTH - RIGHT)
        heights = (height for _, points in traced for _, *some in points for height in some)
        y = _Scale(heights, HEIGHT - BOTTOM, TOP)
        parts += _grid(x, y, first)
        parts += [_line(x, y, points, COLOURS.get(curve.who, OTHER)) for curve, points in traced]
        parts += _names((y(points[-1][1]), x(points[-1][0]), curve.who) for curve, points in traced)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _points(curve: Curve) -> list[tuple[float, float, float, float]]:
    """Where a point is, its height, and the ends of its bar."""
    found = []
    for point in curve.points:
        at, height = reduce(point.xs, "median"), reduce(point.ys, "median")
        low, high, _ = interval(point.ys)
        if at > 0 and low > 0:
            found.append((at, height, low, high))
    return sorted(found)


def _grid(x: _Scale, y: _Scale, curve: Curve) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<path class="grid" d="M{x(at):.1f} {TOP}V{bottom}"/>' for at in x.decades()]
    parts += [f'<path class="grid" d="M{LEFT} {y(at):.1f}H{right}"/>' for at in y.decades()]
    for at in x.decades():
        told = escape(shown(at, curve.x_unit))
        parts.append(f'<text class="axis" x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle">{told}</text>')
    for at in y.decades():
        told = escape(shown(at, curve.unit))
        parts.append(f'<text class="axis" x="{LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end">{told}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 16}" text-anchor="middle">{escape(curve.x)}</text>')
    return parts


def _line(x: _Scale, y: _Scale, points: list[tuple[float, float, float, float]], colour: str) -> str:
    path = "L".join(f"{x(at):.1f} {y(height):.1f}" for at, height, *_ in points)
    bars = "".join(f"M{x(at):.1f} {y(low):.1f}V{y(high):.1f}" for at, _, low, high in points)
    dots = "".join(
        f'<circle cx="{x(at):.1f}" cy="{y(height):.1f}" r="3" fill="{colour}"/>' for at, height, *_ in points
    )
    return f'<path class="curve" stroke="{colour}" d="M{path}"/><path stroke="{colour}" d="{bars}"/>{dots}'


def _names(ends: Iterable[tuple[float, float, str]]) -> list[str]:
    """A name beside the end of each curve, pushed down where another is in the way."""
    parts, lowest = [], 0.0
    for y, x, who in sorted(ends):
        at = max(y, lowest + LABEL)
        lowest, colour = at, COLOURS.get(who, OTHER)
        name = f'<text x="{WIDTH - RIGHT + 22}" y="{at + 4:.1f}" style="fill:{colour}">{escape(who)}</text>'
        leader = f'<path stroke="{colour}" opacity=".4" d="M{x + 4:.1f} {y:.1f}L{WIDTH - RIGHT + 19} {at:.1f}"/>'
        parts.append(leader + name)
    return parts
