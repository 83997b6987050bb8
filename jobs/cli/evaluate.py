"""dreamcache evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import echo, print_json, print_table, settings_of
from jobs.cli.options import Cluster, Json, Quiet, Set

EXAMPLES = ("dreamcache evaluate evaluate.yaml", "dreamcache evaluate evaluate.yaml --json")


def evaluate(
    file: Annotated[str, typer.Argument(help="The evaluation file (YAML).")],
    settings: Set = [],
    address: Cluster = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score images as the paper does.

    Of jobs, DreamBench, or folders of images. The same command resumes. Exit code 3: some images have no score.
    """
    from dreamcache.core.config.evaluate import TITLES
    from jobs.evaluate.runner import run_evaluation
    from jobs.evaluate.spec import load_eval_spec
    from jobs.formatting import NOTHING, format_duration

    spec = load_eval_spec(file, settings_of(settings))
    report = run_evaluation(spec, quiet=quiet or as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        raise typer.Exit(report.exit_code)
    metrics = spec.metrics.metrics
    rows = [
        [row["method"], row["num_scored"], *(NOTHING if row[m] is None else f"{row[m]:.3f}" for m in metrics)]
        for row in report.rows
    ]
    print_table(["method", "images", *(TITLES[metric] for metric in metrics)], rows)
    if not spec.metrics.are_the_papers:
        echo("not the paper's encoders: the numbers compare with each other only")
    if report.chosen:
        echo(f"chosen: {report.chosen}")
    echo(
        f"{report.scored} images scored by this run in {format_duration(report.seconds)}, "
        f"{report.failed} not scored, {report.missing} not there"
    )
    echo(f"report: {report.output}/report.md")
    raise typer.Exit(report.exit_code)
