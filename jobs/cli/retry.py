"""dreamcache retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from jobs.cli.common import load, print_json, print_table
from jobs.cli.options import Cluster, HandedPlan, Job, Json, OkWithFailures, Quiet, Reason, Set
from jobs.cli.report import end_with

EXAMPLES = (
    "dreamcache retry job.yaml",
    "dreamcache retry job.yaml --reason missing_image",
    "dreamcache retry job.yaml --status blocked --dry-run",
    "dreamcache retry job.yaml --rejected",
)

Rejected = Annotated[
    bool,
    typer.Option(
        "--rejected", help="Generate rejected images again, from the next seed; approved ones stay."
    ),
]
DryRun = Annotated[bool, typer.Option(help="Count them by reason, as of the last manifest; run nothing.")]


def retry(
    job: Job,
    reason: Reason = [],
    state: Annotated[list[str], typer.Option("--status", help="Only failed or only blocked items.")] = [],
    rejected: Rejected = False,
    dry_run: DryRun = False,
    settings: Set = [],
    address: Cluster = None,
    ok_with_failures: OkWithFailures = False,
    plan: HandedPlan = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Try failed, blocked or rejected items again.

    Items that have not run yet are run too. With --rejected, failed and blocked ones only if --status names them.
    Exit codes are those of 'dreamcache run'.
    """
    from jobs.review.rejected import count_rejected, replace_rejected
    from jobs.running.retry import chooser, count_reasons

    spec, tries_recorded = load(job, settings), bool(state) or not rejected
    chosen = chooser(reason, state) if tries_recorded else None
    if dry_run:
        rows = count_rejected(spec.output, reason) if rejected else []
        rows += count_reasons(spec.output, reason, state) if tries_recorded else []
        _show(rows, as_json)
        return
    from jobs.running.runner import run as run_job

    if rejected:
        replace_rejected(spec.output, reason)
    quiet = quiet or as_json
    report = run_job(
        spec, retry=chosen, quiet=quiet, address=address, keep_approved=rejected, handed_over=plan
    )
    end_with(report, as_json, ok_with_failures=ok_with_failures)


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    columns = ("status", "code", "items", "example")
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [[row[name] for name in columns] for row in rows])
