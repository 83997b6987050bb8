"""report.md shows published numbers where all that was measured is the paper's, and nothing less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dreamcache.evaluation.dreambench import Benchmark, BenchSubject
from dreamcache.evaluation.scores import Score
from dreamcache.evaluation.summary import ScoredImage, summarize
from jobs.evaluate.report import write_report
from jobs.evaluate.spec import parse_eval_spec

SUBJECTS, PROMPTS, SAMPLES = 30, 25, 4


def report(folder: Path, values: Mapping[str, Any], prompts: int = PROMPTS, **score: int) -> str:
    spec = parse_eval_spec(
        {
            "name": "x",
            "output": str(folder),
            "dreambench": {"path": "/bench"},
            "methods": [{"name": "ours", "images": "/images"}],
            "metrics": {},
            "bootstrap": {"resamples": 100},
            **values,
        }
    )
    bench = Benchmark(
        subjects=tuple(
            BenchSubject(
                subject_id=f"s{number}",
                class_name="mug",
                photos=("/a.jpg",),
                prompts=tuple(f"a {{class_name}} in scene {prompt}" for prompt in range(prompts)),
            )
            for number in range(SUBJECTS)
        ),
        missing=(),
    )
    images = [
        ScoredImage(
            method="ours",
            subject_id=subject.subject_id,
            class_name="mug",
            prompt=prompt,
            image=f"/images/{subject.subject_id}/{number}.png",
            score=Score(score_id="s", values={"clip_i": 0.8, "clip_t": 0.3}, num_real=1, **score),
            sample=number,
        )
        for subject in bench.subjects
        for prompt in subject.filled()
        for number in range(spec.dreambench.samples if spec.dreambench else 0)
    ]
    write_report(spec, bench, images, summarize(images, ["ours"], spec.metrics.metrics, spec.bootstrap))
    return (folder / "report.md").read_text("utf-8")


def test_all_that_the_paper_measured_is_compared(tmp_path: Path) -> None:
    text = report(tmp_path, {})
    assert "Published, for comparison" in text and "not shown" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompts": 1}, "1 prompts of a subject instead of 25"),
        ({"values": {"real": "/others"}}, "real photos of /others"),
        ({"values": {"dreambench": {"path": "/bench", "samples": 1}}}, "750 scored images instead of 3000"),
        ({"num_real_unreadable": 1}, "some real photos could not be read (s0 1, "),
    ],
    ids=["prompts", "photos", "images", "unreadable"],
)
def test_what_differs_withholds_published_numbers(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    text = report(tmp_path, changes.pop("values", {}), **changes)
    assert "Published, for comparison" not in text
    assert reason in text.split("Published numbers are not shown:")[1].splitlines()[0]
