"""dreamcache logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dreamcache.core.texts import printable
from jobs.cli.common import echo, print_json
from jobs.cli.options import Dashboard, JobName, Json

if TYPE_CHECKING:
    from dreamcache.storage.events import Event

EXAMPLES = (
    "dreamcache logs job.yaml",
    "dreamcache logs s3://bucket/jobs/autumn --events",
    "dreamcache logs dreamcache-autumn-0123456789ab --follow --address http://head:8265",
)
POLL_S = 2.0


def logs(
    job: JobName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep reading until the run ends.")] = False,
    events: Annotated[
        bool,
        typer.Option("--events", help="What happened and when, a line each, instead of the driver's log."),
    ] = False,
    address: Dashboard = None,
    as_json: Json = False,
) -> None:
    """Print the log of a job's runs.

    A job file or an output is read from the output folder, where the log outlives the cluster; a job's id, or
    --address, asks the cluster for what the submitted driver has printed, and --follow does where it runs. With
    --json: all events.
    """
    from jobs.cluster.observe import JOB_ID

    if follow and as_json:
        raise typer.BadParameter("does not go with --json: a log that grows is no JSON value")
    if address is not None or JOB_ID.fullmatch(job):
        if events:
            raise typer.BadParameter(
                "--events: are read from the output; give the job file or the output folder"
            )
        _from_cluster(job, follow, address, as_json)
    elif not (follow and not events and _follow_submitted(job)):
        _from_folder(job, follow, events, as_json)


def _follow_submitted(job: str) -> bool:
    """Follows the submitted driver of this job, where the cluster of the environment runs one now; else False."""
    from dreamcache.core.errors import DreamCacheError
    from jobs.cli.attempts import follow as follow_log
    from jobs.cli.attempts import key_of
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import newest

    key = key_of(job)
    try:
        api = connect(None)
        attempt = newest(api, key)
    except DreamCacheError:
        return False
    if attempt.has_ended:
        return False
    follow_log(api, attempt)
    return True


def _from_folder(job: str, follow: bool, events: bool, as_json: bool) -> None:
    from dreamcache.core.errors import StorageError
    from dreamcache.storage.events import part_names, read_events
    from dreamcache.storage.status import read_status
    from jobs.cli.common import output_of

    output = output_of(job)
    if as_json:
        print_json([event for _, event in read_events(output)])
        return
    if not part_names(output, "jsonl") and read_status(output) is None:
        raise StorageError(
            f"output '{output}': has no events and no status.json, so no job has run there; for a submitted one give "
            f"its id or --address",
            code="no_job",
        )
    for text in _lines(output, events, follow):
        echo(text)


def _lines(output: str, events: bool, follow: bool) -> Iterator[str]:
    """Lines as they come; without `follow` those that are there."""
    from dreamcache.storage.events import read_events, read_log
    from dreamcache.storage.run_state import seen
    from dreamcache.storage.status import read_status

    after = ""
    while True:
        status = read_status(output) if follow else None
        is_last = not follow or status is None or seen(status).has_ended
        if events:
            for name, event in read_events(output, after):
                after = name
                yield event_line(event)
        else:
            for name, text in read_log(output, after):
                after = name
                yield text.rstrip("\n")
        if is_last:
            return
        time.sleep(POLL_S)


def event_line(event: Event) -> str:
    """E.g. "2026-11-27T08:24:44.962+00:00  worker_ready  kind generator  host vm"."""
    facts = {name: value for name, value in event.items() if name not in ("at", "run", "event", "versions")}
    texts = [f"{name} {_fact(value)}" for name, value in facts.items() if value not in (None, "", {})]
    return "  ".join([f"{event['at'] or '-':29}", f"{event['event']:14}", *texts])


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)


def _from_cluster(job: str, follow: bool, address: str | None, as_json: bool) -> None:
    from jobs.cli.attempts import follow as follow_log
    from jobs.cli.attempts import key_of
    from jobs.cluster.job_log import own_lines
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import logs as logs_of
    from jobs.cluster.observe import newest

    api = connect(address)
    attempt = newest(api, key_of(job))
    if follow:
        follow_log(api, attempt)
    elif as_json:
        print_json({**asdict(attempt), "log": logs_of(api, attempt)})
    else:
        for text in own_lines([logs_of(api, attempt)]):
            typer.echo(printable(text, colours=True), nl=False)
