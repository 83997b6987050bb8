"""dreamcache synthesize."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import echo, print_json, print_table, settings_of
from jobs.cli.options import Cluster, Json, Quiet, Set

EXAMPLES = ("dreamcache synthesize synthesize.yaml", "dreamcache synthesize synthesize.yaml --json")


def synthesize(
    file: Annotated[str, typer.Argument(help="The synthesis file (YAML).")],
    settings: Set = [],
    address: Cluster = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Generate training data for an adapter.

    Captions, filter, images, masks, dataset. The same command resumes. Exit code 3: some images failed.
    """
    from jobs.formatting import format_duration
    from jobs.synthesize.runner import run_synthesis
    from jobs.synthesize.spec import load_synth_spec

    spec = load_synth_spec(file, settings_of(settings))
    report = run_synthesis(spec, quiet=quiet or as_json, address=address)
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
    print_table(["stage", "result", "dropped"], rows)
    echo(f"report of the captions: {report.output}/filter/report.md")
    echo(f"dataset: {report.output}/dataset, completed in {format_duration(report.seconds)}")
    raise typer.Exit(report.exit_code)


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
