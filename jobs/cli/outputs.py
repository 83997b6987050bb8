"""dreamcache outputs."""

from __future__ import annotations

from typing import Annotated

import typer

from dreamcache.core.errors import SpecError
from jobs.cli.common import check_choice, echo, filters_of, output_of, print_json, print_table
from jobs.cli.options import Json, Place, Subject, Where

EXAMPLES = (
    "dreamcache outputs job.yaml",
    "dreamcache outputs s3://bucket/jobs/autumn --status failed --limit 0",
    "dreamcache outputs job.yaml --where color=red --json",
)
STATUSES = ("done", "blocked", "failed", "pending")
COLUMNS = ("subject_id", "status", "prompt", "sample", "uri", "code")
MOVED = ("--export", "--to", "--layout", "--on-collision", "--shard-mb")
"""Options of the time when an export was a part of this verb."""


def outputs(
    place: Place,
    subject: Subject = None,
    state: Annotated[str | None, typer.Option("--status", help=f"One of {', '.join(STATUSES)}.")] = None,
    where: Where = [],
    limit: Annotated[int, typer.Option(help="At most so many rows are shown; 0 for all.", min=0)] = 50,
    moved: Annotated[list[str], typer.Option(*MOVED, hidden=True)] = [],
    as_json: Json = False,
) -> None:
    """List images and their records.

    The manifest, or the rows as of now while a run is at work or was killed.

    'dreamcache export' copies them.
    """
    from jobs.export.rows import Rows

    if moved:
        raise SpecError("outputs --export: is a command of its own; use 'dreamcache export PLACE TARGET'")
    check_choice("--status", state, STATUSES)
    matches = Rows(output_of(place), filters_of(where, subject_id=subject, status=state))
    if matches.manifest.is_live:
        typer.echo(
            "no run has ended with these rows: they are joined from plan and ledger as of now", err=True
        )
    rows, count = [], 0
    for row in matches:
        count += 1
        if not limit or count <= limit:
            rows.append(row)
    if as_json:
        print_json(rows)
        return
    print_table(COLUMNS, [[row.get(name) for name in COLUMNS] for row in rows])
    if len(rows) < count:
        echo(f"... {count - len(rows)} more; --limit 0 shows all")
