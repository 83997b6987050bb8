"""dreamcache ablate."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import echo, print_json, print_table, settings_of
from jobs.cli.options import Cluster, Json, Quiet, Set

EXAMPLES = ("dreamcache ablate ablate.yaml", "dreamcache ablate ablate.yaml --set parallel=8 --json")


def ablate(
    file: Annotated[str, typer.Argument(help="The ablation file (YAML).")],
    settings: Set = [],
    address: Cluster = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train variants of one adapter and compare them.

    Every variant with every seed, measured alike. The same command resumes. Exit code 3: some images have no score.
    """
    from dreamcache.core.config.evaluate import TITLES
    from jobs.ablate.runner import run_ablation
    from jobs.ablate.spec import load_ablate_spec
    from jobs.formatting import NOTHING, format_duration

    spec = load_ablate_spec(file, settings_of(settings))
    report = run_ablation(spec, quiet=quiet or as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        raise typer.Exit(report.exit_code)
    metrics = spec.evaluation_of().metrics.metrics
    rows = [
        [
            row["variant"],
            NOTHING if row["parameters"] is None else f"{row['parameters']:,}",
            *(NOTHING if row[metric] is None else f"{row[metric]:.3f}" for metric in metrics),
        ]
        for row in report.rows
    ]
    print_table(["variant", "parameters", *(TITLES[metric] for metric in metrics)], rows)
    echo(f"{report.trained} adapters trained by this run in {format_duration(report.seconds)}")
    echo(f"intervals and differences: {report.output}/report.md")
    raise typer.Exit(report.exit_code)
