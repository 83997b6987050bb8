"""dreamcache stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from jobs.cli.common import echo, print_json
from jobs.cli.options import Dashboard, JobName, Json, finite

EXAMPLES = (
    "dreamcache stop dreamcache-autumn-0123456789ab",
    "dreamcache stop job.yaml --wait 0 --address http://head:8265",
)


def stop(
    job: JobName,
    address: Dashboard = None,
    wait: Annotated[
        float, typer.Option(help="Wait at most so many seconds for its end.", min=0, callback=finite)
    ] = 180,
    as_json: Json = False,
) -> None:
    """Stop a submitted job; what is done stays.

    'dreamcache submit' resumes it from there.
    """
    from jobs.cli.attempts import attempt_line, key_of
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import newest
    from jobs.cluster.observe import stop as stop_attempt

    api = connect(address)
    attempt = stop_attempt(api, newest(api, key_of(job)), wait_s=wait)
    if as_json:
        print_json(asdict(attempt))
        return
    echo(attempt_line(attempt))
    if not attempt.has_ended:
        echo(f"it has not ended yet; see 'dreamcache logs -f {attempt.submission_id}'")
