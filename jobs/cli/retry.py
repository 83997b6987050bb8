"""dreamcache retry."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import load, print_json, print_table
from jobs.cli.options import Cluster, Job, Json, OkWithFailures, Quiet, Reason, Set
from jobs.cli.report import end_with

EXAMPLES = (
    "dreamcache retry job.yaml",
    "dreamcache retry job.yaml --reason missing_image",
    "dreamcache retry job.yaml --status blocked --dry-run",
)


def retry(
    job: Job,
    reason: Reason = [],
    state: Annotated[list[str], typer.Option("--status", help="Only failed or only blocked items.")] = [],
    dry_run: Annotated[
        bool, typer.Option(help="Count them by reason, as of the last manifest; run nothing.")
    ] = False,
    settings: Set = [],
    address: Cluster = None,
    ok_with_failures: OkWithFailures = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Try failed and blocked items again.

    Items that have not run yet are run too. Exit codes are those of 'dreamcache run'.
    """
    from jobs.running.retry import chooser, count_reasons

    spec, chosen = load(job, settings), chooser(reason, state)
    if dry_run:
        rows = count_reasons(spec.output, reason, state)
        columns = ("status", "code", "items", "example")
        if as_json:
            print_json(rows)
        else:
            print_table(columns, [[row[name] for name in columns] for row in rows])
        return
    from jobs.running.runner import run as run_job

    report = run_job(spec, retry=chosen, quiet=quiet or as_json, address=address)
    end_with(report, as_json, ok_with_failures=ok_with_failures)
