"""The sweep's rule, curves, table and contact sheet, and what a sweep's file may say."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.errors import SpecError
from dreamcache.evaluation.bootstrap import Interval
from dreamcache.evaluation.sheet import sheet
from dreamcache.evaluation.summary import MethodMean
from dreamcache.evaluation.sweep import ChoiceRule, Point, choose, sweep_charts, sweep_note, sweep_table
from jobs.evaluate.spec import EvalSpec, parse_eval_spec

RULE = ChoiceRule(image="clip_i", text="clip_t", within=0.02)


def point(guidance: str, scale: float, image: float | None, text: float | None) -> Point:
    means = {"clip_i": image, "clip_t": text}
    values = {
        name: Interval(mean=mean, low=mean - 0.05, high=mean + 0.05)
        for name, mean in means.items()
        if mean is not None
    }
    counts = dict.fromkeys(("num_subjects", "num_scored", "num_failed", "num_not_found", "num_missing"), 1)
    mean = MethodMean(method=f"{guidance} {scale:g}", values=values, reasons={}, **counts)
    return Point(guidance=guidance, scale=scale, mean=mean)


POINTS = [
    point("combined", 0, 0.60, 0.300),
    point("combined", 1, 0.70, 0.290),
    point("combined", 2, 0.80, 0.280),  # 0.02 below the best: still within
    point("combined", 3, 0.90, 0.250),
    point("joint", 2, 0.75, 0.285),
]


def test_the_highest_image_similarity_that_keeps_the_text() -> None:
    chosen = choose(POINTS, RULE)
    assert chosen is POINTS[2]
    assert choose(POINTS, ChoiceRule(image="clip_i", text="clip_t", within=0.0)) is POINTS[0]
    assert choose(POINTS, ChoiceRule(image="clip_i", text="clip_t", within=1.0)) is POINTS[3]
    assert choose([point("joint", 1, None, 0.3)], RULE) is None
    assert (
        choose([*POINTS, point("joint", 9, None, 0.9)], RULE) is POINTS[2]
    )  # what is not measured sets no bound
    assert "**combined 2**, by the rule" in sweep_note(RULE, chosen)
    assert "at most 0.02 below the grid's best" in sweep_note(RULE, None)
    table = sweep_table(POINTS, ("clip_i", "clip_t"), chosen)
    assert table["chosen"].to_pylist() == [False, False, True, False, False]
    assert table["clip_i_high"][0].as_py() == pytest.approx(0.65)


def test_curves_have_a_dot_and_an_interval_for_each_setting() -> None:
    charts = sweep_charts(POINTS, RULE, POINTS[2])
    assert set(charts) == {"sweep-clip_i.svg", "sweep-clip_t.svg", "sweep.svg"}
    for name, extra in (("sweep-clip_i.svg", 0), ("sweep.svg", 1)):
        root = ElementTree.fromstring(charts[name])
        curves = root.findall("{*}polyline")
        assert len(curves) == 2 + extra
        legend = len(curves)
        assert len(root.findall("{*}circle")) == len(POINTS) + extra + legend
    bars = [line for line in ElementTree.fromstring(charts["sweep-clip_i.svg"]).findall("{*}line")]
    assert sum(line.get("stroke-width") == "1.5" for line in bars) == len(POINTS)
    assert "chosen: combined 2" in charts["sweep.svg"]


def test_a_contact_sheet_has_every_picture_in_its_place() -> None:
    colours = [[(10 * row, 20 * column, 200) for column in range(3)] for row in range(2)]
    cells = [[Image.new("RGB", (8, 8), colour) for colour in row] for row in colours]
    made = np.asarray(sheet(cells, ["a", "b", "c"], ["first", "second"], cell=32))
    for row in range(2):
        for column in range(3):
            place = made[19 + row * (32 + 3 + 16) + 16, 3 + column * 35 + 16]
            assert tuple(place) == colours[row][column]


def spec(**values: Any) -> EvalSpec:
    run = {"catalog": "/c.csv", "prompts": ["a mug"], "generation": {"text_scale": 3.0}}
    metrics = {"clip": "mini", "dino": None, "segmenter": None}
    return parse_eval_spec({"name": "x", "output": "/out", "run": run, "metrics": metrics, **values})


def test_the_grid_is_one_job_per_setting_with_the_same_noise() -> None:
    made = spec(sweep={"combined": [0, 2], "joint": [5]})
    specs = [made.job_of(line) for line in made.lines()]
    generations = [(s.generation.guidance, s.generation.image_scale, s.generation.text_scale) for s in specs]
    assert generations == [("combined", 0, 3), ("combined", 2, 3), ("joint", None, 5)]
    assert {s.noise for s in specs} == {"scene"}
    assert len({s.output for s in specs}) == 3 and len({s.cache for s in specs}) == 1


@pytest.mark.parametrize("scales", [[-1, 1], [0.1234567, 0.12345671]])
def test_scales_that_are_near_have_folders_of_their_own(scales: list[float]) -> None:
    made = spec(sweep={"combined": scales, "joint": []})
    assert len({made.job_of(line).output for line in made.lines()}) == 2
    assert len({line.name for line in made.lines()}) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either methods or a sweep"),
        ({"sweep": {}, "methods": [{"name": "x"}]}, "either methods or a sweep"),
        ({"sweep": {"combined": [1], "joint": []}}, "at least two scales"),
        ({"sweep": {"combined": [1, 1]}}, "each scale once"),
        ({"sweep": {"image_metric": "dino"}}, "the encoder and segmenter of sweep's dino"),
    ],
)
def test_what_is_no_sweep_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**values)
