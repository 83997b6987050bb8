"""dreamcache demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import Json, Quiet

EXAMPLES = ("dreamcache demo", "dreamcache demo --output /data/demo --subjects 2")


def demo(
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo-output"),
    subjects: Annotated[int, typer.Option(help="Number of products.", min=1, max=10_000)] = 8,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a sample job on the embedded model.

    It writes a catalog of rendered products and a job file, runs the job, and prints where its gallery is.
    """
    from jobs.cli.run import run
    from jobs.init_template import write_job_template

    run(str(write_job_template(output, num_subjects=subjects, name="demo")), quiet=quiet, as_json=as_json)
