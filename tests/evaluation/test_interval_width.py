"""Intervals are as wide as theory says, 2 z s / sqrt(n) for a mean of subjects; differences need both methods."""

from __future__ import annotations

import numpy as np
import pytest

from dreamcache.evaluation.bootstrap import BootstrapSettings, interval
from dreamcache.evaluation.summary import summarize
from tests.evaluation.test_summary import FAST, METRICS, image


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.960), (0.5, 0.674)])
def test_the_width_is_that_of_both_tails(level: float, z: float) -> None:
    values = np.random.default_rng(0).normal(size=2000)
    found = interval(list(values), BootstrapSettings(level=level, resamples=4000))
    assert found.bounds is not None
    assert found.bounds[1] - found.bounds[0] == pytest.approx(
        2 * z * values.std() / len(values) ** 0.5, rel=0.05
    )
    assert found == interval(list(values), BootstrapSettings(level=level, resamples=4000))


def test_a_subject_of_one_method_only_is_in_no_difference() -> None:
    images = [image("A", subject, 0.5) for subject in ("one", "two", "only-a")]
    images += [image("B", subject, 0.4) for subject in ("one", "two", "only-b")]
    (difference,) = summarize(images, ["A", "B"], METRICS, FAST).differences
    assert difference.num_subjects == 2
    assert difference.values["clip_i"].mean == pytest.approx(0.1)
