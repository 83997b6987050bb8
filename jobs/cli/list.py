"""dreamcache list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import print_json, print_table
from jobs.cli.options import Dashboard, Json

if TYPE_CHECKING:
    from jobs.cluster.jobs_api import JobsApi

EXAMPLES = (
    "dreamcache list --address http://head:8265",
    "dreamcache list --output-root s3://bucket/jobs --json",
)
COLUMNS = (
    "job_id",
    "kind",
    "name",
    "state",
    "attempts",
    "done",
    "failed",
    "remaining",
    "total",
    "started_at",
    "output",
    "reason",
)


def list_jobs(
    address: Dashboard = None,
    output_root: Annotated[
        str | None, typer.Option(help="Also the runs whose outputs lie in this folder or s3:// prefix.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the jobs of a cluster, or of an output root.

    Counts are of the whole plan, over all runs. A run whose driver has died is 'lost'.
    An output root needs no cluster; its evaluations, syntheses and trainings are listed too.
    """
    from jobs.cluster.jobs_api import ClusterError, connect
    from jobs.cluster.observe import list_jobs as rows_of

    api: JobsApi | None = None
    try:
        api = connect(address)
    except ClusterError as error:
        if address is not None or output_root is None:
            raise
        typer.echo(f"no cluster was reached: {error}", err=True)
    rows = rows_of(api, output_root)
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, [[row.get(name) for name in COLUMNS] for row in rows])
