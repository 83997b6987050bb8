"""The first two verbs a newcomer meets: demo and init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP


def demo(
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo-output"),
    subjects: Annotated[int, typer.Option(help="Number of products.", min=1)] = 8,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Run the main job on the embedded model and a sample catalog; ends with the gallery to open."""
    from jobs.cli.job import run
    from jobs.init_template import write_starter

    job = write_starter(output, num_subjects=subjects, name="demo")
    run(str(job), as_json=as_json)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write job.yaml and catalog.csv to.")] = Path("."),
    sample: Annotated[int, typer.Option(help="Also draw a sample catalog of so many products.", min=0)] = 0,
    name: Annotated[str, typer.Option(help="The job's name.")] = "my-job",
) -> None:
    """Write a job file to start from, and a sample catalog if asked."""
    from jobs.init_template import write_starter

    job = write_starter(folder, num_subjects=sample, name=name)
    typer.echo(f"wrote {job}; edit it, then: dreamcache plan {job} && dreamcache run {job}")
