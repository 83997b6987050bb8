"""An interval is as wide as theory says: 2 z s / sqrt(n) for the mean of many subjects."""

from __future__ import annotations

import numpy as np
import pytest

from dreamcache.evaluation.bootstrap import BootstrapSettings, interval


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.960), (0.5, 0.674)])
def test_the_width_is_that_of_both_tails(level: float, z: float) -> None:
    values = np.random.default_rng(0).normal(size=2000)
    found = interval(list(values), BootstrapSettings(level=level, resamples=4000))
    assert found.high - found.low == pytest.approx(2 * z * values.std() / len(values) ** 0.5, rel=0.05)
    assert found == interval(list(values), BootstrapSettings(level=level, resamples=4000))
