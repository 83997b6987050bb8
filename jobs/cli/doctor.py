"""dreamcache doctor."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from jobs.cli.common import echo, load, print_json
from jobs.cli.options import Job, Json, Set

EXAMPLES = ("dreamcache doctor job.yaml", "dreamcache doctor job.yaml --address http://head:8265 --json")


def doctor(
    job: Job,
    settings: Set = [],
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster (host:port or http://), whose nodes are checked too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check all that a job needs before it runs.

    Storage, credentials, model, cluster and memory are tried out. Exit code 1 if a check fails.
    """
    from jobs.doctor import examine

    checks = []
    for check in examine(load(job, settings), address):
        checks.append(check)
        if as_json:
            continue
        echo(f"{check.state:<4}  {check.name}: {check.finding}")
        if check.remedy:
            echo(f"      -> {check.remedy}")
    counts = Counter(check.state for check in checks)
    if as_json:
        print_json({"healthy": not counts["fail"], "checks": [check.as_dict() for check in checks]})
    else:
        echo("  ".join(f"{state} {counts[state]}" for state in ("ok", "warn", "fail", "skip")))
    raise typer.Exit(1 if counts["fail"] else 0)
