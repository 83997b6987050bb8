"""dreamcache synthesize."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, SET_HELP, print_json, print_table, settings_of


def synthesize(
    file: Annotated[str, typer.Argument(help="The synthesis file (YAML).")],
    settings: Annotated[list[str], typer.Option("--set", help=SET_HELP)] = [],
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; without it one is started here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Make training data: captions, filter, images, masks, dataset. The same command goes on."""
    from jobs.synthesize.runner import run_synthesis
    from jobs.synthesize.spec import load_synth_spec

    report = run_synthesis(load_synth_spec(file, settings_of(settings)), quiet=as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        raise typer.Exit(report.exit_code)
    counts = report.counts
    rows = [
        ["captions", counts["captions"], _reasons({"not a caption": counts["bad_lines"]})],
        ["filter", counts["kept"], _reasons(counts["dropped"])],
        ["images", counts["images"], _reasons({"failed": counts["images_failed"]})],
        ["masks", counts["masks"], _reasons(counts["no_mask"])],
        ["train", counts["train"], ""],
        ["validation", counts["validation"], ""],
    ]
    print_table(["stage", "left", "dropped"], rows)
    typer.echo(f"report of the captions: {report.output}/filter/report.md")
    typer.echo(f"dataset: {report.output}/dataset, made in {report.seconds:.0f} s by this run")
    raise typer.Exit(report.exit_code)


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
