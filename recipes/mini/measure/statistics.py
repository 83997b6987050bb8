"""Ranks, and means with the product's bootstrap intervals over subjects: a subject's pictures are not independent."""

import numpy as np

from dreamcache.evaluation.bootstrap import BootstrapSettings
from dreamcache.evaluation.bootstrap import interval as bootstrap


def interval(values: np.ndarray) -> list[float]:
    """[mean, low, high] at 95 %. values: [subjects, ...]; the same values have the same interval."""
    means = np.asarray(values, float).reshape(len(values), -1).mean(axis=1)
    estimate = bootstrap(means, BootstrapSettings())
    low, high = estimate.bounds or (estimate.mean, estimate.mean)
    return [round(value, 4) for value in (estimate.mean, low, high)]


def ranks(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The rank (from 1) of the owner among all candidates. scores: [queries, candidates]; a tie counts against."""
    own = np.take_along_axis(scores, owners[:, None], axis=1)
    return (scores >= own).sum(axis=1)
