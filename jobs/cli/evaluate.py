"""dreamcache evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, SET_HELP, print_json, print_table, settings_of


def evaluate(
    file: Annotated[str, typer.Argument(help="The evaluation file (YAML).")],
    settings: Annotated[list[str], typer.Option("--set", help=SET_HELP)] = [],
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; without it one is started here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Score images as the paper does: a job, DreamBench, or folders of images. The same command goes on."""
    from dreamcache.core.config.evaluate import TITLES
    from jobs.evaluate.runner import run_evaluation
    from jobs.evaluate.spec import load_eval_spec

    spec = load_eval_spec(file, settings_of(settings))
    report = run_evaluation(spec, quiet=as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        raise typer.Exit(report.exit_code)
    metrics = spec.metrics.metrics
    rows = [
        [row["method"], row["num_scored"], *("-" if row[m] is None else f"{row[m]:.3f}" for m in metrics)]
        for row in report.rows
    ]
    print_table(["method", "images", *(TITLES[metric] for metric in metrics)], rows)
    if not spec.metrics.are_the_papers:
        typer.echo("not the paper's encoders: the numbers compare with each other only")
    if report.chosen:
        typer.echo(f"chosen: {report.chosen}")
    typer.echo(
        f"{report.scored} images scored by this run in {report.seconds:.0f} s, {report.failed} not scored, "
        f"{report.missing} not there"
    )
    typer.echo(f"report: {report.output}/report.md")
    raise typer.Exit(report.exit_code)
