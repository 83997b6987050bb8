"""The verbs that read a job's images: outputs (list, export) and replay."""

from __future__ import annotations

from typing import Annotated

import typer

from dreamcache.core.errors import SpecError
from jobs.cli.common import JSON_HELP, PLACE_HELP, human_bytes, output_of, print_json, print_table

Place = Annotated[str, typer.Argument(help=PLACE_HELP)]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


def outputs(
    place: Place,
    subject: Annotated[str | None, typer.Option(help="One subject_id.")] = None,
    state: Annotated[str | None, typer.Option("--status", help="done, blocked, failed or pending.")] = None,
    where: Annotated[
        list[str], typer.Option(help="Only rows with COLUMN=VALUE in the manifest. May be repeated.")
    ] = [],
    limit: Annotated[int, typer.Option(help="At most so many rows are shown; 0 for all.")] = 50,
    export: Annotated[
        str | None,
        typer.Option(help="Write the images, or with --to csv their list, to this folder or s3:// URI."),
    ] = None,
    form: Annotated[
        str, typer.Option("--to", help="Form of the export: folder, csv, hf or webdataset.")
    ] = "folder",
    layout: Annotated[
        str | None,
        typer.Option(
            help="Names of exported files, e.g. '{subject_id}/{sample}-{item_id}.{ext}'; any column."
        ),
    ] = None,
    on_collision: Annotated[
        str,
        typer.Option(help="Rows that would share a name: 'error', or 'number' (item's digits are added)."),
    ] = "error",
    shard_mb: Annotated[int, typer.Option(help="Size of a WebDataset shard at most, in MB.", min=1)] = 500,
    as_json: Json = False,
) -> None:
    """List images and their records from the manifest, or export them. A repeated export goes on where it ended."""
    from jobs.export.rows import Rows

    wanted = _wanted(where)
    wanted |= {
        name: value for name, value in (("subject_id", subject), ("status", state)) if value is not None
    }
    if export is not None:
        if on_collision not in ("error", "number"):
            raise typer.BadParameter("must be 'error' or 'number'", param_hint="--on-collision")
        _export(output_of(place), export, form, layout, wanted, on_collision == "number", shard_mb, as_json)
        return
    rows, found = [], 0
    for row in Rows(output_of(place), wanted):
        found += 1
        if not limit or found <= limit:
            rows.append(row)
    if as_json:
        print_json(rows)
        return
    columns = ("subject_id", "status", "prompt", "sample", "uri", "code")
    print_table(columns, [[row[name] for name in columns] for row in rows])
    if len(rows) < found:
        typer.echo(f"... {found - len(rows)} more; --limit 0 shows all")


def _wanted(where: list[str]) -> dict[str, str]:
    """{column: value}; values are text, unlike those of --set."""
    for setting in where:
        if "=" not in setting:
            raise SpecError(f"--where {setting}: must be COLUMN=VALUE")
    return dict(setting.split("=", 1) for setting in where)


def _export(
    output: str,
    target: str,
    form: str,
    layout: str | None,
    where: dict[str, str],
    numbered: bool,
    shard_mb: int,
    as_json: bool,
) -> None:
    from jobs.export import export_outputs

    done = export_outputs(
        output,
        target,
        form=form,
        layout=layout,
        where=where,
        numbered=numbered,
        shard_bytes=shard_mb * 1_000_000,
        quiet=as_json,
    )
    if as_json:
        print_json(done.as_dict())
    else:
        size = f", {human_bytes(done.num_bytes)}" if form != "csv" else ""
        typer.echo(f"{done.target}: {done.written} written{size}, {done.kept} were there, of {done.rows}")
        if done.renamed:
            typer.echo(f"{done.renamed} names were shared; their items' first digits were added")
        for one in done.lost[:20]:
            typer.echo(f"lost: {one['message']}")
    raise typer.Exit(3 if done.num_lost else 0)


def replay(
    item: Annotated[str, typer.Argument(help="An item id, or as many of its first digits as name one.")],
    output: Annotated[str, typer.Option(help=PLACE_HELP)],
    save: Annotated[
        str | None, typer.Option(help="Folder or s3:// URI for the replayed image and a side by side.")
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(help="A PNG to write: where each place of the adapter looked in the reference."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one image again from its record, here, and compare. Exit code 1 if it differs by more than 1/255."""
    from jobs.output.replay import BOUND
    from jobs.output.replay import replay as replay_item

    done = replay_item(output_of(output), item, save=save, attention=attention)
    if as_json:
        print_json(done.as_dict())
    else:
        source = (
            "its photo" if done.features == "photo" else "cached features, since its photo is gone or changed"
        )
        typer.echo(
            f"item {done.item_id[:12]} of subject '{done.subject_id}' replayed from {source} on {done.device}"
        )
        verdict = "equal" if not done.max_difference else "within" if done.within_bound else "beyond"
        typer.echo(
            f"largest difference {done.max_difference}/255 ({verdict}, bound {BOUND}/255), "
            f"{100 * done.differing:.2f} % of pixels differ"
        )
        for uri in done.saved:
            typer.echo(f"saved: {uri}")
    raise typer.Exit(0 if done.within_bound else 1)
