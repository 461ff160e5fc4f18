"""The processing figures as bars, in SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.measuring import Figure

_LABELS = 400  # pixels
_BARS = 440
_ROW = 20
_TOP = 64
_COLOURS = {True: "#2f6db5", False: "#a9b1ba"}


def picture(figures: Sequence[Figure], facts: Mapping[str, str]) -> str:
    """One bar for each figure, on a logarithmic scale: the slowest and the fastest are a thousandfold apart."""
    ordered = sorted(figures, key=lambda figure: -figure.spread.median)
    lowest = 10 ** math.floor(math.log10(min(figure.spread.low for figure in ordered)))
    highest = 10 ** math.ceil(math.log10(max(figure.spread.high for figure in ordered)))
    decades = math.log10(highest / lowest)

    def x(value: float) -> float:
        return _LABELS + math.log10(value / lowest) / decades * _BARS

    width, height = _LABELS + _BARS + 90, _TOP + _ROW * len(ordered) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="15" font-weight="bold">Items a second, processing alone (medians, min to max; '
        "logarithmic)</text>",
        f'<text x="10" y="38" fill="#555">{escape(facts["server"])}, durable; {escape(facts["machine"])}; '
        "blue: Reliable Imports</text>",
    ]
    for power in range(round(decades) + 1):
        value = lowest * 10**power
        parts.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{_TOP - 4}" y2="{height - 12}" stroke="#ddd"/>'
            f'<text x="{x(value):.1f}" y="{_TOP - 8}" text-anchor="middle" fill="#555">{value:,.0f}</text>'
        )
    for index, figure in enumerate(ordered):
        parts += _bar(figure, _TOP + index * _ROW, x)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(figure: Figure, top: int, x: object) -> list[str]:
    assert callable(x)
    spread, middle = figure.spread, top + _ROW / 2
    end = x(spread.median)
    return [
        f'<text x="{_LABELS - 8}" y="{middle + 4}" text-anchor="end">'
        f"{escape(figure.name)}, {escape(figure.setting)}</text>",
        f'<rect x="{_LABELS}" y="{top + 3}" width="{end - _LABELS:.1f}" height="{_ROW - 6}" '
        f'fill="{_COLOURS[figure.name.startswith("ours")]}"/>',
        f'<line x1="{x(spread.low):.1f}" x2="{x(spread.high):.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
        f'<text x="{x(spread.high) + 6:.1f}" y="{middle + 4}">{spread.median:,.0f}</text>',
    ]
