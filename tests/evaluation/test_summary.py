"""Means, intervals and reports of scores whose answer is known."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.evaluation.bootstrap import BootstrapSettings, interval
from dreamcache.evaluation.report import ReportContext, charts, images_table, markdown, methods_table
from dreamcache.evaluation.scores import RealPhoto, Score, Scores, score_id
from dreamcache.evaluation.summary import ScoredImage, summarize

FAST = BootstrapSettings(resamples=500)
METRICS = ("clip_i", "mclip_i")


def image(method: str, subject: str, clip_i: float | None, **changes: Any) -> ScoredImage:
    values = {} if clip_i is None else {"clip_i": clip_i, "mclip_i": clip_i / 2}
    fields = {
        "score_id": f"{method}-{subject}-{clip_i}",
        "values": values,
        "found": True,
        "num_real_found": 1,
    }
    return ScoredImage(
        method=method,
        subject_id=subject,
        class_name="mug",
        prompt="a mug",
        image="x.png",
        score=Score(**{**fields, **changes}),
    )


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = interval(rng.normal(0.5, 0.1, 30), FAST)
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / 200 <= 0.99
    assert interval([0.3], FAST).bounds is None and interval([0.3], FAST).mean == 0.3
    assert interval([1, 2, 3], FAST) == interval([1, 2, 3], FAST)


def test_every_subject_counts_once() -> None:
    images = [image("A", "one", 0.2), image("A", "one", 0.4), image("A", "two", 0.9)]
    (mean,) = summarize(images, ["A"], METRICS, FAST).methods
    assert mean.values["clip_i"].mean == pytest.approx((0.3 + 0.9) / 2)
    assert (mean.num_subjects, mean.num_scored) == (2, 3)


def test_what_is_not_found_is_counted_and_in_no_mean() -> None:
    lost = image("A", "one", 0.8, values={"clip_i": 0.8}, found=False, reason="nothing_found")
    no_real = image("A", "one", 0.8, values={"clip_i": 0.8}, num_real_found=0)
    failed = image("A", "one", None, code="damaged_image", message="bad")
    summary = summarize([image("A", "one", 0.4), lost, no_real, failed], ["A"], METRICS, FAST, {"A": 5})
    (mean,) = summary.methods
    assert mean.values["mclip_i"].mean == pytest.approx(0.2)
    assert mean.values["clip_i"].mean == pytest.approx((0.4 + 0.8 + 0.8) / 3)
    assert (mean.num_not_found, mean.num_failed, mean.num_missing) == (2, 1, 5)
    text = markdown(summary, ReportContext(name="x", metrics=MetricSettings(), level=0.95))
    assert "2 of 3 images have no segment to compare" in text
    assert "no_real_segment 1, nothing_found 1" in text
    assert "1 images could not be scored, 5 planned images" in text


def test_differences_are_paired_by_subject() -> None:
    images = [image("A", s, v + 0.1) for s, v in (("one", 0.2), ("two", 0.8))]
    images += [image("B", s, v) for s, v in (("one", 0.2), ("two", 0.8), ("three", 0.1))]
    (difference,) = summarize(images, ["A", "B"], METRICS, FAST).differences
    gap = difference.values["clip_i"]
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference.num_subjects == 2


def test_published_numbers_stand_beside_the_papers_encoders_only() -> None:
    summary = summarize([image("A", "one", 0.4)], ["A"], METRICS, FAST)
    for metrics, bench, shown in (
        (MetricSettings(), True, True),
        (MetricSettings(), False, False),
        (MetricSettings(clip="mini", dino=None), True, False),
    ):
        text = markdown(summary, ReportContext(name="x", metrics=metrics, level=0.95, is_dreambench=bench))
        assert ("0.816" in text) == shown
        assert ("compare within this report only" in text) == (not metrics.are_the_papers)


def test_charts_are_sound_pictures() -> None:
    images = [image(m, s, v) for m in ("A", "B & C <") for s, v in (("one", 0.2), ("two", 0.8))]
    summary = summarize(images, ["A", "B & C <"], METRICS, FAST)
    made = charts(summary)
    assert set(made) == {"clip_i.svg", "clip_i-subjects.svg", "mclip_i.svg", "mclip_i-subjects.svg"}
    for svg in made.values():
        ElementTree.fromstring(svg)
    assert methods_table(summary)["clip_i"].to_pylist() == pytest.approx([0.5, 0.5])
    assert images_table(images).num_rows == 4


def test_scores_come_back_as_they_were_and_a_good_one_wins(tmp_path: Any) -> None:
    scores = Scores(str(tmp_path))
    bad = Score(score_id="a", code="damaged_image", message="bad")
    good = Score(
        score_id="a", values={"clip_i": 0.25}, found=False, reason="opaque", num_real=3, num_real_found=2
    )
    other = Score(score_id="b", values={"clip_t": -0.1}, num_real=1)
    scores.append([bad])
    scores.append([bad])
    scores.append([other, good])
    assert len(list((tmp_path / "scores").iterdir())) == 2
    assert scores.read() == {"a": good, "b": other}


def test_an_id_changes_with_all_that_decides_a_score() -> None:
    real = [RealPhoto(photo_id="p", uri="p.png"), RealPhoto(photo_id="q", uri="q.png")]
    base: dict[str, Any] = {"image": "i", "prompt": "a", "class_name": "mug", "real": real, "settings": "s"}
    changes: list[dict[str, Any]] = [
        {"image": "j"},
        {"prompt": None},
        {"class_name": "cup"},
        {"real": real[:1]},
        {"settings": "t"},
        {"mask": "m"},
    ]
    ids = {score_id(**{**base, **change}) for change in [{}, *changes]}
    assert len(ids) == len(changes) + 1
    assert score_id(**{**base, "real": real[::-1]}) == score_id(**base)
