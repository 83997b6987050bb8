"""dreamcache logs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dreamcache.core.texts import printable
from jobs.cli.common import print_json
from jobs.cli.options import Dashboard, JobName, Json

EXAMPLES = (
    "dreamcache logs dreamcache-autumn-0123456789ab",
    "dreamcache logs job.yaml --follow --address http://head:8265",
)


def logs(
    job: JobName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep reading until the job ends.")] = False,
    address: Dashboard = None,
    as_json: Json = False,
) -> None:
    """Print the log of a submitted job.

    Ray keeps it as long as the cluster lives.
    """
    from jobs.cli.attempts import follow as follow_log
    from jobs.cli.attempts import key_of
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import logs as logs_of
    from jobs.cluster.observe import newest

    if follow and as_json:
        raise typer.BadParameter("does not go with --json: a log that grows is no JSON value")
    api = connect(address)
    attempt = newest(api, key_of(job))
    if follow:
        follow_log(api, attempt)
    elif as_json:
        print_json({**asdict(attempt), "log": logs_of(api, attempt)})
    else:
        typer.echo(printable(logs_of(api, attempt), colours=True), nl=False)
