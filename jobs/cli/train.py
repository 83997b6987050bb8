"""dreamcache train."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import echo, print_json, settings_of
from jobs.cli.options import Cluster, Json, Quiet, Set

EXAMPLES = ("dreamcache train train.yaml", "dreamcache train train.yaml --set train.steps=500")


def train(
    file: Annotated[str, typer.Argument(help="The training file (YAML).")],
    settings: Set = [],
    address: Cluster = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train an adapter on your own data.

    The same command resumes from the newest checkpoint.
    """
    from jobs.formatting import NOTHING, format_duration
    from jobs.train.runner import run_training
    from jobs.train.spec import load_train_spec

    spec = load_train_spec(file, settings_of(settings))
    report = run_training(spec, quiet=quiet or as_json, address=address)
    if as_json:
        print_json(report.as_dict())
        return
    loss = NOTHING if report.loss is None else f"{report.loss:.4f}"
    echo(f"trained {report.step} steps in {format_duration(report.seconds)}, loss {loss}")
    for point in report.validation:
        errors = "  ".join(f"{name} {point[name]:.4f}" for name in ("right", "wrong", "none"))
        echo(f"validation at noise level {point['level']:.0f}: {errors}")
    echo(f"adapter: {report.adapter}")
