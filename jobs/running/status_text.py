"""A Status in words: the line that a run prints while it goes, and what `dreamcache status` prints of it later.

Knows Status and the formats of numbers; knows nothing of where a status comes from.
"""

from __future__ import annotations

from typing import Any

from dreamcache.storage.status import Status
from jobs.formatting import format_duration, format_rate


def detail_of(status: Status) -> str:
    """E.g. "done 118  failed 2  remaining 280  3.21 images/s  ETA 1:27"; no rate and no ETA of what has ended.

    Before the first outcomes there is no rate, and the ETA is "-".
    """
    if status.kind == "training":
        loss = status.details.get("loss")
        parts = [f"loss {loss:.4f}" if isinstance(loss, int | float) else "loss -"]
    else:
        parts = [f"done {status.counts.get('done', 0)}", f"failed {status.failed}"]
        parts.append(f"remaining {status.remaining}")
    if not status.has_ended and status.remaining > 0:
        rate = [format_rate(status.rate, status.rate_unit)] if status.rate else []
        parts += [*rate, f"ETA {format_duration(status.eta_s)}"]
    return "  ".join(parts)


def status_lines(status: Status) -> list[str]:
    """What a person reads of a run, a fact a line."""
    stage = f", {status.stage}" if status.stage and not status.has_ended else ""
    lines = [f"{status.kind} {status.name}: {status.state}{stage}, updated {status.updated_at}"]
    if status.exit_reason:
        lines.append(f"reason: {status.exit_reason}")
    if status.total or not status.has_ended:
        lines.append(f"this run: {status.unit} {status.ended}/{status.total}  {detail_of(status)}")
    lines.append(f"elapsed: {format_duration(status.elapsed_s)}, cluster: {status.address or 'local'}")
    lines += [f"{name}: {_text(value)}" for name, value in _shown(status)]
    lines += [f"note: {note}" for note in status.notes]
    return lines


def _shown(status: Status) -> list[tuple[str, Any]]:
    """Details that help a person; all of them are in `--json`."""
    names = ("resumed_from", "adapter", "counts", "report", "dataset")
    return [(name.replace("_", " "), status.details[name]) for name in names if status.details.get(name)]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_text(item)}" for name, item in value.items() if item not in (None, {}, 0))
    return str(value)
