"""dreamcache train."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, SET_HELP, print_json, settings_of


def train(
    file: Annotated[str, typer.Argument(help="The training file (YAML).")],
    settings: Annotated[list[str], typer.Option("--set", help=SET_HELP)] = [],
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; without it one is started here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Train an adapter on your own data. The same command goes on from the newest checkpoint."""
    from jobs.train.runner import run_training
    from jobs.train.spec import load_train_spec

    report = run_training(load_train_spec(file, settings_of(settings)), quiet=as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        return
    loss = "-" if report.loss is None else f"{report.loss:.4f}"
    typer.echo(f"trained {report.step} steps in {report.seconds:.0f} s, loss {loss}")
    for point in report.validation:
        errors = "  ".join(f"{name} {point[name]:.4f}" for name in ("right", "wrong", "none"))
        typer.echo(f"validation at noise level {point['level']:.0f}: {errors}")
    typer.echo(f"adapter: {report.adapter}")
