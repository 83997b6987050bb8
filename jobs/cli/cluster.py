"""The verbs of a job on a cluster: submit, list, logs, stop; and what `status` says of one."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dreamcache.core.locations import is_uri
from jobs.cli.common import JOB_HELP, JSON_HELP, SET_HELP, load, output_of, print_json, print_table

if TYPE_CHECKING:
    from jobs.cluster.jobs_api import JobsApi
    from jobs.cluster.observe import Attempt

STOPPED = 130
ADDRESS_HELP = (
    "The cluster's dashboard, http://HEAD:8265 (KubeRay: the head service). Without it RAY_API_SERVER_ADDRESS, "
    "RAY_ADDRESS, else this machine's. Its token: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token."
)
ENV_HELP = (
    "Set a variable for the job: NAME takes its value from here, or NAME=value. May be repeated. Nothing is passed on "
    "by itself, no AWS_* either. No secrets: who may use the cluster can read them; give its machines a role."
)

Address = Annotated[str | None, typer.Option(help=ADDRESS_HELP)]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Name = Annotated[str, typer.Argument(help="The job's id, its job file, or its output folder or s3:// URI.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs to the command line."""
    for name, verb in (("submit", submit), ("list", list_jobs), ("logs", logs), ("stop", stop)):
        app.command(name)(verb)


