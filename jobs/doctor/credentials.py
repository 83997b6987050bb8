"""The checks of AWS credentials on this machine: where they come from and how long they hold. Shows no secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dreamcache.core.config.job import JobSpec
from dreamcache.core.locations import settings_of
from jobs.doctor.check import Trial, Verdict, fail, ok, warn

SHORT_S = 3600.0
RENEW = "give the machines a role, which renews itself, or take credentials that outlast the run"


def trials(spec: JobSpec) -> Iterator[Trial]:
    """One check where any setting of the job names a location in S3."""
    if any(setting.needs_s3 for setting in settings_of(spec)):
        yield Trial(name="credentials: lifetime", attempt=lifetime, limit_s=30)


def lifetime() -> Verdict:
    """Of what botocore finds now. Credentials of a role renew themselves; those of the environment end."""
    import botocore.session

    credentials = botocore.session.Session().get_credentials()
    if credentials is None:
        return fail(
            "no AWS credentials found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    source = f"from '{credentials.method}'"
    ends = getattr(credentials, "_expiry_time", None)  # botocore has no public name for it
    if ends is not None and credentials.method != "env":
        return ok(f"temporary, {source}, renewed by itself; now good for {_text(_remaining(ends))}")
    if ends is not None:
        return _by_time(_remaining(ends), source)
    if credentials.get_frozen_credentials().token:
        return warn(f"temporary, {source}, and nothing says when they end", RENEW)
    return ok(f"{source}, without an end")


def _by_time(remaining: float, source: str) -> Verdict:
    if remaining <= 0:
        return fail(f"temporary, {source}, ended {_text(-remaining)} ago", "renew them")
    if remaining < SHORT_S:
        return warn(f"temporary, {source}, good for {_text(remaining)} more and not renewed", RENEW)
    return ok(f"temporary, {source}, good for {_text(remaining)} more and not renewed")


def _remaining(ends: datetime) -> float:
    return (ends - datetime.now(UTC)).total_seconds()


def _text(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
