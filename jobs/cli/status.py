"""dreamcache status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import echo, print_json
from jobs.cli.options import PLACE_HELP, Json

if TYPE_CHECKING:
    from dreamcache.storage.json_object import JsonObject
    from dreamcache.storage.run_state import SeenRun
    from dreamcache.storage.status import Status

EXAMPLES = (
    "dreamcache status job.yaml",
    "dreamcache status s3://bucket/jobs/autumn --json",
    "dreamcache status job.yaml --timeline runs.svg",
    "dreamcache status dreamcache-autumn-0123456789ab --address http://head:8265",
)

Asked = Annotated[
    str | None, typer.Option(help="Also ask this cluster, http://HEAD:8265, for the submitted job's state.")
]
Timeline = Annotated[
    str | None, typer.Option(help="Also write a picture of all runs, from their events: FILE.svg.")
]


def status(
    place: Annotated[str, typer.Argument(help=PLACE_HELP + " Or a submitted job's id.")],
    address: Asked = None,
    timeline: Timeline = None,
    as_json: Json = False,
) -> None:
    """Show the state of a run, from its output folder.

    Works for jobs, evaluations, syntheses and trainings, also when no cluster is left.
    """
    from dreamcache.core.errors import StorageError
    from dreamcache.storage.run_state import as_seen
    from dreamcache.storage.status import read_status
    from jobs.cli.attempts import attempt_line, find
    from jobs.cluster.observe import seen_beside
    from jobs.output.folder import OutputFolder
    from jobs.output.recount import recounted
    from jobs.review.counts import counts_for_status

    output, attempt = find(place, address)
    stored = read_status(output)
    if stored is None and attempt is None:
        raise StorageError(f"output '{output}': has no status.json; no job has run there", code="no_job")
    manifest = OutputFolder(output).read_summary()
    outcome = seen_beside(stored, attempt)
    stored = recounted(output, stored, outcome) if stored else None
    reviewed = counts_for_status(output, manifest)
    if timeline is not None:
        _write_timeline(output, timeline, outcome.state)
    if as_json:
        state = (
            as_seen(stored, outcome) if stored else {"state": outcome.state, "exit_reason": outcome.reason}
        )
        cluster = asdict(attempt) if attempt else None
        print_json({**state, "manifest": manifest, "review": reviewed, "cluster": cluster})
        return
    lines = [attempt_line(attempt)] if attempt else []
    lines += _lines(output, stored, outcome, manifest) + _review_lines(reviewed)
    echo("\n".join(lines))


def _review_lines(reviewed: Mapping[str, int] | None) -> list[str]:
    if reviewed is None:
        return []
    return ["review: " + "  ".join(f"{name} {count}" for name, count in reviewed.items())]


def _lines(output: str, stored: Status | None, outcome: SeenRun, manifest: JsonObject | None) -> list[str]:
    from jobs.running.status_text import status_lines

    lines = status_lines(stored, outcome) if stored else [f"output '{output}': has no status.json yet"]
    if stored is None and outcome.reason:
        lines.append(f"reason: {outcome.reason}")
    if manifest and "counts" in manifest:
        counts = manifest["counts"]
        lines.append("manifest: " + "  ".join(f"{name} {counts[name]}" for name in sorted(counts)))
    return lines


def _write_timeline(output: str, path: str, state: str) -> None:
    from pathlib import Path

    from dreamcache.storage.events import read_events
    from jobs.output.timeline import timeline_svg

    if not path.lower().endswith(".svg"):
        raise typer.BadParameter(f"--timeline {path}: must be a file with the ending .svg")
    svg = timeline_svg((event for _, event in read_events(output)), state=state)
    Path(path).write_text(svg, "utf-8")
    typer.echo(f"timeline: {path}", err=True)
