"""Plots as SVG text: lines or stacked areas with labelled axes. No package needed, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from .record import Plot, Series

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 40, 48
COLOURS = ("#3b6fd4", "#d9822b", "#2e9e6b", "#a45bc2", "#c23b4b")
MAX_POINTS = 400

At = Callable[[float], float]


def draw(plot: Plot) -> str:
    """One `<svg>` element."""
    lines = [_thin(series) for series in plot.series]
    if plot.stacked:
        lines = _stack(lines)
    x_low, x_high = _span([x for line in lines for x in line.x])
    y_ticks = _ticks(0.0, max([y for line in lines for y in line.y] or [1.0]), 4)
    y_ticks.append(2 * y_ticks[-1] - y_ticks[-2])  # the highest point lies below the highest tick
    y_high = y_ticks[-1]

    def at_x(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - y / y_high * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.title)}">',
        *_axes(plot, [x for x in _ticks(x_low, x_high, 6) if x <= x_high], y_ticks, at_x, at_y),
    ]
    order = range(len(lines) - 1, -1, -1) if plot.stacked else range(len(lines))
    for i in order:
        colour = COLOURS[i % len(COLOURS)]
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(lines[i].x, lines[i].y, strict=True))
        if plot.stacked and lines[i].x:
            floor = f"{at_x(lines[i].x[-1]):.1f},{at_y(0):.1f} {at_x(lines[i].x[0]):.1f},{at_y(0):.1f}"
            parts.append(f'<polygon points="{points} {floor}" fill="{colour}"/>')
        else:
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for n, mark in enumerate(plot.marks):
        x = at_x(mark.x)
        anchor, shift = ("end", -4) if x > WIDTH / 2 else ("start", 4)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        place = f'x="{x + shift:.1f}" y="{TOP + 12 + 14 * (n % 3)}" text-anchor="{anchor}"'
        parts.append(f'<text class="note" {place}>{escape(mark.what)}</text>')
    parts += [*_legend(plot), "</svg>"]
    return "".join(parts)


def _axes(plot: Plot, x_ticks: list[float], y_ticks: list[float], at_x: At, at_y: At) -> list[str]:
    parts = []
    for y in y_ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{y:,g}</text>'
        )
    for x in x_ticks:
        parts.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,g}</text>')
    middle, turn = (LEFT + WIDTH - RIGHT) / 2, f"translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(plot.x_label)}</text>'
        f'<text transform="{turn}" text-anchor="middle">{escape(plot.y_label)}</text>'
    )
    return parts


def _legend(plot: Plot) -> list[str]:
    parts, x = [], LEFT
    for i, series in enumerate(plot.series):
        colour = COLOURS[i % len(COLOURS)]
        parts.append(
            f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
            f'<text x="{x + 18}" y="22">{escape(series.name)}</text>'
        )
        x += 18 + 8 * len(series.name) + 22
    return parts


def _thin(series: Series) -> Series:
    """At most `MAX_POINTS` of its points, the last one included."""
    step = max(1, math.ceil(len(series.x) / MAX_POINTS))
    keep = sorted({*range(0, len(series.x), step), len(series.x) - 1} - {-1})
    return Series(series.name, tuple(series.x[i] for i in keep), tuple(series.y[i] for i in keep))


def _stack(lines: Sequence[Series]) -> list[Series]:
    """Each line on top of those before it; all have the same x."""
    stacked: list[Series] = []
    for line in lines:
        below = stacked[-1].y if stacked else (0.0,) * len(line.y)
        stacked.append(Series(line.name, line.x, tuple(a + b for a, b in zip(below, line.y, strict=True))))
    return stacked


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about so many and at least two."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= span / about * 0.999999)
    first = math.ceil(low / step - 1e-9)
    count = max(2, math.floor(high / step + 1e-9) - first + 1)
    return [round((first + k) * step, 10) for k in range(count)]
