"""The check of base model and adapter on this machine. Knows the planner's view of them: files and fingerprints."""

from __future__ import annotations

from collections.abc import Iterator

from dreamcache.core.config.job import JobSpec
from dreamcache.inference.families import describe_method
from dreamcache.storage.models.base import describe_base
from jobs.doctor.check import Trial, Verdict, fail, ok, warn
from jobs.planning.planner import trained_otherwise


def trials(spec: JobSpec) -> Iterator[Trial]:
    """One check: the files are there, and the adapter was trained on this base."""
    yield Trial(name="model: base and adapter match", attempt=lambda: _match(spec), limit_s=300)


def _match(spec: JobSpec) -> Verdict:
    base = describe_base(spec.model.base, spec.model.revision)
    adapter = describe_method(spec.method, spec.model.adapter, base)
    places = spec.reference.resolved(base.native_size, adapter.feature_places, spec.model.dtype).places
    lacking = [place for place in adapter.feature_places if place not in places]
    if lacking:
        return fail(
            f"reference.places lacks {', '.join(lacking)} of the adapter's", "add them, or leave the key out"
        )
    if note := trained_otherwise(spec, adapter):
        return warn(note, "set the job's reference as in the adapter's model card")
    return ok(
        f"base '{base.name}' {base.fingerprint[:12]}, adapter {adapter.fingerprint[:12]} of step {adapter.step}, "
        f"trained on it"
    )
