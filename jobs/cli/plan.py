"""dreamcache plan."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamcache.core.web_url import is_web
from jobs.cli.common import echo, load, print_json
from jobs.cli.options import Job, Json, Set

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec
    from jobs.planning.estimate import Estimate
    from jobs.planning.planner import Plan
    from jobs.reconcile.changes import Changes

EXAMPLES = ("dreamcache plan job.yaml", "dreamcache plan job.yaml --calibrate 16 --json")
SHOWN_ROWS = 20


def plan(
    job: Job,
    settings: Set = [],
    calibrate: Annotated[
        int, typer.Option(help="Generate so many items here, unrecorded, to estimate the time.", min=0)
    ] = 0,
    verify_photos: Annotated[
        bool, typer.Option(help="Read every photo, those too that the photo index knows unchanged.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            help="A running Ray cluster (host:port or http://): state what of the job does not fit there."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a job would do; run nothing.

    Nothing is written but the photo index beside the cache.

    Items are new, unchanged, changed or orphaned; the estimate states passes and bytes. Photos outside the catalog's
    roots are counted by root, with the catalog_roots and catalog_hosts lines that let the job read them.
    """
    from dreamcache.inference.facts import note_of
    from jobs.planning.estimate import estimate_plan
    from jobs.planning.planner import plan as make_plan

    spec = load(job, settings)
    job_plan = make_plan(spec, verify_photos=verify_photos)
    note = "; ".join(one for one in (note_of(spec, job_plan.facts), *job_plan.notes) if one) or None
    changes = _changes(job_plan)
    estimate = estimate_plan(job_plan, calibrate, changes.counts.pending)
    missing = _misfits(spec, address)
    if as_json:
        print_json({**_as_dict(job_plan, changes, estimate, note), "misfits": missing})
    else:
        lines = _lines(job_plan, changes, estimate, note)
        lines += [f"does not fit: {text}; a run waits for such a node" for text in missing]
        echo("\n".join(lines))


def _changes(job_plan: Plan) -> Changes:
    """Against what the output holds."""
    from dreamcache.storage.ledger import Ledger
    from jobs.output.reader import scan_outputs_if_any
    from jobs.reconcile.changes import OLD_COLUMNS, find_changes
    from jobs.reconcile.join import Join

    output = job_plan.spec.output
    with Join(job_plan.files, Ledger(output).scan()) as join:
        return find_changes(join, scan_outputs_if_any(output, columns=OLD_COLUMNS))


def _misfits(spec: JobSpec, address: str | None) -> list[str]:
    """What does not fit on the cluster at this address; nothing is asked without one."""
    from jobs.cluster.capacity import Node, misfits
    from jobs.doctor.cluster import Reporter

    address = address or os.environ.get("RAY_ADDRESS")
    if not address or address == "local":
        return []
    from dreamcache.inference.facts import family_of_job

    reporter = Reporter(spec, address, only_capacity=True)
    try:
        nodes = [Node(**node) for node in reporter.ask()["capacity"]]
    finally:
        reporter.close()
    return misfits(spec.workers, nodes, encodes=family_of_job(spec).caches_features)


def _as_dict(job_plan: Plan, changes: Changes, estimate: Estimate, note: str | None) -> dict[str, Any]:
    from jobs.planning.marks import marks_of

    columns = ["subject_id", "prompt", "code", "message"]
    return {
        "estimate": estimate.as_dict(),
        "plan": job_plan.fingerprint,
        "subjects": job_plan.num_subjects,
        "items": job_plan.num_items,
        "repeated_prompts": job_plan.num_repeated_prompts,
        **asdict(changes.counts),
        **{name: getattr(changes, name) for name in ("new", "unchanged", "changed")},
        "orphans": {name: getattr(changes, name) for name in ("replaced", "dropped", "removed")},
        "note": note,
        "marks": marks_of(job_plan.spec.provenance).as_dict(),
        **_outside(job_plan),
        "photos": asdict(job_plan.photos),
        "left_out": dict(job_plan.left_out.counts),
        "cannot_run": [row for table in job_plan.unrunnable() for row in table.select(columns).to_pylist()],
    }


def _outside(job_plan: Plan) -> dict[str, Any]:
    """Roots that the catalog names and the job file does not, and the line that would name them."""
    from jobs.planning.outside import hosts_line, setting_line

    roots = [{"root": root, "photos": photos} for root, photos in job_plan.outside_roots]
    named = [root for root, _ in job_plan.outside_roots if not is_web(root)]
    sites = [root for root, _ in job_plan.outside_roots if is_web(root)]
    line = setting_line(job_plan.spec.catalog_roots, named) if named else None
    of_hosts = {"catalog_hosts_line": hosts_line(job_plan.spec.catalog_hosts, sites)} if sites else {}
    return {"outside_roots": roots, "catalog_roots_line": line, **of_hosts}


def _photo_lines(job_plan: Plan) -> list[str]:
    photos = job_plan.photos
    return [f"photos: {photos.read:,} read, {photos.known:,} known unchanged", *photos.notes]


def _printable(root: str) -> str:
    return root if root.isprintable() else ascii(root)[1:-1]


def _outside_lines(job_plan: Plan) -> list[str]:
    outside = _outside(job_plan)
    if not outside["outside_roots"]:
        return []
    lines = ["photos outside the catalog's folder or bucket and outside catalog_roots, which are not read:"]
    lines += [f"  {_printable(one['root'])}  {one['photos']}" for one in outside["outside_roots"]]
    return [
        *lines,
        "if these locations are yours, put this line into the job file:",
        *(outside[key] for key in ("catalog_roots_line", "catalog_hosts_line") if outside.get(key)),
    ]


def _lines(job_plan: Plan, changes: Changes, estimate: Estimate, note: str | None) -> list[str]:
    from jobs.formatting import format_count
    from jobs.planning.marks import marks_of

    counts = changes.counts
    items = format_count(job_plan.num_items, "item")
    subjects = format_count(job_plan.num_subjects, "subject")
    lines = [
        f"{items} of {subjects} -> {job_plan.spec.output}",
        f"new {changes.new}  unchanged {changes.unchanged}  changed {changes.changed}  orphaned {changes.orphaned}",
        f"done {counts.done}  failed {counts.failed + counts.blocked}  to generate {counts.pending}",
    ]
    if counts.orphaned:
        lines.append(
            f"orphans since the last manifest: replaced {changes.replaced}  dropped {changes.dropped}  "
            f"removed with their subject {changes.removed}; 'dreamcache run --prune' deletes their images"
        )
    lines += [
        *job_plan.left_out.lines(),
        *_photo_lines(job_plan),
        *estimate.lines(),
        marks_of(job_plan.spec.provenance).line(),
        *_outside_lines(job_plan),
    ]
    if note:
        lines.append(f"note: {note}")
    if job_plan.num_repeated_prompts:
        lines.append(f"{job_plan.num_repeated_prompts} repeated prompts are planned once")
    for row in job_plan.first_unrunnable(SHOWN_ROWS):
        lines.append(f"cannot run [{row['code']}] {row['message']}")
    if job_plan.num_unrunnable > SHOWN_ROWS:
        lines.append(f"... and {job_plan.num_unrunnable - SHOWN_ROWS} more; --json shows all")
    return lines
