"""Submitting a job to a Ray cluster by its Jobs API: the same job is one job there, however often it is submitted.

    spec -> plan -> job id -> runs? has ended? -> next attempt: job file, entry script, code -> `dreamcache run` there

Knows what a cluster must receive; knows nothing of how a job runs. Never imports torch, nor Ray at import.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dreamcache
from dreamcache.core import ids
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError, SpecError
from dreamcache.core.locations import settings_of
from dreamcache.inference.facts import family_of_job
from jobs.cluster import observe
from jobs.cluster.capacity import misfits
from jobs.cluster.jobs_api import ClusterError, JobsApi, connect, reported
from jobs.output.folder import OutputFolder
from jobs.planning import handover
from jobs.planning.planner import plan
from jobs.spec import dump_spec

Code = Literal["installed", "ship"]
ENTRY = "dreamcache_entry.py"
PLAN_FOLDER = "plan"
PACKAGES = ("dreamcache", "workers", "jobs")
GRACE_S = 120
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|ACCESS_KEY|API_KEY", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitSettings:
    """How a job is sent. code: `installed`, the cluster has this very version; `ship`, this installation is sent.

    env: NAME (its value here) or NAME=value, for driver and workers; anyone who may use the cluster can read them.
    shared_files: local paths mean the same files on all machines. retry: reason codes of failed items to try again,
    () for all, None for none. ok_with_failures: the driver ends with 0 where some items failed. grace_s: seconds from
    SIGTERM to SIGKILL when the job is stopped. driver_cpus: 0 puts the driver on the head; a share lets Ray choose a
    machine. python: the cluster's interpreter. allow_open: submit over plain http to a cluster on another machine that
    asks for no token.
    """

    code: Code = "installed"
    env: tuple[str, ...] = ()
    shared_files: bool = False
    retry: tuple[str, ...] | None = None
    gallery: bool = True
    ok_with_failures: bool = False
    grace_s: float = GRACE_S
    driver_cpus: float = 0
    python: str | None = None
    allow_open: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The result of a submission. state: `submitted`, `running` (it ran already), or `done` (nothing remains).
    misfits: what keeps its workers waiting on the cluster as it is now, in numbers."""

    job_id: str
    submission_id: str
    state: Literal["submitted", "running", "done"]
    attempt: int
    address: str
    output: str
    items: int
    misfits: tuple[str, ...] = ()


def submit(
    spec: JobSpec, *, address: str | None = None, settings: SubmitSettings | None = None
) -> Submission:
    """Submits a job, or finds that it runs or is done. Plans it first, so a bad job is refused here, not there.

    Raises SpecError for a bad address, `local_paths`, `open_cluster` or `output_busy`; CatalogError and ModelError as
    `plan` does; ClusterError when the cluster cannot be reached or refuses.
    """
    settings = settings or SubmitSettings()
    env = _environment(settings)
    api = connect(address)
    _check_guarded(api, settings.allow_open)
    is_here = api.nodes_here()
    if not is_here and not settings.shared_files:
        _check_paths(spec, api.url)
    catalog = handover.catalog_digest(spec)
    planned = plan(spec)
    job_id = job_id_of(spec, planned.fingerprint)

    def submission(
        submission_id: str, number: int, state: Literal["submitted", "running", "done"]
    ) -> Submission:
        return Submission(
            job_id=job_id,
            submission_id=submission_id,
            state=state,
            attempt=number,
            address=api.url,
            output=spec.output,
            items=planned.num_items,
            misfits=() if state == "done" else tuple(missing),
        )

    missing = misfits(spec.workers, api.nodes(), encodes=family_of_job(spec).caches_features)
    before = observe.attempts(api)
    last = max((a for a in before if a.job_id == job_id), key=lambda a: a.number, default=None)
    if last is not None and not last.has_ended:
        return submission(last.submission_id, last.number, "running")
    if last is not None and last.state == "succeeded" and _is_done(spec, planned.fingerprint):
        return submission(last.submission_id, last.number, "done")
    _check_free(spec, [a for a in before if not a.has_ended])
    number = last.number + 1 if last is not None else 1
    submission_id = job_id if number == 1 else f"{job_id}-{number}"
    metadata = {
        "dreamcache_job": spec.name,
        "dreamcache_output": spec.output.rstrip("/"),
        "dreamcache_plan": planned.fingerprint,
        "dreamcache_version": dreamcache.__version__,
        "dreamcache_items": str(planned.num_items),
    }
    try:
        with tempfile.TemporaryDirectory(prefix="dreamcache-submit-") as folder:
            is_handed_over = handover.write(Path(folder) / PLAN_FOLDER, spec, planned, catalog)
            entrypoint = _entrypoint(settings, is_here, plan=is_handed_over)
            _send(api, spec, Path(folder), submission_id, entrypoint, metadata, env, settings)
    except ClusterError as error:
        if "already exists" not in str(error):
            raise
        return submission(submission_id, number, "running")  # another process submitted it a moment ago
    return submission(submission_id, number, "submitted")


