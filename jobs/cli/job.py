"""The verbs of a job: plan, run, status, retry, outputs, gallery."""

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
    from jobs.runner import Report

Job = Annotated[str, typer.Argument(help=JOB_HELP)]
Place = Annotated[str, typer.Argument(help=PLACE_HELP)]
Set = Annotated[list[str], typer.Option("--set", help=SET_HELP)]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster; without it one is started here.")]


def plan(job: Job, settings: Set = [], as_json: Json = False) -> None:
    """Show what a job would do: items new, done and failed so far. Runs nothing, writes nothing."""
    from dreamcache.storage.ledger import Ledger
    from jobs.manifest import count
    from jobs.planner import plan as make_plan

    spec = load(job, settings)
    made = make_plan(spec)
    counts = count(made.table["item_id"].to_pylist(), Ledger(spec.output).outcomes())
    bad = [
        row
        for row in made.table.select(["subject_id", "prompt", "code", "message"]).to_pylist()
        if row["code"]
    ]
    if as_json:
        print_json(
            {
                "plan": made.fingerprint,
                "subjects": made.num_subjects,
                "items": made.num_items,
                "repeated_prompts": made.num_repeated_prompts,
                **asdict(counts),
                "cannot_run": bad,
            }
        )
        return
    typer.echo(f"{made.num_items} items of {made.num_subjects} subjects -> {spec.output}")
    typer.echo(
        f"new {counts.pending}  done {counts.done}  failed {counts.failed + counts.blocked}  orphaned {counts.orphaned}"
    )
    if made.num_repeated_prompts:
        typer.echo(f"{made.num_repeated_prompts} repeated prompts are planned once")
    for row in bad[:20]:
        typer.echo(f"cannot run [{row['code']}] {row['message']}")
    if len(bad) > 20:
        typer.echo(f"... and {len(bad) - 20} more; --json shows all")


def run(
    job: Job,
    settings: Set = [],
    address: Address = None,
    gallery: Annotated[bool, typer.Option(help="Write the gallery page.")] = True,
    as_json: Json = False,
) -> None:
    """Make all images of a job that are not made yet. The same command continues a job that was stopped."""
    from jobs.runner import run as run_job

    _end(run_job(load(job, settings), gallery=gallery, quiet=as_json, address=address), as_json)


def retry(
    job: Job,
    reason: Annotated[list[str], typer.Option(help="Only these reason codes. May be repeated.")] = [],
    settings: Set = [],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Try failed and blocked items again; items not run yet are run too."""
    from jobs.runner import run as run_job

    def chosen(outcome: object) -> bool:
        return not reason or getattr(outcome, "code", None) in reason

    _end(run_job(load(job, settings), retry=chosen, quiet=as_json, address=address), as_json)


def status(
    place: Annotated[str, typer.Argument(help=PLACE_HELP + " Or a submitted job's id.")],
    address: Annotated[
        str | None,
        typer.Option(help="Also ask this cluster, http://HEAD:8265, for the submitted job's state."),
    ] = None,
    as_json: Json = False,
) -> None:
    """How a job stands, read from its output folder; works when no cluster is left."""
    from dreamcache.errors import StorageError
    from jobs.cli.cluster import find, print_attempt
    from jobs.output_folder import OutputFolder

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
        from jobs.train_progress import progress_line

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


def outputs(
    place: Place,
    subject: Annotated[str | None, typer.Option(help="One subject_id.")] = None,
    state: Annotated[str | None, typer.Option("--status", help="done, blocked, failed or pending.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows; 0 for all.")] = 50,
    as_json: Json = False,
) -> None:
    """List images and their records from the manifest."""
    from jobs.reader import outputs as read_outputs

    table = read_outputs(output_of(place), status=state, subject=subject)
    rows = (table.slice(0, limit) if limit else table).to_pylist()
    if as_json:
        print_json(rows)
        return
    columns = ("subject_id", "status", "prompt", "sample", "uri", "code")
    print_table(columns, [[row[name] for name in columns] for row in rows])
    if len(rows) < table.num_rows:
        typer.echo(f"... {table.num_rows - len(rows)} more; --limit 0 shows all")


def gallery(place: Place) -> None:
    """Write the gallery page again from the manifest, and print where it is."""
    from jobs.output_folder import OutputFolder
    from jobs.publish_gallery import publish_gallery
    from jobs.reader import outputs as read_outputs

    folder = OutputFolder(output_of(place))
    summary = folder.read_json("manifest.json") or {}
    typer.echo(publish_gallery(str(summary.get("job", "job")), read_outputs(folder.uri), folder))


def _end(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
    else:
        counts = report.counts
        typer.echo(
            f"done {counts.done}  failed {counts.failed + counts.blocked}  pending {counts.pending}  "
            f"of {counts.total} items in {report.seconds:.0f} s, {report.made} made by this run"
        )
        if report.exit_code:
            typer.echo(f"why: {report.output}/failed.csv; mend the cause, then 'dreamcache retry'")
        typer.echo(f"manifest: {report.output}/manifest.parquet")
        if report.gallery:
            typer.echo(f"gallery: {report.gallery}")
    raise typer.Exit(report.exit_code)
