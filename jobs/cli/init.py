"""dreamcache init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dreamcache.core.errors import SpecError
from dreamcache.core.texts import shown
from jobs.cli.common import echo, print_json
from jobs.cli.options import Json

EXAMPLES = ("dreamcache init shop --name autumn", "dreamcache init shop --sample 12")


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write the files to.")] = Path("."),
    sample: Annotated[
        int, typer.Option(help="Also render a sample catalog of so many products.", min=0, max=10_000)
    ] = 0,
    name: Annotated[str, typer.Option(help="The job's name.")] = "my-job",
    as_json: Json = False,
) -> None:
    """Write a job file and a catalog to start from.

    Files that are there stay as they are. job.schema.json, beside the job file, lets an editor check and complete it.
    """
    from dreamcache.core.config.job import JobSpec
    from dreamcache.core.config.rules import rules_of
    from jobs.init_template import SCHEMA_FILE, write_job_template

    rule = dict(rules_of(JobSpec))["name"]
    if not rule.holds(name):
        raise SpecError(f"--name {shown(name)}: must be {rule.text}; choose another")
    job = write_job_template(folder, num_subjects=sample, name=name)
    if as_json:
        print_json({"job": job, "catalog": folder / "catalog.csv", "schema": folder / SCHEMA_FILE})
        return
    echo(f"wrote {job}; edit it, then: dreamcache plan {job} && dreamcache run {job}")
