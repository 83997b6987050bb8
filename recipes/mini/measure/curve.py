"""Charts over training: errors with the right, no and a wrong reference, and retrieval of snapshots; one SVG each.

The gap between right and none says that the adapters help, that between right and wrong that they read identity.
Knows numbers only; the product renders the charts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamcache.evaluation.plot import Curve, curve_chart

Points = list[tuple[float, float]]
_ACROSS = "pictures seen, thousands"


def run(points: Path, folder: Path, batch: int) -> None:
    """Write curve-LEVEL.svg for each level of curve.jsonl, and curve-retrieval.svg where retrieval.jsonl is beside it.

    batch: pictures of one step.
    """
    rows = _read(points)
    folder.mkdir(parents=True, exist_ok=True)
    for level in sorted({row["level"] for row in rows}):
        title = f"error of v on the object, t = {level}"
        _write(folder / f"curve-{level}.svg", title, "error", errors_by_images(rows, level, batch))
    snapshots = points.with_name("retrieval.jsonl")
    if snapshots.exists():
        rows = _read(snapshots)
        lines = {name: [(row["images"], row[name]) for row in rows] for name in ("adapters", "text only")}
        _write(folder / "curve-retrieval.svg", "held-out designs retrieved", "retrieval@1", lines)


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


def _write(path: Path, title: str, up: str, lines: Mapping[str, Points]) -> None:
    curves = []
    for name, points in lines.items():
        labels = [""] * (len(points) - 1) + [f"{points[-1][1]:.2f}"]  # the last value alone, for room
        values = [(x / 1000, y, label) for (x, y), label in zip(points, labels, strict=True)]
        curves.append(Curve(name=name, points=values))
    path.write_text(curve_chart(title, curves, across=_ACROSS, up=up), "utf-8")
    print(path, flush=True)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
