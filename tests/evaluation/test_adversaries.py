"""Methods that would look good in a careless table: what the report states of each."""

from __future__ import annotations

from typing import Any

import pytest

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.evaluation.report import ReportContext, differences_table, markdown
from dreamcache.evaluation.scores import Score
from dreamcache.evaluation.summary import MISSES, ScoredImage, Summary, summarize
from tests.evaluation.test_summary import FAST, METRICS

SUBJECTS = ("one", "two", "three", "four")
PROMPTS = ("on grass", "in snow")
CONTEXT = ReportContext(name="x", metrics=MetricSettings(), level=0.95, is_dreambench=True)


def image(method: str, subject: str, prompt: str | None, value: float | None, **more: Any) -> ScoredImage:
    """value: of CLIP-I and MCLIP-I; None for a grey picture, in which the segmenter finds nothing."""
    values = {"clip_i": 0.2} if value is None else {"clip_i": value, "mclip_i": value}
    score = Score(
        score_id=f"{method}{subject}{prompt}",
        values=values,
        found=value is not None,
        reason=None,
        num_real_found=2,
    )
    fields: dict[str, Any] = {"class_name": "mug", "image": "x.png", "sample": 0, **more}
    return ScoredImage(method=method, subject_id=subject, prompt=prompt, score=score, **fields)


def honest(value: float = 0.8) -> list[ScoredImage]:
    return [image("honest", subject, prompt, value) for subject in SUBJECTS for prompt in PROMPTS]


def table(rows: list[ScoredImage], other: str) -> Summary:
    return summarize([*honest(), *rows], ["honest", other], METRICS, FAST)


def test_a_method_that_is_grey_half_of_the_time_wins_only_where_misses_are_not_counted() -> None:
    rows = [image("grey", s, p, None if p == "in snow" else 0.9) for s in SUBJECTS for p in PROMPTS]
    summary = table(rows, "grey")
    masked, counted = (summary.methods[1].values[name].mean for name in ("mclip_i", "mclip_i" + MISSES))
    assert masked == pytest.approx(0.9) and counted == pytest.approx(0.45)
    gap = summary.differences[0].values
    assert gap["mclip_i"].is_below_zero and gap["mclip_i" + MISSES].is_above_zero
    text = markdown(summary, CONTEXT)
    assert "MCLIP-I, misses 0" in text and "4 of 8 images have no segment" in text


def test_other_prompts_are_not_compared() -> None:
    rows = [
        image("others", subject, prompt, 0.95)
        for subject in SUBJECTS
        for prompt in ("on white", "in a studio")
    ]
    summary = table(rows, "others")
    (difference,) = summary.differences
    assert not difference.values and difference.num_images == 0
    assert "have no image of the same subject, prompt and sample" in markdown(summary, CONTEXT)
    assert differences_table(summary).to_pylist()[0]["clip_i_n"] == 0


def test_permuted_subjects_share_no_pair_of_another_subject() -> None:
    """A's images under B's name: means are of other subjects, and so is every pair."""
    values = dict(zip(SUBJECTS, (0.9, 0.7, 0.5, 0.3), strict=True))
    ours = [image("honest", s, p, values[s]) for s in SUBJECTS for p in PROMPTS]
    permuted = [
        image("permuted", s, p, values[SUBJECTS[i - 1]]) for i, s in enumerate(SUBJECTS) for p in PROMPTS
    ]
    summary = summarize([*ours, *permuted], ["honest", "permuted"], METRICS, FAST)
    gap = summary.differences[0].values["clip_i"]
    assert gap.mean == pytest.approx(0) and gap.bounds is not None and gap.bounds[1] - gap.bounds[0] > 0.2
    assert not gap.is_above_zero and not gap.is_below_zero


def test_one_subject_has_no_interval() -> None:
    rows = [image(method, "one", prompt, 0.8) for method in ("honest", "b") for prompt in PROMPTS]
    summary = summarize(rows, ["honest", "b"], METRICS, FAST)
    for value in (summary.methods[0].values["clip_i"], summary.differences[0].values["clip_i"]):
        assert value.bounds is None and value.n == 1
    text = markdown(summary, CONTEXT)
    assert "0.800 (n = 1)" in text and "[0.800" not in text


def test_a_method_in_which_nothing_is_found_has_zero_where_misses_count() -> None:
    summary = table([image("blank", s, p, None) for s in SUBJECTS for p in PROMPTS], "blank")
    blank = summary.methods[1].values
    assert "mclip_i" not in blank and blank["mclip_i" + MISSES].mean == 0


def test_unknown_prompts_are_compared_by_subject_and_the_report_says_so() -> None:
    summary = table([image("folder", subject, None, 0.7) for subject in SUBJECTS], "folder")
    (difference,) = summary.differences
    assert difference.by_subject and difference.values["clip_i"].mean == pytest.approx(0.1)
    assert "whole subjects are compared" in markdown(summary, CONTEXT)


def test_other_settings_than_the_papers_withhold_its_numbers() -> None:
    narrowed = ReportContext(
        name="x",
        metrics=MetricSettings(),
        level=0.95,
        is_dreambench=True,
        not_the_papers=("5 of the 25 prompts",),
    )
    other_segmenter = ReportContext(
        name="x", metrics=MetricSettings(segmenter="grabcut"), level=0.95, is_dreambench=True
    )
    summary = summarize(honest(), ["honest"], METRICS, FAST)
    assert "0.906" in markdown(summary, CONTEXT)
    assert "0.816" not in (text := markdown(summary, narrowed)) and "not shown: 5 of the 25 prompts" in text
    assert "0.816" in (text := markdown(summary, other_segmenter)) and "0.906" not in text
