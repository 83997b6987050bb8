"""dreamcache run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import echo, load, print_json
from jobs.cli.options import Cluster, Gallery, HandedPlan, Job, Json, OkWithFailures, Quiet, Set
from jobs.cli.report import end_with

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec

EXAMPLES = (
    "dreamcache run job.yaml",
    "dreamcache run job.yaml --set samples=2 --address auto",
    "dreamcache run job.yaml --prune --dry-run",
    "dreamcache run job.yaml --exclude-approved",
)


def run(
    job: Job,
    settings: Set = [],
    address: Cluster = None,
    gallery: Gallery = True,
    prune: Annotated[bool, typer.Option(help="Delete images of items that are planned no more.")] = False,
    exclude_approved: Annotated[
        bool,
        typer.Option(
            "--exclude-approved",
            help="Keep approved images, and generate nothing in their place, though settings have changed.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="With --prune: list these images, and run nothing.")] = False,
    ok_with_failures: OkWithFailures = False,
    plan: HandedPlan = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Generate all missing images of a job.

    The same command resumes a job that was stopped. Exit code 3: some items failed; 4: a limit was reached.
    """
    spec = load(job, settings)
    if dry_run:
        _list_orphans(spec, prune, as_json, keep_approved=exclude_approved)
        return
    from jobs.running.runner import run as run_job

    report = run_job(
        spec,
        gallery=gallery,
        quiet=quiet or as_json,
        address=address,
        prune=prune,
        keep_approved=exclude_approved,
        handed_over=plan,
    )
    end_with(report, as_json, ok_with_failures=ok_with_failures)


def _list_orphans(spec: JobSpec, prune: bool, as_json: bool, *, keep_approved: bool) -> None:
    from dreamcache.storage.ledger import Ledger
    from jobs.planning.planner import plan as make_plan
    from jobs.reconcile.prune import Unplannable, orphans

    if not prune:
        raise typer.BadParameter("goes with --prune; 'dreamcache plan' shows what a run would generate")
    job_plan = make_plan(spec, keep_approved=keep_approved)
    unplannable = Unplannable(job_plan)
    tables = orphans(job_plan, Ledger(spec.output), unplannable)
    keys = (f"{spec.output.rstrip('/')}/{key}" for table in tables for key in table["key"].to_pylist())
    if as_json:
        deleted = list(keys)
        print_json({"would_delete": deleted, "kept": unplannable.num_kept, "note": unplannable.note})
        return
    count = 0
    for key in keys:
        count += 1
        echo(key)
    echo(f"{count} images would be deleted")
    if unplannable.note:
        echo(f"note: {unplannable.note}")
