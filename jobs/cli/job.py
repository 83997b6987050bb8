"""The verbs of a job: plan, run, status, retry, gallery."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import (
    JOB_HELP,
    JSON_HELP,
    PLACE_HELP,
    SET_HELP,
    load,
    output_of,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec
    from jobs.running.runner import Report

Job = Annotated[str, typer.Argument(help=JOB_HELP)]
Place = Annotated[str, typer.Argument(help=PLACE_HELP)]
Set = Annotated[list[str], typer.Option("--set", help=SET_HELP)]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster; without it one is started here.")]

SHOWN_ROWS = 20

Calibrate = Annotated[
    int, typer.Option(help="Make so many items here, unrecorded, to estimate the time.", min=0)
]


def plan(job: Job, settings: Set = [], calibrate: Calibrate = 0, as_json: Json = False) -> None:
    """Show what a job would do: items new, unchanged, changed and orphaned. Runs nothing, writes nothing."""
    from dreamcache.inference.facts import trained_otherwise
    from dreamcache.storage.ledger import Ledger
    from jobs.output.reader import scan_outputs_if_any
    from jobs.planning.estimate import estimate_plan
    from jobs.planning.planner import plan as make_plan
    from jobs.reconcile.changes import OLD_COLUMNS, find_changes
    from jobs.reconcile.join import Join

    spec = load(job, settings)
    made = make_plan(spec)
    note = trained_otherwise(spec, made.facts.adapter)
    with Join(made.files, Ledger(spec.output).scan()) as join:
        changes = find_changes(join, scan_outputs_if_any(spec.output, columns=OLD_COLUMNS))
    counts = changes.counts
    guess = estimate_plan(made, calibrate, counts.pending)
    if as_json:
        columns = ["subject_id", "prompt", "code", "message"]
        print_json(
            {
                "estimate": guess.as_dict(),
                "plan": made.fingerprint,
                "subjects": made.num_subjects,
                "items": made.num_items,
                "repeated_prompts": made.num_repeated_prompts,
                **asdict(counts),
                **{name: getattr(changes, name) for name in ("new", "unchanged", "changed")},
                "orphans": {name: getattr(changes, name) for name in ("replaced", "dropped", "removed")},
                "note": note,
                "cannot_run": [row for table in made.unable() for row in table.select(columns).to_pylist()],
            }
        )
        return
    typer.echo(f"{made.num_items} items of {made.num_subjects} subjects -> {spec.output}")
    typer.echo(
        f"new {changes.new}  unchanged {changes.unchanged}  changed {changes.changed}  orphaned {changes.orphaned}"
    )
    typer.echo(f"done {counts.done}  failed {counts.failed + counts.blocked}  to make {counts.pending}")
    if counts.orphaned:
        typer.echo(
            f"orphans since the last manifest: replaced {changes.replaced}  dropped {changes.dropped}  "
            f"removed with their subject {changes.removed}; 'dreamcache run --prune' deletes their images"
        )
    for line in guess.lines():
        typer.echo(line)
    if note:
        typer.echo(f"note: {note}")
    if made.num_repeated_prompts:
        typer.echo(f"{made.num_repeated_prompts} repeated prompts are planned once")
    for row in made.first_unable(SHOWN_ROWS):
        typer.echo(f"cannot run [{row['code']}] {row['message']}")
    if made.num_unable > SHOWN_ROWS:
        typer.echo(f"... and {made.num_unable - SHOWN_ROWS} more; --json shows all")


def run(
    job: Job,
    settings: Set = [],
    address: Address = None,
    gallery: Annotated[bool, typer.Option(help="Write the gallery page.")] = True,
    prune: Annotated[bool, typer.Option(help="Delete images of items that are planned no more.")] = False,
    dry_run: Annotated[bool, typer.Option(help="With --prune: list these images, and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make all images of a job that are not made yet. The same command continues a job that was stopped."""
    spec = load(job, settings)
    if dry_run:
        _list_orphans(spec, prune, as_json)
        return
    from jobs.running.runner import run as run_job

    _end(run_job(spec, gallery=gallery, quiet=as_json, address=address, prune=prune), as_json)


def _list_orphans(spec: JobSpec, prune: bool, as_json: bool) -> None:
    from dreamcache.storage.ledger import Ledger
    from jobs.planning.planner import plan as make_plan
    from jobs.reconcile.prune import orphans, why_not

    if not prune:
        raise typer.BadParameter("goes with --prune; what a run would make is told by 'dreamcache plan'")
    made = make_plan(spec)
    reason = why_not(made)
    found = orphans(made, Ledger(spec.output)) if reason is None else ()
    keys = (f"{spec.output.rstrip('/')}/{key}" for table in found for key in table["key"].to_pylist())
    if as_json:
        print_json({"would_delete": list(keys), "why_not": reason})
        return
    if reason:
        typer.echo(reason)
    number = 0
    for number, key in enumerate(keys, start=1):  # noqa: B007 - the number is told at the end
        typer.echo(key)
    typer.echo(f"{number} images would be deleted")


