"""What every worker of a job works on: one frozen value, sent once. Knows no torch and no Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dreamcache
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.scenes import overrides_of
from dreamcache.core.records import Request
from dreamcache.inference.facts import PlanFacts

if TYPE_CHECKING:
    from dreamcache.inference.session import JobSession

REQUEST_COLUMNS = tuple(Request.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """The job, and the facts of the plan about its models."""

    spec: JobSpec
    facts: PlanFacts

    @property
    def provenance(self) -> dict[str, str]:
        """What every image's metadata says of how it was generated."""
        base = self.facts.base
        return {
            "base": f"{base.name}@{base.fingerprint[:12]}",
            "adapter": self.facts.adapter.fingerprint[:12],
            "dreamcache": dreamcache.__version__,
            "settings": str(self._public_settings()),
        }

    def of_row(self, overrides: str | None) -> JobContext:
        """As if the job had the settings of a plan row with these overrides."""
        if overrides is None:
            return self
        generation = overrides_of(overrides).generation(self.spec.generation)
        return replace(self, spec=replace(self.spec, generation=generation))

    def _public_settings(self) -> dict[str, Any]:
        """Those of generation, without texts that only `provenance.prompt` publishes."""
        private = () if self.spec.provenance.prompt else ("negative_prompt",)
        return {name: value for name, value in self.spec.generation.as_dict().items() if name not in private}

    def open_session(self) -> JobSession:
        """The job's models on this worker's device. Raises ModelError when they are not those of the plan."""
        from dreamcache.inference.session import JobSession, num_threads
        from workers.bootstrap import start_torch

        return JobSession(self.spec, self.facts, device=start_torch(num_threads(self.spec)))


def request_of(row: dict[str, Any]) -> Request:
    """The request in a plan row; columns that came after the release that wrote it have their defaults."""
    return Request(**{name: row[name] for name in REQUEST_COLUMNS if name in row})
