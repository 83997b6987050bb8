"""The jobs that can be seen: those a cluster knows by its Jobs API, and those with a status in an output folder.

    JobsApi -> attempts (Ray's submissions of one job) -> state, logs, stop
    <root>/*/status.json -> outcomes and what remains -> with the attempt's state: SeenRun

The cluster knows processes, the output folder knows items; the folder outlives the cluster. Knows nothing of how a job
is submitted. Never imports torch, nor Ray at import.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from dreamcache.core.errors import DreamCacheError, SpecError, did_you_mean
from dreamcache.core.texts import one_line
from dreamcache.storage.run_state import SeenRun, seen
from dreamcache.storage.status import Status, read_status
from dreamcache.storage.store import join
from jobs.cluster.jobs_api import ClusterError, JobsApi, reported
from jobs.output.recount import recounted

JOB_ID = re.compile(r"(dreamcache-.+-[0-9a-f]{12})(?:-([2-9]|[1-9][0-9]+))?")
ENDED = ("succeeded", "with_failures", "over_budget", "failed", "stopped")
_BY_EXIT_CODE = {3: "with_failures", 4: "over_budget"}
READERS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One submission of a job. job_id names the job, submission_id (job_id, job_id-2, ...) this attempt.

    state: pending, running, succeeded, with_failures (exit code 3), over_budget (4), failed or stopped. Times: UTC.
    """

    job_id: str
    submission_id: str
    number: int
    name: str
    output: str
    state: str
    exit_code: int | None
    message: str
    started_at: str | None
    ended_at: str | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def attempts(api: JobsApi) -> list[Attempt]:
    """All attempts of our jobs that the cluster remembers, oldest first."""
    with reported(api.url):
        submissions = api.client.list_jobs()
    ours = [attempt for details in submissions if (attempt := _attempt(details)) is not None]
    return sorted(ours, key=lambda attempt: (attempt.started_at or "", attempt.number))


def newest(api: JobsApi, job: str) -> Attempt:
    """The attempt that `job` means: a submission id, a job's id, or a job's output (then its newest attempt).

    Raises ClusterError `no_job`.
    """
    known = attempts(api)
    output = job.rstrip("/")
    for attempt in reversed(known):
        if job == attempt.submission_id != attempt.job_id:
            return attempt
        if job == attempt.job_id or output == attempt.output:
            return max((a for a in known if a.job_id == attempt.job_id), key=lambda a: a.number)
    raise ClusterError(
        f"job '{job}': the cluster at {api.url} knows no such job"
        f"{did_you_mean(job, [attempt.job_id for attempt in known])}; see 'dreamcache list'",
        code="no_job",
    )


def list_jobs(api: JobsApi | None, output_root: str | None = None) -> list[dict[str, Any]]:
    """A row a job: of the cluster's, the newest attempt of each; then those in `output_root` that it does not know.

    Rows hold job_id (None when only the folder is known), kind, name, state, attempts, exit_code, started_at, output,
    reason (of an end before all was done), note (the newest), and done, failed, remaining, total of the whole plan,
    None where the folder's status.json cannot be read. In the folder there may be evaluations, syntheses and trainings
    too. A run whose driver has died is `lost`.
    """
    last: dict[str, Attempt] = {}
    for attempt in attempts(api) if api else []:
        last[attempt.job_id] = max(attempt, last.get(attempt.job_id, attempt), key=lambda a: a.number)
    outputs = [attempt.output for attempt in last.values()]
    beside = sorted(set(_folders(output_root)) - set(outputs)) if output_root else []
    with ThreadPoolExecutor(READERS) as pool:
        statuses = dict(zip([*outputs, *beside], pool.map(_status_if_any, [*outputs, *beside]), strict=True))
    rows = [_row(attempt, statuses[attempt.output]) for attempt in last.values()]
    for folder in beside:
        status = statuses[folder]
        if status is not None:
            outcome = seen(status)
            rows.append(
                {
                    "job_id": None,
                    "kind": status.kind,
                    "name": status.name,
                    "state": outcome.state,
                    "attempts": None,
                    "exit_code": None,
                    "started_at": status.started_at,
                    "output": folder,
                    **_counts(status),
                    "reason": outcome.reason,
                }
            )
    return rows


def seen_beside(status: Status | None, attempt: Attempt | None) -> SeenRun:
    """How a run stands by its folder and its newest attempt. What ended before it wrote a status is known to Ray only:
    a driver that cannot import its code, or one that Ray has killed a moment ago."""
    if attempt is None:
        return seen(status) if status is not None else SeenRun(state="unknown", reason=None)
    started = attempt.started_at or ""
    is_of_attempt = status is not None and _moment(status.updated_at) >= _moment(started)
    if status is not None and is_of_attempt and (status.has_ended or not attempt.has_ended):
        return seen(status)
    if status is not None and attempt.ended_at and _moment(status.started_at) > _moment(attempt.ended_at):
        return seen(status)  # a later run that nobody submitted
    if not attempt.has_ended:
        return SeenRun(state="starting" if attempt.state == "running" else attempt.state, reason=None)
    state = {"stopped": "stopped", "succeeded": "finished"}.get(attempt.state, "failed")
    reason = one_line(attempt.message)[:500] or f"its driver ended with exit code {attempt.exit_code}"
    return SeenRun(state=state, reason=None if state == "finished" else reason)


