"""dreamcache cluster up, env, status, down: a Ray cluster and an S3 server on this machine."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import add_verb, echo, print_json
from jobs.cli.options import Json, finite

if TYPE_CHECKING:
    from jobs.deploy.local.cluster import LocalCluster

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[
    str, typer.Option(help="Its state, logs and objects; /tmp/dreamcache-local-UID by default.")
]


def up(
    folder: Folder = "",
    workers: Annotated[int, typer.Option(help="Ray nodes beside the head.", min=0, max=64)] = 2,
    cpus: Annotated[int, typer.Option(help="CPUs declared by each node.", min=1, max=1024)] = 2,
    bucket: Annotated[str, typer.Option(help="Created if it is missing.")] = "dreamcache",
    s3: Annotated[
        bool, typer.Option(help="Start an S3 server, too; pip install 'dreamcache[local]' brings it.")
    ] = True,
    timeout: Annotated[
        float,
        typer.Option(help="Seconds for the S3 server, and for Ray.", min=1, max=3600, callback=finite),
    ] = 120,
    as_json: Json = False,
) -> None:
    """Start a Ray cluster and an S3 server here.

    A node that ends while it starts is started again until the timeout. Prints the lines that a shell needs.
    """
    from jobs.deploy.local.cluster import up as start

    _show(
        start(_folder(folder), workers=workers, cpus=cpus, bucket=bucket, s3=s3, timeout_s=timeout), as_json
    )


def env(folder: Folder = "", as_json: Json = False) -> None:
    """Print the lines that a shell needs."""
    from jobs.deploy.local.cluster import look

    _show(look(_folder(folder)), as_json)


def status(folder: Folder = "", as_json: Json = False) -> None:
    """Show which parts run; exit code 1 unless all do."""
    from jobs.deploy.local.cluster import look

    cluster = look(_folder(folder))
    if as_json:
        print_json(asdict(cluster))
    else:
        echo(f"{cluster.folder}: {cluster.processes} processes")
        for part, is_up in cluster.open.items():
            echo(f"  {part:8} {'up' if is_up else 'down'}")
    if not all(cluster.open.values()):
        raise typer.Exit(1)


def down(
    folder: Folder = "",
    delete: Annotated[bool, typer.Option("--delete", help="Delete the folder, objects included.")] = False,
    as_json: Json = False,
) -> None:
    """Stop what 'up' started, and nothing else."""
    from jobs.deploy.local.cluster import down as stop

    count = stop(_folder(folder), delete=delete)
    if as_json:
        print_json({"processes": count})
    else:
        echo(f"stopped {count} processes")


def _folder(folder: str) -> Path:
    from jobs.deploy.local.cluster import DEFAULT_FOLDER

    return Path(folder or DEFAULT_FOLDER).expanduser().resolve()


def _show(cluster: LocalCluster, as_json: bool) -> None:
    if as_json:
        print_json(asdict(cluster))
        return
    for name, value in cluster.variables.items():
        echo(f"export {name}={shlex.quote(value)}")
    bucket = f"a bucket to use: {cluster.bucket}; " if cluster.bucket else ""
    echo(f"# {bucket}Ray's dashboard: {cluster.dashboard}")


for name, function, examples in (
    ("up", up, ("dreamcache cluster up --workers 2", "dreamcache cluster up --no-s3 --timeout 300")),
    ("env", env, ("dreamcache cluster env --folder /tmp/mine",)),
    ("status", status, ("dreamcache cluster status --json",)),
    ("down", down, ("dreamcache cluster down", "dreamcache cluster down --delete")),
):
    add_verb(app, name, examples)(function)
