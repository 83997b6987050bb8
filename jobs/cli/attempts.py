"""Submitted jobs on the command line: finding the attempt that is meant, a line about it, following its log."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dreamcache.core.locations import is_uri
from dreamcache.core.texts import printable
from jobs.cli.common import output_of

if TYPE_CHECKING:
    from jobs.cluster.jobs_api import JobsApi
    from jobs.cluster.observe import Attempt

STOPPED = 130


def find(place: str, address: str | None) -> tuple[str, Attempt | None]:
    """(output, the cluster's newest attempt) of a job's id, file or output; asks a cluster only where it must.

    A cluster that cannot be reached ends the search for an id only; for a file or an output it is a warning.
    """
    from jobs.cluster.observe import JOB_ID, newest

    by_id = JOB_ID.fullmatch(place) is not None and not Path(place).exists()
    if not by_id and address is None:
        return output_of(place), None  # nothing of Ray is loaded
    from jobs.cluster.jobs_api import ClusterError, connect

    try:
        attempt = newest(connect(address), key_of(place))
    except ClusterError as error:
        if by_id:
            raise
        typer.echo(f"the cluster does not know its state: {error}", err=True)
        return output_of(place), None
    return (attempt.output if by_id else output_of(place)), attempt


def key_of(place: str) -> str:
    """What `observe.newest` looks for: an id as it is, else the output, a local one as an absolute path."""
    from jobs.cluster.observe import JOB_ID

    if JOB_ID.fullmatch(place):
        return place
    output = output_of(place)
    return output if is_uri(output) else str(Path(output).expanduser().absolute())


def attempt_line(attempt: Attempt) -> str:
    """What the cluster knows of a submitted job."""
    ended = f", ended {attempt.ended_at}" if attempt.has_ended else ""
    code = f", exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
    state = attempt.state.replace("_", " ")
    return f"{attempt.submission_id}: {state}{code}, submitted {attempt.started_at}{ended}"


def follow(api: JobsApi, attempt: Attempt, *, to_stderr: bool = False) -> int:
    """Shows the log until the job ends; its exit code. Ctrl-C ends the showing only."""
    from jobs.cluster.job_log import own_lines
    from jobs.cluster.observe import again, follow_logs

    out = sys.stderr if to_stderr else sys.stdout
    try:
        for text in own_lines(follow_logs(api, attempt)):
            out.write(printable(text, colours=True))
            out.flush()
        ended = again(api, attempt)
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            print(
                f"\nthe job keeps running; 'dreamcache stop {attempt.submission_id}' ends it", file=sys.stderr
            )
        return 1
    if ended.exit_code is not None:
        return ended.exit_code
    return {"succeeded": 0, "stopped": STOPPED}.get(ended.state, 1)