def _moment(text: str) -> float:
    try:
        time_of = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)).timestamp()


def _status_if_any(output: str) -> Status | None:
    """A folder's status; None when there is none, or it cannot be read from here."""
    with suppress(DreamCacheError, OSError):
        status = read_status(output)
        return recounted(output, status, seen(status)) if status is not None else None
    return None


def stop(api: JobsApi, attempt: Attempt, *, wait_s: float) -> Attempt:
    """Asks an attempt to end (SIGTERM, then SIGKILL after the grace it was submitted with) and waits for it to."""
    if attempt.has_ended:
        return attempt
    with reported(api.url):
        api.client.stop_job(attempt.submission_id)
    deadline = time.monotonic() + wait_s
    while not attempt.has_ended and time.monotonic() < deadline:
        time.sleep(0.3)
        attempt = again(api, attempt)
    return attempt


def again(api: JobsApi, attempt: Attempt) -> Attempt:
    """The same attempt in its newest state. Raises ClusterError `no_job` when it was deleted."""
    with reported(api.url):
        newest_state = _attempt(api.client.get_job_info(attempt.submission_id))
    if newest_state is None:
        raise ClusterError(f"job '{attempt.submission_id}': is no job of dreamcache's", code="no_job")
    return newest_state


def logs(api: JobsApi, attempt: Attempt) -> str:
    """An attempt's log so far, standard output and error in one text."""
    with reported(api.url):
        return str(api.client.get_job_logs(attempt.submission_id))


def follow_logs(api: JobsApi, attempt: Attempt) -> Iterator[str]:
    """An attempt's log as it grows, until the attempt ends. A connection that is lost is resumed where it was."""
    import asyncio

    import aiohttp

    seen = 0
    with asyncio.Runner() as runner:
        while True:
            position = 0
            tail = api.client.tail_job_logs(attempt.submission_id)
            try:
                while (text := runner.run(_next(tail))) is not None:
                    new = text[max(0, seen - position) :]
                    position += len(text)
                    seen = max(seen, position)
                    if new:
                        yield new
            except (aiohttp.ClientError, RuntimeError, OSError):
                pass  # a proxy's time-out, or the agent of the driver's machine is away
            finally:
                runner.run(tail.aclose())
            if again(api, attempt).has_ended:
                break
            time.sleep(0.5)
    with suppress(ClusterError):
        yield logs(api, attempt)[seen:]


async def _next(tail: Any) -> str | None:
    return await anext(tail, None)


def _attempt(details: Any) -> Attempt | None:
    """Ray's JobDetails as ours; None when somebody else submitted it."""
    named = JOB_ID.fullmatch(details.submission_id or "")
    metadata = details.metadata or {}
    if named is None or "dreamcache_output" not in metadata:
        return None
    state = str(getattr(details.status, "value", details.status)).lower()
    if state == "failed":
        state = _BY_EXIT_CODE.get(details.driver_exit_code, state)
    return Attempt(
        job_id=named.group(1),
        submission_id=details.submission_id,
        number=int(named.group(2) or 1),
        name=metadata.get("dreamcache_job", ""),
        output=metadata["dreamcache_output"],
        state=state,
        exit_code=details.driver_exit_code,
        message=details.message or "",
        started_at=_utc(details.start_time),
        ended_at=_utc(details.end_time),
    )


def _utc(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _row(attempt: Attempt, status: Status | None) -> dict[str, Any]:
    values = asdict(attempt)
    names = ("job_id", "submission_id", "name", "state", "exit_code", "started_at", "ended_at", "output")
    row = {name: values[name] for name in names}
    reason = seen_beside(status, attempt).reason if attempt.has_ended else None
    return {**row, "kind": "job", "attempts": attempt.number, **_counts(status), "reason": reason}


def _counts(status: Status | None) -> dict[str, Any]:
    if status is None:
        return dict.fromkeys(("done", "failed", "remaining", "total", "updated_at", "note"))
    return {
        "done": status.done,
        "failed": status.failed,
        "remaining": status.remaining,
        "total": status.total,
        "updated_at": status.updated_at,
        "note": status.notes[-1] if status.notes else None,
    }


def _folders(root: str) -> list[str]:
    """The folders right below `root`, which is not read any deeper: a job may hold a million images."""
    from dreamcache.storage.arrow import folder_names

    names = folder_names(root)
    if names is None:
        raise SpecError(f"output root '{root}': must be a folder that holds jobs' outputs, there is none")
    return [join(root, name) for name in names]