def submit(
    job: Annotated[str, typer.Argument(help=JOB_HELP)],
    settings: Annotated[list[str], typer.Option("--set", help=SET_HELP)] = [],
    address: Address = None,
    code: Annotated[
        Literal["installed", "ship"],
        typer.Option(
            help="The cluster has this version of dreamcache installed, or this installation is sent."
        ),
    ] = "installed",
    env: Annotated[list[str], typer.Option(help=ENV_HELP)] = [],
    shared_files: Annotated[
        bool, typer.Option("--shared-files", help="Local paths in the job file are the same on all machines.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what it says; end with its exit code.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed and blocked items again.")] = False,
    reason: Annotated[list[str], typer.Option(help="With --retry: only these reason codes.")] = [],
    gallery: Annotated[bool, typer.Option(help="Write the gallery page.")] = True,
    grace: Annotated[
        float, typer.Option(help="Seconds that 'dreamcache stop' leaves it to commit what it has.", min=1)
    ] = 120,
    driver_cpus: Annotated[
        float,
        typer.Option(help="0: the driver runs on the head. More: on any machine with that share.", min=0),
    ] = 0,
    python: Annotated[
        str | None, typer.Option(help="The cluster's interpreter, 'python' by default.")
    ] = None,
    allow_open_cluster: Annotated[
        bool,
        typer.Option("--allow-open-cluster", help="Submit over http to a cluster that asks for no token."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a job on a Ray cluster and leave it there. The same job again is the same job, or its next attempt."""
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import newest
    from jobs.cluster.submitter import SubmitSettings, secrets_in
    from jobs.cluster.submitter import submit as submit_job

    for name in secrets_in(env):
        typer.echo(f"warning: {name}: everyone who may use the cluster can read it there", err=True)
    made = submit_job(
        load(job, settings),
        address=address,
        settings=SubmitSettings(
            code=code,
            env=tuple(env),
            shared_files=shared_files,
            retry=tuple(reason) if retry or reason else None,
            gallery=gallery,
            grace_s=grace,
            driver_cpus=driver_cpus,
            python=python,
            allow_open=allow_open_cluster,
        ),
    )
    if as_json:
        print_json(asdict(made))
    else:
        told = {
            "submitted": f"submitted, attempt {made.attempt}",
            "running": "runs already; it is the same job",
            "done": "is done already; it is the same job",
        }
        typer.echo(f"{made.submission_id}: {told[made.state]}; {made.items} items -> {made.output}")
        if made.state != "done" and not follow:
            typer.echo(f"see it: dreamcache logs -f {made.submission_id} --address {made.address}")
    if follow and made.state != "done":
        api = connect(address)
        raise typer.Exit(_follow(api, newest(api, made.submission_id), to_stderr=as_json))


def list_jobs(
    address: Address = None,
    output_root: Annotated[
        str | None, typer.Option(help="Also the jobs whose outputs lie in this folder or s3:// prefix.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List jobs: those a cluster knows, and those in an output root, which needs no cluster."""
    from jobs.cluster.jobs_api import ClusterError, connect
    from jobs.cluster.observe import list_jobs as rows_of

    api: JobsApi | None = None
    try:
        api = connect(address)
    except ClusterError as error:
        if address is not None or output_root is None:
            raise
        typer.echo(f"no cluster was asked: {error}", err=True)
    rows = rows_of(api, output_root)
    if as_json:
        print_json(rows)
        return
    columns = ("job_id", "name", "state", "attempts", "done", "failed", "left", "started_at", "output")
    print_table(columns, [[row.get(name) for name in columns] for row in rows])


def logs(
    job: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    address: Address = None,
) -> None:
    """Print what a submitted job says; Ray keeps it as long as the cluster lives."""
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import logs as logs_of
    from jobs.cluster.observe import newest

    api = connect(address)
    attempt = newest(api, _key(job))
    if follow:
        _follow(api, attempt)
    else:
        typer.echo(logs_of(api, attempt), nl=False)


def stop(
    job: Name,
    address: Address = None,
    wait: Annotated[float, typer.Option(help="Wait at most so many seconds for its end.", min=0)] = 180,
    as_json: Json = False,
) -> None:
    """Stop a submitted job: what is done stays, and 'dreamcache submit' goes on from there."""
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import newest
    from jobs.cluster.observe import stop as stop_attempt

    api = connect(address)
    attempt = stop_attempt(api, newest(api, _key(job)), wait_s=wait)
    if as_json:
        print_json(asdict(attempt))
        return
    print_attempt(attempt)
    if not attempt.has_ended:
        typer.echo(f"it is still at work; see 'dreamcache logs -f {attempt.submission_id}'")


def find(place: str, address: str | None) -> tuple[str, Attempt | None]:
    """(output, the cluster's newest attempt) of a job's id, file or output; the cluster is asked where it must be.

    A cluster that is asked for a place that is known anyway may be away: then that is said, and None returned.
    """
    from jobs.cluster.observe import JOB_ID, newest

    by_id = JOB_ID.fullmatch(place) is not None and not Path(place).exists()
    if not by_id and address is None:
        return output_of(place), None  # nothing of Ray is loaded
    from jobs.cluster.jobs_api import ClusterError, connect

    try:
        attempt = newest(connect(address), _key(place))
    except ClusterError as error:
        if by_id:
            raise
        typer.echo(f"the cluster says nothing of it: {error}", err=True)
        return output_of(place), None
    return (attempt.output if by_id else output_of(place)), attempt


def print_attempt(attempt: Attempt) -> None:
    """One line: what the cluster knows of a submitted job."""
    ended = f", ended {attempt.ended_at}" if attempt.has_ended else ""
    code = f", exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
    state = attempt.state.replace("_", " ")
    typer.echo(f"{attempt.submission_id}: {state}{code}, submitted {attempt.started_at}{ended}")


def _key(place: str) -> str:
    """What `observe.newest` looks for: an id as it is, else the output, a local one as an absolute path."""
    from jobs.cluster.observe import JOB_ID

    if JOB_ID.fullmatch(place):
        return place
    output = output_of(place)
    return output if is_uri(output) else str(Path(output).expanduser().absolute())


def _follow(api: JobsApi, attempt: Attempt, *, to_stderr: bool = False) -> int:
    """Shows the log until the job ends; its exit code. Ctrl-C ends the showing only."""
    from jobs.cluster.observe import again, follow_logs

    out = sys.stderr if to_stderr else sys.stdout
    try:
        for text in follow_logs(api, attempt):
            out.write(text)
            out.flush()
        ended = again(api, attempt)
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            print(f"\nthe job goes on; 'dreamcache stop {attempt.submission_id}' ends it", file=sys.stderr)
        return 1
    if ended.exit_code is not None:
        return ended.exit_code
    return {"succeeded": 0, "stopped": STOPPED}.get(ended.state, 1)
