"""dreamcache submit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from dreamcache.core.texts import printable
from jobs.cli.common import echo, load, print_json
from jobs.cli.options import Dashboard, DriverCpus, Gallery, Grace, Job, Json, OkWithFailures, Set

EXAMPLES = (
    "dreamcache submit job.yaml --address http://head:8265 --follow",
    "dreamcache submit job.yaml --code ship --env AWS_ENDPOINT_URL",
    "dreamcache submit job.yaml --retry --reason timeout",
)
ENV_HELP = (
    "Set a variable for the job: NAME takes its value from here, or NAME=value. May be repeated. Nothing is passed on "
    "by itself, no AWS_* either. No secrets: who may use the cluster can read them; give its machines a role."
)


def submit(
    job: Job,
    settings: Set = [],
    address: Dashboard = None,
    code: Annotated[
        Literal["installed", "ship"],
        typer.Option(help="The cluster has this version of dreamcache, or this installation is sent."),
    ] = "installed",
    env: Annotated[list[str], typer.Option(help=ENV_HELP)] = [],
    shared_files: Annotated[
        bool, typer.Option("--shared-files", help="Local paths in the job file are the same on all machines.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show its log; end with its exit code.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed and blocked items again.")] = False,
    reason: Annotated[list[str], typer.Option(help="With --retry: only these reason codes.")] = [],
    gallery: Gallery = True,
    ok_with_failures: OkWithFailures = False,
    grace: Grace = 120,
    driver_cpus: DriverCpus = 0,
    python: Annotated[
        str | None, typer.Option(help="The cluster's interpreter, 'python' by default.")
    ] = None,
    allow_open_cluster: Annotated[
        bool,
        typer.Option("--allow-open-cluster", help="Submit over http to a cluster that asks for no token."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a job on a Ray cluster and leave it there.

    Submitting the same job again is the same job while it runs, and its next attempt after that.
    """
    from jobs.cli.attempts import follow as follow_log
    from jobs.cluster.jobs_api import connect
    from jobs.cluster.observe import newest
    from jobs.cluster.submitter import SubmitSettings, secrets_in
    from jobs.cluster.submitter import submit as submit_job

    for name in secrets_in(env):
        typer.echo(f"warning: {name}: everyone who may use the cluster can read it there", err=True)
    submission = submit_job(
        load(job, settings),
        address=address,
        settings=SubmitSettings(
            code=code,
            env=tuple(env),
            shared_files=shared_files,
            retry=tuple(reason) if retry or reason else None,
            gallery=gallery,
            ok_with_failures=ok_with_failures,
            grace_s=grace,
            driver_cpus=driver_cpus,
            python=python,
            allow_open=allow_open_cluster,
        ),
    )
    for text in submission.misfits:
        typer.echo(f"note: {printable(text)}; the job waits for such a node", err=True)
    if as_json:
        print_json(asdict(submission))
    else:
        states = {
            "submitted": f"submitted, attempt {submission.attempt}",
            "running": "runs already; it is the same job",
            "done": "is done already; it is the same job",
        }
        echo(
            f"{submission.submission_id}: {states[submission.state]}; {submission.items} items -> {submission.output}"
        )
        if submission.state != "done" and not follow:
            echo(f"see it: dreamcache logs -f {submission.submission_id} --address {submission.address}")
    if follow and submission.state != "done":
        api = connect(address)
        raise typer.Exit(follow_log(api, newest(api, submission.submission_id), to_stderr=as_json))
