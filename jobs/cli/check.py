"""dreamcache doctor."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from jobs.cli.common import JOB_HELP, JSON_HELP, SET_HELP, load, print_json


def doctor(
    job: Annotated[str, typer.Argument(help=JOB_HELP)],
    settings: Annotated[list[str], typer.Option("--set", help=SET_HELP)] = [],
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster (host:port or http://), whose nodes are asked too."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Try out all that a job stands on: storage, credentials, model, cluster, memory. Exit code 1 if a check fails."""
    from jobs.doctor import examine

    found = []
    for check in examine(load(job, settings), address):
        found.append(check)
        if as_json:
            continue
        typer.echo(f"{check.state:<4}  {check.name}: {check.finding}")
        if check.remedy:
            typer.echo(f"      -> {check.remedy}")
    counts = Counter(check.state for check in found)
    if as_json:
        print_json({"healthy": not counts["fail"], "checks": [check.as_dict() for check in found]})
    else:
        typer.echo("  ".join(f"{state} {counts[state]}" for state in ("ok", "warn", "fail", "skip")))
    raise typer.Exit(1 if counts["fail"] else 0)
