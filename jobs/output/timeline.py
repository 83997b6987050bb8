"""The timeline of an output's runs as one picture: SVG, from the events alone.

    events -> runs side by side on one axis of time: images done, workers, what went wrong -> SVG

Knows events; knows nothing of Ray. Long pauses between runs are not to scale: each run has its own panel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from xml.sax.saxutils import escape

from dreamcache.storage.events import Event
from jobs.formatting import format_duration

WIDTH, PANEL, LEFT, TOP, PLOT = 980, 210, 70, 46, 120
MOST_RUNS, MOST_MARKS = 40, 400
MARKS = {
    "worker_lost": ("#c0392b", "worker lost"),
    "retried": ("#e67e22", "retried"),
    "quarantined": ("#8e44ad", "quarantined"),
    "note": ("#7f8c8d", "note"),
    "planning_failed": ("#d35400", "failed at planning"),
}
ENDS = {"finished": "#2e8b57", "stopped": "#b8860b", "failed": "#c0392b"}
STATES = {"starting": "#d9b36c", "ready": "#4f81bd"}


@dataclass(kw_only=True, slots=True)
class _Run:
    """Events of one run, times in seconds from its first."""

    run_id: str
    began: datetime
    length: float = 1.0
    name: str = ""
    end: str = "lost"
    reason: str = ""
    total: int = 0
    points: list[tuple[float, int, int]] = field(default_factory=list)
    marks: list[tuple[float, str, str]] = field(default_factory=list)
    workers: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    idle: dict[str, float] = field(default_factory=dict)


def timeline_svg(events: Iterable[Event], *, state: str | None = None) -> str:
    """The picture. state: of the newest run as it is seen now, where its events do not state its end."""
    runs = _runs(events)[-MOST_RUNS:]
    if runs and runs[-1].end == "lost" and state is not None:
        runs[-1].end = state
    height = TOP + max(1, len(runs)) * PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_legend(),
    ]
    if not runs:
        parts.append(_text(LEFT, TOP + 30, "no events were recorded"))
    for number, run in enumerate(runs):
        parts += _panel(run, TOP + number * PANEL)
    return "\n".join([*parts, "</svg>\n"])


def _runs(events: Iterable[Event]) -> list[_Run]:
    runs: dict[str, _Run] = {}
    for event in events:
        if event["event"] == "unreadable":
            continue
        at = datetime.fromisoformat(event["at"])
        run = runs.setdefault(event["run"], _Run(run_id=event["run"], began=at))
        try:
            _add(run, event, max(0.0, (at - run.began).total_seconds()))
        except (TypeError, ValueError, KeyError, AttributeError):
            continue  # a line that another program has written
    return sorted(runs.values(), key=lambda run: run.began.timestamp())


def _add(run: _Run, event: Event, second: float) -> None:
    kind = event["event"]
    run.length = max(run.length, second)
    if kind == "started":
        run.name = f"{event.get('kind', 'run')} {event.get('name', '')}"
    if kind in ENDS:
        run.end, run.reason = kind, str(event.get("reason") or "")
    if kind in ("progress", *ENDS):
        counts = event.get("counts") or {}
        run.total = max(run.total, int(event.get("total") or 0))
        failed = int(counts.get("failed", 0)) + int(counts.get("blocked", 0))
        run.points.append((second, int(counts.get("done", 0)), failed))
    if kind in MARKS and len(run.marks) < MOST_MARKS:
        run.marks.append(
            (second, kind, str(event.get("text") or event.get("code") or event.get("codes") or ""))
        )
    if kind == "times" and float(event["ready_s"]) > 0:
        run.idle[str(event["kind"])] = 1 - float(event["busy_s"]) / float(event["ready_s"])
    if kind.startswith("worker_") and event.get("worker"):
        run.workers[f"{event.get('kind', 'worker')} {event['worker']}"].append(
            (second, kind.removeprefix("worker_"))
        )


def _panel(run: _Run, top: int) -> list[str]:
    width = WIDTH - LEFT - 30
    most = max(1, run.total)
    bottom = top + 26 + PLOT

    def x(second: float) -> float:
        return round(LEFT + width * second / run.length, 1)

    def y(count: int) -> float:
        return round(bottom - PLOT * min(count, most) / most, 1)

    colour = ENDS.get(run.end, "#c0392b" if run.end == "lost" else "#4f81bd")
    reason = f": {run.reason}" if run.reason else ""
    began = run.began.strftime("%Y-%m-%d %H:%M:%S UTC")
    idle = "".join(f"  {kind}s idle {share:.0%}" for kind, share in sorted(run.idle.items()))
    title = f"{run.name}  {began}  {format_duration(run.length)}{idle}  {run.end}{reason}"
    parts = [
        _text(LEFT, top + 14, title[:150], fill=colour, weight="bold"),
        f'<rect x="{LEFT}" y="{top + 26}" width="{width}" height="{PLOT}" fill="#f7f7f7" stroke="#ccc"/>',
        _text(LEFT - 8, top + 34, str(run.total), anchor="end"),
        _text(LEFT - 8, bottom, "0", anchor="end"),
    ]
    for quarter in range(5):
        second = run.length * quarter / 4
        text = format_duration(second) if run.length >= 10 else f"{second:.1f} s"
        parts.append(_text(x(second), bottom + 14, text, anchor="middle", fill="#555"))
    parts += _workers(run, x, bottom)
    for index, line in ((1, "#2e8b57"), (2, "#c0392b")):
        # Counts stand until the next event: steps, as nothing is known in between.
        steps = _steps([(second, values[index - 1]) for second, *values in run.points], run.length)
        path = " ".join(f"{x(second)},{y(count)}" for second, count in steps)
        if path and (index == 1 or any(point[2] for point in run.points)):
            parts.append(f'<polyline points="{path}" fill="none" stroke="{line}" stroke-width="2"/>')
    for second, kind, text in run.marks:
        mark, label = MARKS[kind]
        parts.append(
            f'<g><title>{_safe(f"{label} {text}"[:300])}</title><line x1="{x(second)}" x2="{x(second)}" '
            f'y1="{top + 26}" y2="{bottom}" stroke="{mark}" stroke-dasharray="3 2" stroke-width="1.5"/></g>'
        )
    return parts


def _workers(run: _Run, x: object, bottom: int) -> list[str]:
    """A bar a worker below the plot: starting, then ready; a gap where its process died."""
    parts = []
    for number, (name, changes) in enumerate(sorted(run.workers.items())[:6]):
        y = bottom + 20 + number * 5
        ends = [second for second, _ in changes[1:]] + [run.length]
        for (second, change), end in zip(changes, ends, strict=True):
            state = {"started": "starting", "ready": "ready"}.get(change)
            if state and callable(x):
                width = max(1.0, x(end) - x(second))
                parts.append(
                    f'<rect x="{x(second)}" y="{y}" width="{width:.1f}" height="4" fill="{STATES[state]}">'
                    f"<title>{_safe(name)}: {state}</title></rect>"
                )
    return parts


def _steps(points: Sequence[tuple[float, int]], length: float) -> list[tuple[float, int]]:
    steps: list[tuple[float, int]] = []
    for second, count in points:
        if steps:
            steps.append((second, steps[-1][1]))
        steps.append((second, count))
    return [*steps, (length, steps[-1][1])] if steps else []


def _legend() -> list[str]:
    entries = [("#2e8b57", "done"), ("#c0392b", "failed or blocked"), (STATES["starting"], "worker starting")]
    entries += [(STATES["ready"], "worker ready"), *MARKS.values()]
    parts, left = [], LEFT
    for colour, label in entries:
        parts.append(f'<rect x="{left}" y="14" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(left + 14, 23, label))
        left += 26 + int(6.4 * len(label))
    return parts


def _text(
    x: float, y: float, text: str, *, fill: str = "#222", anchor: str = "start", weight: str = "normal"
) -> str:
    return f'<text x="{x}" y="{y}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    """For XML: markup escaped, and without the characters that no XML may hold."""
    return escape("".join(char for char in text if char.isprintable()))
