"""Arguments and options that several verbs have, each declared once, so that they mean the same everywhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

PLACE_HELP = "The job file, or the job's output, a folder or URI (s3://, gs://)."
DASHBOARD_HELP = (
    "The cluster's dashboard, http://HEAD:8265 (KubeRay: the head service). Default: RAY_API_SERVER_ADDRESS, "
    "RAY_ADDRESS, then this machine's. Its token: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token."
)


def finite(value: float) -> float:
    """Refuses NaN, which is in every range."""
    if not math.isfinite(value):
        raise typer.BadParameter("must be a finite number")
    return value


Job = Annotated[str, typer.Argument(help="The job file (YAML).")]
Place = Annotated[str, typer.Argument(help=PLACE_HELP)]
JobName = Annotated[
    str, typer.Argument(help="The job's id, its job file, or its output, a folder or URI (s3://, gs://).")
]
Set = Annotated[
    list[str],
    typer.Option("--set", help="Change one setting: --set generation.scheduler=euler. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress on stderr.")]
Cluster = Annotated[
    str | None, typer.Option("--address", help="A running Ray cluster; without it one is started here.")
]
HandedPlan = Annotated[
    Path | None,
    typer.Option(
        "--plan", help="A folder with the plan that 'dreamcache submit' made; used where it still holds."
    ),
]
Dashboard = Annotated[str | None, typer.Option("--address", help=DASHBOARD_HELP)]
Gallery = Annotated[bool, typer.Option(help="Write the gallery page.")]
Subject = Annotated[str | None, typer.Option(help="Only this subject_id.")]
Where = Annotated[
    list[str], typer.Option(help="Only rows with COLUMN=VALUE in the manifest. May be repeated.")
]
Approved = Annotated[bool, typer.Option("--approved", help="Only images that reviewers approved.")]
Reason = Annotated[list[str], typer.Option(help="Only these reason codes. May be repeated.")]
Grace = Annotated[
    float,
    typer.Option(
        help="Seconds that 'dreamcache stop' leaves it to commit what it has.", min=1, callback=finite
    ),
]
DriverCpus = Annotated[
    float,
    typer.Option(
        help="0: the driver runs on the head. More: on any machine with that share.", min=0, callback=finite
    ),
]
ShardSize = Annotated[
    int, typer.Option(help="Size of a WebDataset shard at most, in MB.", min=1, max=1_000_000)
]
OkWithFailures = Annotated[
    bool,
    typer.Option("--ok-with-failures", help="End with exit code 0 where it would be 3: some items failed."),
]
