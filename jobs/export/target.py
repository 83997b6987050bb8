"""Where an export may write. Knows locations; opens nothing."""

from __future__ import annotations

import os

from dreamcache.core.errors import SpecError
from dreamcache.storage.roots import is_below


def check_target(output: str, target: str) -> None:
    """Raises SpecError for a target inside the job's output, whose files are the job's alone."""
    if is_below(os.path.expanduser(target), os.path.expanduser(output)):
        raise SpecError(
            f"target '{target}': must lie outside the job's output '{output}'; choose another folder"
        )
