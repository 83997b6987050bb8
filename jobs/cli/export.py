"""dreamcache export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import check_choice, check_place, echo, filters_of, output_of, print_json
from jobs.cli.export_channel import BaseUrl, CutOut, Preset, Unsigned, Upscale, channel_export
from jobs.cli.options import Approved, Json, OkWithFailures, Place, Quiet, ShardSize, Subject, Where

if TYPE_CHECKING:
    from jobs.export.export import Exported

EXAMPLES = (
    "dreamcache export job.yaml s3://bucket/shop",
    "dreamcache export job.yaml images --layout '{subject_id}/{sample}-{item_id}.{ext}'",
    "dreamcache export s3://bucket/jobs/autumn list.csv --to csv --where color=red",
    "dreamcache export job.yaml images --approved",
    "dreamcache export job.yaml channel --preset google-merchant --base-url https://cdn.example/shop",
)
SHOWN_LOST = 20


def export(
    place: Place,
    target: Annotated[str, typer.Argument(help="Folder or s3:// URI; with --to csv, the list's file.")],
    subject: Subject = None,
    where: Where = [],
    approved: Approved = False,
    form: Annotated[
        str, typer.Option("--to", help="Form of the export: folder, csv, hf or webdataset.")
    ] = "folder",
    layout: Annotated[
        str | None,
        typer.Option(help="Names of files, e.g. '{subject_id}/{sample}-{item_id}.{ext}'; any column."),
    ] = None,
    on_collision: Annotated[
        str,
        typer.Option(help="Rows that would share a name: 'error', or 'number' (item's digits are added)."),
    ] = "error",
    shard_mb: ShardSize = 500,
    preset: Preset = None,
    base_url: BaseUrl = None,
    upscale: Upscale = False,
    cut_out: CutOut = None,
    unsigned: Unsigned = False,
    dry_run: Annotated[bool, typer.Option(help="With --preset: write the report alone.")] = False,
    ok_with_failures: OkWithFailures = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Copy images under names of your own.

    The same command resumes an export that was stopped. With --preset, images are prepared for a sales channel, judged
    by its published rules, and listed in its feed. Exit code 3: some images are lost, or refused by a rule.
    """
    from jobs.export import export_outputs

    check_place(target)
    filters = filters_of(where, subject_id=subject, review="approved" if approved else None)
    if preset is not None:
        channel_export(
            place,
            target,
            preset,
            where=filters,
            base_url=base_url,
            upscale=upscale,
            cut_out=cut_out,
            unsigned=unsigned,
            dry_run=dry_run,
            ok_with_failures=ok_with_failures,
            quiet=quiet,
            as_json=as_json,
        )
    check_choice("--on-collision", on_collision, ("error", "number"))
    result = export_outputs(
        output_of(place),
        target,
        form=form,
        layout=layout,
        where=filters,
        numbered=on_collision == "number",
        shard_bytes=shard_mb * 1_000_000,
        quiet=quiet or as_json,
    )
    if as_json:
        print_json(result.as_dict())
    else:
        echo("\n".join(_lines(result)))
    raise typer.Exit(3 if result.num_lost and not ok_with_failures else 0)


def _lines(result: Exported) -> Iterator[str]:
    from jobs.formatting import format_bytes

    size = f", {format_bytes(result.num_bytes)}" if result.form != "csv" else ""
    yield f"{result.target}: {result.written} written{size}, {result.kept} were there, of {result.rows}"
    if result.skipped:
        listed = ", ".join(f"{count} {status}" for status, count in result.skipped.items())
        yield f"skipped, since they have no image: {listed}"
    if result.renamed:
        yield f"{result.renamed} names were shared; their items' first digits were added"
    for loss in result.lost[:SHOWN_LOST]:
        yield f"lost: {loss['message']}"
