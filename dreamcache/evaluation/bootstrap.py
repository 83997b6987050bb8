"""Confidence intervals over subjects: what the mean would be with other subjects of the same kind.

Images of one subject are not independent, so whole subjects are resampled, with replacement, and the interval is
between percentiles of the means. Seeded: the same scores have the same interval. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt

from dreamcache.core.config.fields import Seed
from dreamcache.core.config.rules import Most, Settings

CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapSettings(Settings):
    """resamples: how often subjects are resampled; level: of the interval, e.g. 0.95."""

    resamples: Annotated[int, Ge(100), Most(1_000_000)] = 10_000
    level: Annotated[float, Gt(0), Lt(1)] = 0.95
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The mean of n subjects' means, and the interval around it.

    low, high: None with one subject, of which nothing can be resampled: a number without an interval.
    """

    mean: float
    low: float | None
    high: float | None
    n: int = 0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high), None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is above zero: what a difference needs to be claimed."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        return self.high is not None and self.high < 0

    def __str__(self) -> str:
        if self.bounds is None:
            return f"{self.mean:.3f} (n = {self.n})"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(subject_means: Sequence[float], settings: BootstrapSettings) -> Interval:
    """Mean and percentile interval of one number per subject; no interval of one. ValueError for no subjects."""
    values = np.asarray(subject_means, dtype=np.float64)
    if values.size == 0:
        raise ValueError("subject_means must hold at least one subject")
    if values.size == 1:
        return Interval(mean=float(values[0]), low=None, high=None, n=1)
    rng = np.random.default_rng(settings.seed)
    means = np.empty(settings.resamples)
    step = max(1, CHUNK // values.size)  # bounds memory for many subjects
    for start in range(0, settings.resamples, step):
        count = min(step, settings.resamples - start)
        means[start : start + count] = values[rng.integers(values.size, size=(count, values.size))].mean(
            axis=1
        )
    tail = 50 * (1 - settings.level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(mean=float(values.mean()), low=float(low), high=float(high), n=int(values.size))
