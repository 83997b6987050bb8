"""status.json of a run, its notes, and the gauge of what is left: what others see while it runs.

Knows the output folder; knows nothing of Ray.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from jobs.output.folder import OutputFolder
from jobs.running.budget import Budget
from workers.telemetry import Telemetry


class RunStatus:
    """Of one run. spent: what earlier runs have cost is in `budget`."""

    def __init__(self, job: str, folder: OutputFolder, budget: Budget, quiet: bool) -> None:
        self.job, self.folder, self.budget, self.quiet = job, folder, budget, quiet
        self.notes: list[str] = []
        self.telemetry = Telemetry(folder.uri, "driver")

    def write(self, progress: dict[str, Any], state: str = "running") -> None:
        """progress: of JobProgress. Raises StorageError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = {"job": self.job, "state": state, "this_run": progress, "updated_at": now}
        self.folder.write_status({**status, "spent": self.budget.spent(), "notes": self.notes})
        self.telemetry.left(progress["left"])

    def note(self, text: str) -> None:
        """The user should hear of this, now and in status.json."""
        self.notes.append(text)
        if not self.quiet:
            print(f"note: {text}", file=sys.stderr, flush=True)
