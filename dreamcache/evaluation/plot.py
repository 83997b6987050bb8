"""Charts as SVG text, without a plotting library: intervals by method, dots by subject, curves of a sweep.

No script, no font file; a browser and a Markdown viewer show them. Knows numbers and labels only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dreamcache.evaluation.bootstrap import Interval

COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#cb912f", "#5a5a5a", "#d44c47")
INK, FAINT, GROUND = "#222222", "#dddddd", "#ffffff"
ROW, LABELS, WIDE, TOP, BOTTOM = 24, 190, 420, 44, 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """points: (x, y, label of the point), in order of x. bars: (low, high) around each y, or none at all."""

    name: str
    points: Sequence[tuple[float, float, str]]
    bars: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """Numbers from `low` to `high` on pixels from `start` to `end`, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def interval_chart(title: str, rows: Mapping[str, Interval]) -> str:
    """One row per method: its mean and interval."""
    values = [value for row in rows.values() for value in (row.bounds or (row.mean, row.mean))]
    axis = _axis(values, LABELS, LABELS + WIDE)
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [_title(title), *_vertical_ticks(axis, TOP, height - BOTTOM)]
    for number, (name, row) in enumerate(rows.items()):
        y, colour = TOP + ROW * (number + 0.5), COLOURS[number % len(COLOURS)]
        parts.append(_text(LABELS - 10, y + 4, name, anchor="end"))
        if row.bounds is not None:
            parts.append(_line(axis.at(row.bounds[0]), y, axis.at(row.bounds[1]), y, colour, 3))
        parts.append(_dot(axis.at(row.mean), y, colour, f"{name}: {row}", 6))
        parts.append(_text(LABELS + WIDE + 10, y + 4, f"{row.mean:.3f}"))
    return _svg(LABELS + WIDE + 70, height, parts)


def subject_chart(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """One row per subject, one dot per method. rows: subject -> method -> mean."""
    methods = list(dict.fromkeys(method for row in rows.values() for method in row))
    colours = {method: COLOURS[i % len(COLOURS)] for i, method in enumerate(methods)}
    axis = _axis([value for row in rows.values() for value in row.values()], LABELS, LABELS + WIDE)
    height = TOP + 20 + 18 * len(rows) + BOTTOM
    parts = [_title(title), *_legend(colours, TOP), *_vertical_ticks(axis, TOP + 20, height - BOTTOM)]
    for number, (subject, row) in enumerate(rows.items()):
        y = TOP + 20 + 18 * (number + 0.5)
        parts.append(_text(LABELS - 10, y + 4, subject[:26], anchor="end"))
        for method, value in row.items():
            parts.append(_dot(axis.at(value), y, colours[method], f"{subject}, {method}: {value:.3f}", 4))
    return _svg(LABELS + WIDE + 70, height, parts)


def curve_chart(title: str, curves: Sequence[Curve], *, across: str, up: str) -> str:
    """Lines with dots; `across` and `up` name the axes."""
    left, right, top, bottom = 80, 560, 70, 380
    xs = _axis([x for curve in curves for x, _, _ in curve.points], left, right)
    heights = [y for curve in curves for _, y, _ in curve.points]
    heights += [end for curve in curves for bar in curve.bars for end in bar]
    ys = _axis(heights, bottom, top)
    colours = {curve.name: COLOURS[i % len(COLOURS)] for i, curve in enumerate(curves)}
    parts = [_title(title), *_legend(colours, TOP - 4), *_vertical_ticks(xs, top, bottom)]
    for tick in ys.ticks():
        parts.append(_line(left, ys.at(tick), right, ys.at(tick), FAINT, 1))
        parts.append(
            _text(left - 8, ys.at(tick) + 4, f"{tick:g}" if abs(tick) > 1e-12 else "0", anchor="end")
        )
    parts.append(_text((left + right) / 2, bottom + 36, across, anchor="middle"))
    parts.append(
        f'<text transform="translate(22 {(top + bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    for curve in curves:
        colour = colours[curve.name]
        positions = [(xs.at(x), ys.at(y)) for x, y, _ in curve.points]
        for (x, _), (low, high) in zip(positions, curve.bars, strict=False):
            parts.append(_line(x, ys.at(low), x, ys.at(high), colour, 1.5))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in positions)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, _, label) in zip(positions, curve.points, strict=True):
            parts.append(_dot(x, y, colour, f"{curve.name} {label}", 4))
            parts.append(_text(x + 6, y - 6, label, size=10))
    return _svg(right + 60, bottom + 56, parts)


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.08 * (high - low) or 0.05 * max(abs(high), 0.1)
    return Axis(low=low - pad, high=high + pad, start=start, end=end)


def _round_step(raw: float) -> float:
    power = 10 ** math.floor(math.log10(raw))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9)))


def _vertical_ticks(axis: Axis, top: float, bottom: float) -> list[str]:
    parts = []
    for tick in axis.ticks():
        parts.append(_line(axis.at(tick), top, axis.at(tick), bottom, FAINT, 1))
        text = f"{tick:g}" if abs(tick) > 1e-12 else "0"
        parts.append(_text(axis.at(tick), bottom + 16, text, anchor="middle"))
    return parts


def _legend(colours: Mapping[str, str], y: float) -> list[str]:
    parts, x = [], 20.0
    for name, colour in colours.items():
        parts.append(_dot(x, y, colour, name, 5))
        parts.append(_text(x + 10, y + 4, name))
        x += 30 + 7.2 * len(name)
    return parts


def _title(text: str) -> str:
    return f'<text x="20" y="24" font-size="15" font-weight="bold">{escape(text)}</text>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, width: float) -> str:
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _dot(x: float, y: float, colour: str, tooltip: str, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"><title>{escape(tooltip)}</title></circle>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
    )
    head += f'height="{height:.0f}" font-family="sans-serif" font-size="12" fill="{INK}">'
    return "\n".join([head, f'<rect width="100%" height="100%" fill="{GROUND}"/>', *parts, "</svg>\n"])
