"""A plot of growth as SVG: time over size, both on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 360, 60, 20, 110, 45
_NAME, _LINE = 70, 16  # length and height of a curve's name
_FONT = 'font-family="sans-serif" font-size="12"'
_COLORS = ("#1a73e8", "#d93025", "#188038", "#9334e6")


def curves(rows: Sequence[dict[str, Any]]) -> str:
    """Return an SVG of each row's points, in milliseconds."""
    points = {row["what"]: [(x, y * 1000) for x, y in row["points"]] for row in rows}
    flat = [point for some in points.values() for point in some]
    right = math.ceil(math.log10(max(x for x, _ in flat)))
    low = math.floor(math.log10(min(y for _, y in flat)))
    high = math.ceil(math.log10(max(y for _, y in flat)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log10(x) / right * (_WIDTH - _LEFT - _RIGHT)
        up = (math.log10(y) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for power in range(right + 1):
        x, y = place(10**power, 10**low)
        parts += [_line(x, y, x, _TOP), _text(x, y + 16, f"{10**power:,}", "middle")]
    for power in range(low, high + 1):
        x, y = place(1, 10**power)
        parts += [_line(x, y, _WIDTH - _RIGHT, y), _text(x - 6, y + 4, f"{10.0**power:g}", "end")]
    parts.append(_text(_LEFT, _TOP - 6, "milliseconds a look", "start"))
    parts.append(_text((_WIDTH + _LEFT - _RIGHT) / 2, _HEIGHT - 8, "size", "middle"))
    ends = [place(*some[-1]) for some in points.values()]
    for color, (name, some) in zip(_COLORS, points.items(), strict=True):
        places = [place(x, y) for x, y in some]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        x, y = places[-1]
        in_the_way = any(0 < u - x < _NAME and abs(v - y) < _LINE for u, v in ends)
        shift, anchor = (-8, "end") if in_the_way else (8, "start")
        parts.append(_text(x + shift, y + 4, name, anchor, color))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, words: str, anchor: str, color: str = "#444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{words}</text>'
