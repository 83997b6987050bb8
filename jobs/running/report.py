"""How a job's run ended: its counts, its exit code and what `--json` prints. Knows numbers only."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dreamcache.storage.json_object import JsonObject
from jobs.output.manifest import Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a run ended. `counts` are of the whole plan, not of this run alone; generated: images of this run."""

    output: str
    counts: Counts
    generated: int
    seconds: float
    gallery: str | None
    pruned: int = 0
    encoded_again: int = 0
    """References whose cached features were damaged, or not what was asked for."""
    stopped: str | None = None
    """Which budget has stopped it, if any."""

    @property
    def exit_code(self) -> int:
        """0 all done, 3 finished with failed or blocked items, 4 stopped by a budget."""
        if self.stopped:
            return 4
        return 0 if self.counts.done == self.counts.total else 3

    def as_dict(self) -> JsonObject:
        return {
            "output": self.output,
            "gallery": self.gallery,
            "generated": self.generated,
            "pruned": self.pruned,
            "encoded_again": self.encoded_again,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
            "stopped": self.stopped,
            "total": self.counts.total,
            **asdict(self.counts),
        }
