"""The timeline's picture: well-formed for whatever events hold, and a panel a run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from jobs.output.timeline import timeline_svg

SVG = "{http://www.w3.org/2000/svg}"


def event(second: float, name: str, /, run: str = "a", **facts: Any) -> dict[str, Any]:
    minute, rest = divmod(second, 60)
    return {"at": f"2026-11-27T08:{int(minute):02d}:{rest:06.3f}+00:00", "run": run, "event": name, **facts}


DAY = [
    event(0, "started", kind="job", name="autumn"),
    event(2, "progress", counts={"done": 0}, total=10),
    event(3, "worker_started", worker="w", kind="generator"),
    event(9, "worker_ready", worker="w", kind="generator"),
    event(20, "progress", counts={"done": 5, "failed": 1}, total=10),
    event(21, "worker_lost", worker="w", kind="generator"),
    event(22, "note", text='a "note" of <b>someone</b> & others\x1b[31m'),
    event(50, "times", kind="encoder", workers=1, batches=2, ready_s=40.0, busy_s=4.0),
    event(50, "times", kind="generator", workers=1, batches=2, ready_s=40.0, busy_s=39.5),
    event(60, "started", run="b", kind="job", name="autumn"),
    event(90, "finished", run="b", counts={"done": 9, "failed": 1}, total=10),
]


def texts_of(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_each_run_has_a_panel_with_its_end() -> None:
    titles = [text for text in texts_of(timeline_svg(DAY)) if text.startswith("job autumn")]
    assert [title.rsplit("  ", 1)[1] for title in titles] == ["lost", "finished"]
    assert "encoders idle 90%  generators idle 1%  lost" in titles[0] and "idle" not in titles[1]
    svg = ElementTree.fromstring(timeline_svg(DAY))
    assert len(list(svg.iter(f"{SVG}polyline"))) == 4
    assert any("someone" in "".join(one.itertext()) for one in svg.iter(f"{SVG}title"))


def test_a_run_that_is_at_work_is_shown_so() -> None:
    texts = texts_of(timeline_svg(DAY[:6], state="running"))
    assert any(text.endswith("running") for text in texts)


def test_strange_events_cost_themselves_only() -> None:
    strange = [
        {"at": "", "run": "", "event": "unreadable", "line": "x"},
        event(5, "progress", counts=[], total="many"),
        event(6, "progress", counts={"done": -5}, total=None),
        event(7, "note", text={"a": "\ufffe"}),
        event(8, "worker_ready", worker=["x"]),
        event(8, "times", kind=None, ready_s="long", busy_s=1),
        event(8, "times", kind="generator"),
        event(9, "no such event"),
    ]
    assert (
        texts_of(timeline_svg([]))
        and texts_of(timeline_svg(strange))
        and texts_of(timeline_svg(DAY + strange))
    )
