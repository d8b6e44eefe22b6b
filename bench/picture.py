"""The ledgers as one SVG: a bar for the median of each answerer, a line over it from the least to the most."""

from __future__ import annotations

from html import escape
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING

from bench.ledger import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.ledger import Ledger, Series

WIDTH, LEFT, RIGHT, ROW = 960, 170, 110, 18
COLOURS = {
    "arpfast": "#1b7f5c", "arpfast xdp": "#12a150", "arpfast xdp-generic": "#6fae3f", "arpfast tc": "#2a8f9d",
    "kernel": "#555f6b", "cloop": "#b8862b", "ndppd": "#9c4a4a", "farpd": "#7a5aa0", "goresponder": "#3f6fb5",
    "keepalived": "#a83f7f", "reflector": "#222222",
}  # fmt: skip
OTHER = "#4f81a8"
"""Everybody has one colour, in all pictures."""
STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.case{fill:#555}"
    "path{stroke:#222;fill:none}"
)


class _Sheet:
    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 10

    def text(self, x: float, words: str, kind: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text x="{x:.0f}" y="{self.y + 13}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def rect(self, x: float, width: float, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{self.y + 3}" width="{max(width, 1):.1f}" height="{ROW - 5}" fill="{colour}"/>'
        )

    def line(self, start: float, end: float) -> None:
        middle = self.y + ROW / 2
        self.parts.append(
            f'<path d="M{start:.1f} {middle}H{end:.1f}M{start:.1f} {middle - 3}v6M{end:.1f} {middle - 3}v6"/>'
        )


def draw(ledgers: Iterable[Ledger]) -> str:
    """The picture."""
    sheet = _Sheet()
    for ledger in ledgers:
        sheet.text(10, ledger.title, "title")
        sheet.y += 24
        for (case, unit), group in groupby(ledger.series, key=lambda one: (one.case, one.unit)):
            sheet.text(10, f"{case} ({unit})" if unit else case, "case")
            sheet.y += ROW
            for _ in _bars(sheet, [series for series in group if series.values]):
                sheet.y += ROW
            sheet.y += 6
        sheet.y += 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{sheet.y}" viewBox="0 0 {WIDTH} {sheet.y}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(sheet.parts)}</svg>\n'
    )


def _bars(sheet: _Sheet, group: list[Series]) -> Iterator[None]:
    longest = max((max(series.values) for series in group), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    for series in sorted(group, key=lambda one: one.who != "arpfast"):
        sheet.text(LEFT - 8, series.who, anchor="end")
        middle = median(series.values)
        sheet.rect(LEFT, middle * scale, COLOURS.get(series.who, OTHER))
        sheet.line(LEFT + min(series.values) * scale, LEFT + max(series.values) * scale)
        sheet.text(LEFT + max(series.values) * scale + 8, shown(middle, series.unit))
        yield
