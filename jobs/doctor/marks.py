"""The check of the marks of generated images: an image is marked and read again, and the certificate looked at."""

from __future__ import annotations

from collections.abc import Iterator

from dreamcache.core.config.job import JobSpec
from dreamcache.provenance.marker import check_marks
from jobs.doctor.check import Trial, Verdict, fail, ok, warn
from jobs.planning.marks import marks_of


def trials(spec: JobSpec) -> Iterator[Trial]:
    """Signs a few pixels with the job's certificate, as every run does before its first image."""
    yield Trial(name="marks: of generated images", attempt=lambda: _marks(spec), limit_s=120)


def _marks(spec: JobSpec) -> Verdict:
    marks = marks_of(spec.provenance)
    finding = marks.line().removeprefix("marks: ")
    if marks.is_broken:
        return fail(finding, "get a certificate that is valid now; name it in provenance.c2pa.certificate")
    check_marks(spec)
    if not marks.layers:
        return warn(finding, "leave 'provenance: off' out, unless images are never published")
    if marks.problem:
        return warn(finding, "for images that are published, use a certificate of an authority")
    return ok(finding)
