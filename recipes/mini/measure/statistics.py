"""Ranks, and means with 95 % bootstrap intervals over subjects: a subject's pictures are not independent."""

from dataclasses import dataclass

import numpy as np

_DRAWS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        return [round(value, 4) for value in (self.mean, self.low, self.high)]

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def interval(values: np.ndarray) -> Interval:
    """values: [subjects, ...]; subjects are drawn again, with replacement, always in the same way."""
    each = np.asarray(values, float).reshape(len(values), -1).mean(axis=1)
    chosen = np.random.default_rng(0).integers(len(each), size=(_DRAWS, len(each)))
    low, high = np.percentile(each[chosen].mean(axis=1), [2.5, 97.5])
    return Interval(mean=float(each.mean()), low=float(low), high=float(high))


def ranks(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The place (from 1) of the owner among all candidates. scores: [questions, candidates]; a tie counts against."""
    own = np.take_along_axis(scores, owners[:, None], axis=1)
    return (scores >= own).sum(axis=1)