def retry(
    job: Job,
    reason: Annotated[list[str], typer.Option(help="Only these reason codes. May be repeated.")] = [],
    state: Annotated[list[str], typer.Option("--status", help="Only failed or only blocked items.")] = [],
    dry_run: Annotated[
        bool, typer.Option(help="Count them by reason, as of the last manifest; run nothing.")
    ] = False,
    settings: Set = [],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Try failed and blocked items again; items not run yet are run too."""
    from jobs.running.retry import chooser, count_reasons

    spec, chosen = load(job, settings), chooser(reason, state)
    if dry_run:
        found = count_reasons(spec.output, reason, state)
        columns = ("status", "code", "items", "example")
        if as_json:
            print_json(found)
        else:
            print_table(columns, [[row[name] for name in columns] for row in found])
        return
    from jobs.running.runner import run as run_job

    _end(run_job(spec, retry=chosen, quiet=as_json, address=address), as_json)


def status(
    place: Annotated[str, typer.Argument(help=PLACE_HELP + " Or a submitted job's id.")],
    address: Annotated[
        str | None,
        typer.Option(help="Also ask this cluster, http://HEAD:8265, for the submitted job's state."),
    ] = None,
    as_json: Json = False,
) -> None:
    """How a job stands, read from its output folder; works when no cluster is left."""
    from dreamcache.core.errors import StorageError
    from jobs.cli.cluster import find, print_attempt
    from jobs.output.folder import OutputFolder

    output, attempt = find(place, address)
    folder = OutputFolder(output)
    found = folder.read_json("status.json")
    if found is None and attempt is None:
        raise StorageError(f"output '{folder.uri}': has no status.json; no job has run there", code="no_job")
    found = found or {}
    found["manifest"] = folder.read_json("manifest.json")
    found["cluster"] = asdict(attempt) if attempt else None
    if as_json:
        print_json(found)
        return
    if attempt:
        print_attempt(attempt)
    if "state" not in found:
        typer.echo(f"output '{folder.uri}': has no status.json yet")
        return
    if found.get("kind") == "training":
        from jobs.train.progress import progress_line

        typer.echo(f"training {found['job']}: {found['state']}, as of {found['updated_at']}")
        typer.echo(progress_line(found))
        return
    now = found["this_run"]
    typer.echo(f"job {found['job']}: {found['state']}, as of {found['updated_at']}")
    failed = now["failed"] + now["blocked"]
    line = f"this run: done {now['done']}  failed {failed}  left {now['left']} of {now['total']}"
    if now["eta_s"] is not None and now["left"]:
        line += f"  {now['images_per_s']} images/s  ETA {now['eta_s']:.0f} s"
    typer.echo(line)
    if found["manifest"]:
        counts = found["manifest"]["counts"]
        typer.echo("manifest: " + "  ".join(f"{name} {counts[name]}" for name in sorted(counts)))


def gallery(place: Place) -> None:
    """Write the gallery page again from the manifest, and print where it is."""
    from jobs.gallery import ITEM_LIMIT
    from jobs.output.folder import OutputFolder
    from jobs.output.publish_gallery import publish_gallery
    from jobs.output.reader import first_outputs

    folder = OutputFolder(output_of(place))
    rows, _ = first_outputs(folder.uri, ITEM_LIMIT)
    typer.echo(publish_gallery(folder.read_json("manifest.json"), rows, folder))


def _end(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
    else:
        counts = report.counts
        typer.echo(
            f"done {counts.done}  failed {counts.failed + counts.blocked}  pending {counts.pending}  "
            f"of {counts.total} items in {report.seconds:.0f} s, {report.made} made by this run"
        )
        if report.pruned:
            typer.echo(f"pruned {report.pruned} images that are planned no more")
        if report.stopped:
            typer.echo(f"stopped: {report.stopped}; the same command with a higher limit goes on from here")
        if report.exit_code == 3:
            typer.echo(f"why: {report.output}/failed.csv; mend the cause, then 'dreamcache retry'")
        typer.echo(f"manifest: {report.output}/manifest.parquet")
        if report.gallery:
            typer.echo(f"gallery: {report.gallery}")
    raise typer.Exit(report.exit_code)
