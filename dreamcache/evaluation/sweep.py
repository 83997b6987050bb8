"""A sweep of guidance (Supp fig. S5): curves over the scale, and the setting that a stated rule chooses.

    MethodMean of each setting -> Point -> choose -> charts, table, a sentence for the report

The rule: of the settings whose text similarity is at most `within` below the best of all, the one with the highest
image similarity. Knows summaries and charts; knows nothing of jobs or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from dreamcache.core.config.evaluate import TITLES
from dreamcache.evaluation.bootstrap import Interval
from dreamcache.evaluation.plot import Curve, curve_chart
from dreamcache.evaluation.report import method_row
from dreamcache.evaluation.summary import MethodMean


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRule:
    """image, text: metrics; within: how much of the text metric may be lost for a better image metric."""

    image: str
    text: str
    within: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One setting. scale: image_scale of combined guidance, or the one scale of joint guidance."""

    guidance: str
    scale: float
    mean: MethodMean

    @property
    def name(self) -> str:
        return self.mean.method

    def value(self, metric: str) -> Interval | None:
        return self.mean.values.get(metric)


def choose(points: Sequence[Point], rule: ChoiceRule) -> Point | None:
    """By the rule above; the first of equals, None where no setting has both metrics."""
    known = [(p, i, t) for p in points if (i := p.value(rule.image)) and (t := p.value(rule.text))]
    if not known:
        return None
    least = max(text.mean for _, _, text in known) - rule.within
    # The tolerance is for the last bits, in which sums of floats differ.
    fit = [(point, image) for point, image, text in known if text.mean >= least - 1e-9]
    return max(fit, key=lambda pair: pair[1].mean)[0]


def sweep_charts(points: Sequence[Point], rule: ChoiceRule, chosen: Point | None) -> dict[str, str]:
    """SVG by file name: each metric over the scale with its intervals, and one metric over the other."""
    files: dict[str, str] = {}
    for metric in (rule.image, rule.text):
        curves = [
            Curve(
                name=guidance,
                points=[(p.scale, v.mean, f"{p.scale:g}") for p, v in own],
                bars=[v.bounds or (v.mean, v.mean) for _, v in own],
            )
            for guidance, own in _by_guidance(points, metric)
        ]
        across = "scale (combined: image_scale; joint: the one scale)"
        files[f"sweep-{metric}.svg"] = curve_chart(
            f"{TITLES[metric]} over the scale", curves, across=across, up=TITLES[metric]
        )
    curves = []
    for guidance, own in _by_guidance(points, rule.image):
        pairs = [(text.mean, image.mean, f"{p.scale:g}") for p, image in own if (text := p.value(rule.text))]
        curves.append(Curve(name=guidance, points=pairs))
    if chosen is not None:
        image, text = chosen.value(rule.image), chosen.value(rule.text)
        if image and text:
            curves.append(Curve(name=f"chosen: {chosen.name}", points=[(text.mean, image.mean, "")]))
    title = f"{TITLES[rule.image]} and {TITLES[rule.text]} of each scale"
    files["sweep.svg"] = curve_chart(title, curves, across=TITLES[rule.text], up=TITLES[rule.image])
    return files


def _by_guidance(points: Sequence[Point], metric: str) -> list[tuple[str, list[tuple[Point, Interval]]]]:
    names = dict.fromkeys(point.guidance for point in points)
    return [
        (name, [(p, v) for p in points if p.guidance == name and (v := p.value(metric))]) for name in names
    ]


def sweep_table(points: Sequence[Point], metrics: tuple[str, ...], chosen: Point | None) -> pa.Table:
    """A row per setting: its means and intervals, and whether it is the chosen one."""
    return pa.Table.from_pylist(
        [
            {
                "guidance": point.guidance,
                "scale": point.scale,
                "chosen": point is chosen,
                **method_row(point.mean, metrics),
            }
            for point in points
        ]
    )


def sweep_note(rule: ChoiceRule, chosen: Point | None) -> str:
    """The rule and its choice, for the report."""
    stated = (
        f"of the settings whose {TITLES[rule.text]} is at most {rule.within:g} below the grid's best, the one with "
        f"the highest {TITLES[rule.image]}"
    )
    if chosen is None:
        return f"Chosen: none, since no setting has both metrics (rule: {stated})."
    return f"Chosen: **{chosen.name}**, by the rule: {stated}."
