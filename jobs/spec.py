"""The job file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Checks what concerns a job file as a whole; its settings are `dreamcache.core.config.job`. Imports no torch.
"""

from __future__ import annotations

import dreamcache.inference.families  # noqa: F401 - registers the methods that a job file may name
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from dreamcache.storage.roots import is_below
from jobs.spec_file import SpecFile


def _check_outside_catalog(spec: JobSpec) -> None:
    """A folder catalog is read with all below it: images generated there would be the next run's products."""
    for key, folder in (("output", spec.output), ("cache", spec.cache_uri)):
        if is_below(folder, spec.catalog):
            raise SpecError(
                f"{key}: must lie outside the catalog's folder '{spec.catalog}', got '{folder}'; choose another folder"
            )


_FILE = SpecFile(
    JobSpec, "job", remedy="'dreamcache init' writes one to start from", check=_check_outside_catalog
)
load_spec, parse_spec, dump_spec = _FILE.load, _FILE.parse, _FILE.dump
