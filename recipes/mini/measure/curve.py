"""The curve over training: errors with the right, no and a wrong reference, and retrieval of snapshots, as one SVG.

The gap between right and none says that the adapters help, that between right and wrong that they read identity.
Written by hand: a plot library would be a dependency for one picture. Knows numbers only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Points = list[tuple[float, float]]

_COLORS = {
    "right": "#1a7f37",
    "none": "#6e7781",
    "wrong": "#cf222e",
    "adapters": "#1a7f37",
    "text only": "#6e7781",
}
_WIDTH, _HEIGHT, _LEFT, _TOP, _BETWEEN = 210, 170, 46, 34, 52
_AXES = '<path d="M{x} {y}v{h}h{w}" fill="none" stroke="#57606a"/>'
_TEXT = '<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def run(points: Path, to: Path, batch: int) -> None:
    """Charts of curve.jsonl, and of retrieval.jsonl beside it if there is one (see `append_retrieval`)."""
    rows = _read(points)
    panels = [
        (f"error of v on the object, t = {level}", errors_by_images(rows, level, batch))
        for level in sorted({row["level"] for row in rows})
    ]
    snapshots = points.with_name("retrieval.jsonl")
    if snapshots.exists():
        rows = _read(snapshots)
        lines = {name: [(row["images"], row[name]) for row in rows] for name in ("adapters", "text only")}
        panels.append(("retrieval@1 of 100 held-out designs", lines))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(svg(panels), "utf-8")
    print(f"{to}: {len(panels)} panels", flush=True)


def append_retrieval(points: Path, images: int, report: dict[str, Any]) -> None:
    """Adds a snapshot's retrieval to retrieval.jsonl beside curve.jsonl. report: the benchmark's.

    images: how many pictures the snapshot had been trained on.
    """
    group = next(iter(report["retrieval"].values()))
    arms = next(iter(group["finders"].values()))
    row = {"images": images, **{name: arms[name]["retrieval@1"][0] for name in ("adapters", "text only")}}
    with points.with_name("retrieval.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def errors_by_images(rows: Sequence[dict[str, Any]], level: int, batch: int) -> dict[str, Points]:
    """{"right" | "none" | "wrong": [(images seen, error), ...]} at one noise level."""
    chosen = [row for row in rows if row["level"] == level]
    return {name: [(row["step"] * batch, row[name]) for row in chosen] for name in ("right", "none", "wrong")}


def svg(panels: Sequence[tuple[str, dict[str, Points]]]) -> str:
    """Panels beside each other: a title and lines by name, x in thousands of pictures, y from 0."""
    width = _LEFT + len(panels) * (_WIDTH + _BETWEEN)
    height = _TOP + _HEIGHT + 44
    parts = [_panel(_LEFT + i * (_WIDTH + _BETWEEN), title, lines) for i, (title, lines) in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(left: float, title: str, lines: dict[str, Points]) -> str:
    most_x = max(x for points in lines.values() for x, _ in points) or 1.0
    most_y = max(1.0, *(y for points in lines.values() for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / most_x * _WIDTH, _TOP + (1 - y / most_y) * _HEIGHT

    parts = [
        _AXES.format(x=left, y=_TOP, h=_HEIGHT, w=_WIDTH),
        _text(left + _WIDTH / 2, _TOP - 16, title, "middle"),
        _text(left + _WIDTH / 2, _TOP + _HEIGHT + 32, "pictures seen, thousands", "middle"),
        _text(left, _TOP + _HEIGHT + 15, "0", "middle"),
        _text(left + _WIDTH, _TOP + _HEIGHT + 15, f"{most_x / 1000:.0f}", "middle"),
        _text(left - 5, _TOP + 4, f"{most_y:.1f}", "end"),
        _text(left - 5, _TOP + _HEIGHT, "0", "end"),
    ]
    for name, points in lines.items():
        color = _COLORS[name]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = at(*points[-1])
        parts.append(_text(x - 2, y - 6, f"{name} {points[-1][1]:.2f}", "end", color))
    return "\n".join(parts)


def _text(x: float, y: float, text: str, anchor: str, fill: str = "#24292f") -> str:
    return _TEXT.format(x=x, y=y, anchor=anchor, fill=fill, text=text)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
