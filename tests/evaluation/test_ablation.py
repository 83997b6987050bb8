"""An ablation's table from scores with a known answer: seeds and subjects are resampled, orderings claimed late."""

from __future__ import annotations

import numpy as np
import pytest

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.evaluation.ablation import Ablation, Arm, ablation_of, crossed_interval
from dreamcache.evaluation.ablation_report import (
    AblationContext,
    VariantFacts,
    ablation_charts,
    ablation_markdown,
    ablation_table,
)
from dreamcache.evaluation.bootstrap import BootstrapSettings
from dreamcache.evaluation.scores import Score
from dreamcache.evaluation.summary import ScoredImage

FAST = BootstrapSettings(resamples=2000)
SUBJECTS = [f"s{number}" for number in range(12)]
ARMS = [Arm(variant=variant, seed=seed) for variant in ("A", "B") for seed in (0, 1, 2)]


def images(method: str, mean: float, noise: float, seed: int) -> list[ScoredImage]:
    rng = np.random.default_rng(seed)
    return [
        ScoredImage(
            method=method,
            subject_id=subject,
            class_name="mug",
            prompt="p",
            image="x.png",
            sample=0,
            score=Score(score_id=f"{method}{subject}", values={"clip_i": mean + noise * rng.normal()}),
        )
        for subject in SUBJECTS
    ]


def ablation(a: float, b: float, untrained: float = 0.5, noise: float = 0.02) -> Ablation:
    rows = images("untrained", untrained, noise, 99)
    for arm in ARMS:
        rows += images(arm.name, a if arm.variant == "A" else b, noise, arm.seed * 7 + ord(arm.variant))
    return ablation_of(rows, ARMS, "untrained", ("clip_i",), FAST)


def test_an_ordering_is_claimed_only_above_the_untrained_model() -> None:
    for a, b, verdict in (
        (0.8, 0.7, "below"),
        (0.7, 0.8, "above"),
        (0.8, 0.8, "not distinguished"),
        (0.4, 0.3, "not learned"),
    ):
        found = ablation(a, b)
        (gap,) = found.to_baseline
        assert found.verdict(gap, "clip_i") == verdict
        assert gap.values["clip_i"].mean == pytest.approx(b - a, abs=0.02)
    assert [row.variant for row in found.rows] == ["A", "B", "untrained"]


def test_seeds_that_disagree_widen_the_interval() -> None:
    alike = crossed_interval([{s: 0.5 for s in SUBJECTS}] * 3, FAST)
    differing = crossed_interval([{s: value for s in SUBJECTS} for value in (0.3, 0.5, 0.7)], FAST)
    assert alike is not None and differing is not None
    assert alike.bounds == pytest.approx((0.5, 0.5)) and differing.mean == pytest.approx(0.5)
    assert differing.bounds is not None and differing.bounds[1] - differing.bounds[0] > 0.2
    assert crossed_interval([{"one": 0.5}], FAST).bounds is None  # type: ignore[union-attr]
    assert crossed_interval([{}], FAST) is None
    holes = crossed_interval([{"s0": 0.5, "s1": 0.7}, {"s1": 0.9}], FAST)
    assert holes is not None and holes.mean == pytest.approx(0.7) and holes.n == 2


def test_the_report_states_steps_parameters_and_published_numbers() -> None:
    facts = VariantFacts(
        parameters=1234, steps=(10, 10, 10), curves={0: {0: 1.0, 10: 0.5}}, published={"clip_i": 0.81}
    )
    context = AblationContext(
        name="x",
        metrics=MetricSettings(clip="mini", dino=None, segmenter=None),
        level=0.95,
        seeds=(0, 1, 2),
        variants={"A": facts, "B": facts},
        published_from="the paper",
        untrained="untrained",
    )
    found = ablation(0.8, 0.7)
    text = ablation_markdown(found, context)
    for part in (
        "| A | 10 | 1,234 |",
        "B - A",
        "below",
        "Published (the paper)",
        "0.810",
        "compare within this report",
    ):
        assert part in text
    assert set(ablation_charts(found, context)) == {"clip_i.svg", "held-out.svg"}
    rows = ablation_table(found, context).to_pylist()
    assert rows[1]["clip_i_verdict"] == "below" and rows[0]["clip_i_published"] == 0.81
    assert rows[2]["steps"] == [] and rows[2]["clip_i_n"] == len(SUBJECTS)
