"""A Status in words: the line that a run prints while it goes, and what `dreamcache status` prints of it later.

Knows Status and the formats of numbers; knows nothing of where a status comes from.
"""

from __future__ import annotations

from typing import Any

from dreamcache.storage.run_state import SeenRun
from dreamcache.storage.status import Status
from jobs.formatting import format_count, format_duration, format_rate
from jobs.output.cost import of_status

SHOWN_NOTES = 20


def detail_of(status: Status, *, has_ended: bool | None = None) -> str:
    """E.g. "done 118  failed 2  remaining 280  3.21 images/s  ETA 1:27"; no rate and no ETA of what has ended.

    Before the first outcomes it states instead for how long workers have been starting. has_ended: as seen from
    outside; None for what the status records.
    """
    if status.kind == "training":
        loss = status.details.get("loss")
        parts = [f"loss {loss:.4f}" if isinstance(loss, int | float) else "loss -"]
    else:
        parts = [f"done {status.done}", f"failed {status.failed}", f"remaining {status.remaining}"]
    if (status.has_ended if has_ended is None else has_ended) or status.remaining <= 0:
        return "  ".join(parts)
    if not status.rate and status.startup_s is not None:
        return "  ".join([*parts, _starting(status)])
    rate = [format_rate(status.rate, status.rate_unit)] if status.rate else []
    return "  ".join([*parts, *rate, f"ETA {format_duration(status.eta_s)}"])


def _starting(status: Status) -> str:
    if status.first_batch_s is None:
        return f"starting workers {status.startup_s:.0f} s"
    return f"workers started in {status.startup_s:.0f} s, first batch {status.first_batch_s:.0f} s"


def status_lines(status: Status, outcome: SeenRun) -> list[str]:
    """What a person reads of a run, a fact a line. outcome: as the run is seen now."""
    stage = f", {status.stage}" if status.stage and not outcome.has_ended else ""
    lines = [f"{status.kind} {status.name}: {outcome.state}{stage}, updated {status.updated_at}"]
    if outcome.reason:
        lines.append(f"reason: {outcome.reason}")
    if status.total or not outcome.has_ended:
        detail = detail_of(status, has_ended=outcome.has_ended)
        lines.append(f"{status.unit} {status.done}/{status.total}  {detail}")
    lines += _this_run(status)
    lines.append(f"elapsed: {format_duration(status.elapsed_s)}, cluster: {status.address or 'local'}")
    if status.driver is not None:
        lines.append(
            f"driver: process {status.driver.pid} on {status.driver.host}, run {status.driver.run_id}"
        )
    if cost := of_status(dict(status.details), status.done):
        lines.append(cost.line())
    lines += [f"{name}: {_text(value)}" for name, value in _shown(status)]
    hidden = len(status.notes) - SHOWN_NOTES
    lines += [f"note: {note}" for note in status.notes[-SHOWN_NOTES:]]
    return [*lines, *([f"{format_count(hidden, 'older note')}: --json shows them"] if hidden > 0 else [])]


def _this_run(status: Status) -> list[str]:
    """What this run has done of what it had to do."""
    run = status.this_run
    if not run:
        return []
    ended = sum(count for name, count in run.items() if name != "total")
    if not run.get("total"):
        return ["this run: nothing was left to do"]
    started = f"; workers started in {status.startup_s:.0f} s" if status.first_batch_s is not None else ""
    return [f"this run: {ended} of {run['total']} {status.unit} ended, {run.get('done', 0)} done{started}"]


def _shown(status: Status) -> list[tuple[str, Any]]:
    """Details that help a person; all of them are in `--json`."""
    names = ("resumed_from", "adapter", "counts", "report", "dataset")
    return [(name.replace("_", " "), status.details[name]) for name in names if status.details.get(name)]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_text(item)}" for name, item in value.items() if item not in (None, {}, 0))
    return str(value)
