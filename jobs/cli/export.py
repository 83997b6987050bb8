"""dreamcache export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from dreamcache.core.errors import SpecError
from jobs.cli.common import check_choice, check_place, echo, filters_of, output_of, print_json
from jobs.cli.export_channel import (
    BaseUrl,
    ChannelFlags,
    CutOut,
    DryRun,
    Preset,
    Unsigned,
    Upscale,
    channel_export,
    channel_lines,
)
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


Target = Annotated[str, typer.Argument(help="Folder or s3:// URI; with --to csv, the list's file.")]
Form = Annotated[str, typer.Option("--to", help="Form of the export: folder, csv, hf or webdataset.")]
Layout = Annotated[
    str | None, typer.Option(help="Names of files, e.g. '{subject_id}/{sample}-{item_id}.{ext}'; any column.")
]
OnCollision = Annotated[
    str, typer.Option(help="Rows that would share a name: 'error', or 'number' (item's digits are added).")
]


def export(
    place: Place,
    target: Target,
    subject: Subject = None,
    where: Where = [],
    approved: Approved = False,
    form: Form = "folder",
    layout: Layout = None,
    on_collision: OnCollision = "error",
    shard_mb: ShardSize = 500,
    preset: Preset = None,
    base_url: BaseUrl = None,
    upscale: Upscale = False,
    cut_out: CutOut = None,
    unsigned: Unsigned = False,
    dry_run: DryRun = False,
    ok_with_failures: OkWithFailures = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Copy images under names of your own.

    The same command resumes an export that was stopped. With --preset, images are prepared for a sales channel, judged
    by its published rules, and listed in its feed. Exit code 3: some images are lost, or refused by a rule.
    """
    check_place(target)
    filters = filters_of(where, subject_id=subject, review="approved" if approved else None)
    if preset is None and (base_url or upscale or cut_out or unsigned or dry_run):
        raise SpecError(
            "--base-url, --upscale, --cut-out, --unsigned, --dry-run: need --preset; name a channel"
        )
    if preset is not None:
        if (form, layout, on_collision, shard_mb) != ("folder", None, "error", 500):
            raise SpecError(
                "--to, --layout, --on-collision, --shard-mb: are the preset's with --preset; leave them out"
            )
        flags = ChannelFlags(base_url, upscale, cut_out, unsigned, dry_run, quiet or as_json)
        channel = channel_export(place, target, preset, filters, flags)
        is_clean, lines, facts = channel.is_clean, channel_lines(channel), channel.as_dict()
    else:
        check_choice("--on-collision", on_collision, ("error", "number"))
        result = _copy(
            output_of(place), target, form, layout, filters, on_collision, shard_mb, quiet or as_json
        )
        is_clean, lines, facts = not result.num_lost, _lines(result), result.as_dict()
    if as_json:
        print_json(facts)
    else:
        echo("\n".join(lines))
    raise typer.Exit(0 if is_clean or ok_with_failures else 3)


def _copy(
    output: str,
    target: str,
    form: str,
    layout: str | None,
    where: Mapping[str, str],
    on_collision: str,
    shard_mb: int,
    quiet: bool,
) -> Exported:
    from jobs.export import export_outputs

    return export_outputs(
        output,
        target,
        form=form,
        layout=layout,
        where=where,
        numbered=on_collision == "number",
        shard_bytes=shard_mb * 1_000_000,
        quiet=quiet,
    )


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
