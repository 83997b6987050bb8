"""dreamcache deploy render: a job as files for KubeRay or for Ray's launcher on EC2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from dreamcache.core.errors import SpecError
from jobs.cli.common import add_verb, echo, load, print_json
from jobs.cli.options import Json, Set

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
VALUE_HELP = "Fill a placeholder: --value REGISTRY=registry.example/team. May be repeated."


@app.callback()
def deploy() -> None:
    """Where jobs run: manifests from a job file."""


def render(
    target: Annotated[Literal["kuberay", "ec2"], typer.Argument(help="What runs the cluster.")],
    job: Annotated[str, typer.Option(help="The job file (YAML).")],
    settings: Set = [],
    output: Annotated[
        str, typer.Option(help="The folder to write into; without it job.yaml or cluster.yaml is printed.")
    ] = "",
    namespace: Annotated[str, typer.Option(help="KubeRay: the namespace.")] = "dreamcache",
    queue: Annotated[
        str | None, typer.Option(help="KubeRay: the Kueue queue that admits the job, within its quota.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="KubeRay: Kueue's priority class.")] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="KubeRay: exit codes 3 and 4 fail the RayJob; no cluster is retried."),
    ] = False,
    value: Annotated[list[str], typer.Option(help=VALUE_HELP)] = [],
    as_json: Json = False,
) -> None:
    """Write manifests sized from a job's pools.

    Names hold a hash of the job file: a changed job is another object. Nothing is sent anywhere.
    """
    from jobs.deploy import ec2, kuberay

    spec, values = load(job, settings), dict(_pair(one) for one in value)
    if target == "kuberay":
        options = kuberay.Options(
            namespace=namespace, queue=queue, priority=priority, strict=strict, values=values
        )
        texts = kuberay.render(spec, options)
    else:
        texts = ec2.render(spec, values)
    _write(texts, output, as_json)


def _write(texts: Mapping[str, str], output: str, as_json: bool) -> None:
    """Prints the files, or writes them into a folder and prints their names."""
    from jobs.deploy.manifest import open_placeholders

    missing = sorted({name for text in texts.values() for name in open_placeholders(text)})
    if as_json:
        print_json({"files": texts, "placeholders": missing})
    elif not output:
        echo(list(texts.values())[-1].rstrip())
    if output:
        folder = Path(output).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
            if not as_json:
                echo(str(folder / name))
    if missing and not as_json:
        typer.echo(f"note: to be filled in, by --value NAME=VALUE: {', '.join(missing)}", err=True)


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not value:
        raise SpecError(f"--value {setting}: must be NAME=VALUE")
    return name, value


add_verb(
    app,
    "render",
    (
        "dreamcache deploy render kuberay --job job.yaml --output manifests",
        "dreamcache deploy render kuberay --job job.yaml --queue catalog --strict",
        "dreamcache deploy render ec2 --job job.yaml --value REGION=eu-central-1",
    ),
)(render)