def job_id_of(spec: JobSpec, fingerprint: str) -> str:
    """dreamcache-<name>-<12 hex>: the same work into the same output has the same id."""
    identity = ids.of_values("job", plan=fingerprint, output=spec.output.rstrip("/"))
    return f"dreamcache-{spec.name}-{identity[:12]}"


def secrets_in(env: Sequence[str]) -> list[str]:
    """Names among NAME or NAME=value that look like secrets, for a warning."""
    names = [assignment.partition("=")[0] for assignment in env]
    return [name for name in names if _SECRET.search(name)]


def _send(
    api: JobsApi,
    spec: JobSpec,
    folder: Path,
    submission_id: str,
    entrypoint: str,
    metadata: dict[str, str],
    env: dict[str, str],
    settings: SubmitSettings,
) -> None:
    """folder: of this submission; with what is in it already, it becomes the driver's working directory."""
    (folder / "job.yaml").write_text(dump_spec(spec), "utf-8")
    shutil.copyfile(Path(__file__).with_name("entry.py"), folder / ENTRY)
    runtime_env: dict[str, Any] = {"working_dir": str(folder), "env_vars": env}
    if settings.code == "ship":
        runtime_env["py_modules"] = [str(package) for package in _package_folders()]
        runtime_env["excludes"] = ["__pycache__"]
    with reported(api.url):
        api.client.submit_job(
            entrypoint=entrypoint,
            submission_id=submission_id,
            runtime_env=runtime_env,
            metadata=metadata,
            entrypoint_num_cpus=settings.driver_cpus or None,
        )


def _entrypoint(settings: SubmitSettings, is_here: bool, *, plan: bool = False) -> str:
    """exec, so that the signal to stop reaches the driver and no shell before it. plan: one is handed over."""
    # On this machine the interpreter is known; a cluster's images have theirs as `python`.
    python = settings.python or (sys.executable if is_here else "python")
    verb = ["run"] if settings.retry is None else ["retry"]
    for reason in settings.retry or ():
        verb += ["--reason", reason]
    if settings.retry is None and not settings.gallery:
        verb.append("--no-gallery")
    if settings.ok_with_failures:
        verb.append("--ok-with-failures")
    if plan:
        verb += ["--plan", PLAN_FOLDER]
    return "exec " + shlex.join(
        [python, ENTRY, dreamcache.__version__, *verb, "job.yaml", "--address", "auto"]
    )


def _package_folders() -> list[Path]:
    from importlib import import_module

    return [Path(str(import_module(name).__file__)).parent for name in PACKAGES]


def _environment(settings: SubmitSettings) -> dict[str, str]:
    """For driver and workers; Ray's job supervisor reads the first two on a request to stop the job."""
    env = {"RAY_JOB_STOP_SIGNAL": "SIGTERM", "RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(settings.grace_s))}
    for assignment in settings.env:
        name, has_value, value = assignment.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SpecError(f"env '{assignment}': must be NAME or NAME=value")
        if not has_value and name not in os.environ:
            raise SpecError(f"env '{name}': is not set here; set it, or give its value, {name}=value")
        env[name] = value if has_value else os.environ[name]
    return env


def _check_guarded(api: JobsApi, allow_open: bool) -> None:
    if api.is_open and api.url.startswith("http://") and not api.is_loopback and not allow_open:
        raise SpecError(
            f"address '{api.url}': the cluster asks for no token, so whoever reaches it can run code on it; start it "
            f"with RAY_AUTH_MODE=token, or say --allow-open-cluster where its network is closed",
            code="open_cluster",
        )


def _check_paths(spec: JobSpec, url: str) -> None:
    local = [setting for setting in settings_of(spec) if setting.is_local]
    if local:
        named = ", ".join(f"{setting.key} '{setting.value}'" for setting in local)
        raise SpecError(
            f"{named}: must be locations that the cluster at {url} sees, these are on this machine; put them into "
            f"s3://, or say --shared-files where all machines have them under these paths",
            code="local_paths",
        )


def _check_free(spec: JobSpec, running: Sequence[observe.Attempt]) -> None:
    for other in running:
        if other.output == spec.output.rstrip("/"):
            raise SpecError(
                f"output '{spec.output}': job '{other.submission_id}' with another plan is {other.state} there; wait "
                f"for it, or 'dreamcache stop {other.submission_id}' first",
                code="output_busy",
            )


def _is_done(spec: JobSpec, fingerprint: str) -> bool:
    """Whether the manifest still says so; where it cannot be read from here, Ray's state counts."""
    with suppress(DreamCacheError):
        summary = OutputFolder(spec.output).read_summary()
        return summary is not None and summary.get("plan") == fingerprint
    return True
