"""How well the truth checks separate changed products from unchanged ones: ROC areas, and rates at fixed thresholds.

    python -m recipes.quality.truth --ocr models/rapidocr [--u2net models/u2net/u2netp.onnx] --products 100 > table.md

Each rendered product has a reference on white; it is shown in another pose and scene untouched, and with each change of
`products`. Thresholds are fixed on the first products and counted on the others. Needs the extra ocr.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.records import Reference, Request
from dreamcache.evaluation.truth.check import Truth, TruthChecker
from recipes.quality.products import Change, Shot, picture, product, shot

CHANGES: tuple[Change, ...] = ("none", "letter", "colour", "main colour", "missing", "blurred", "blank")
LABEL_CHANGES: tuple[Change, ...] = ("letter", "blurred")
FIXED_ON = 0.4
"""Share of the products on which thresholds are fixed."""
PASSING = 0.95
"""Of untouched images of these, at a threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A score as one number that is high for right images, and the changes that it must notice."""

    name: str
    changes: tuple[Change, ...]


MEASURES = (
    Measure(name="colour_difference", changes=("colour", "main colour")),
    Measure(name="label_words", changes=("letter",)),
    Measure(name="completeness", changes=("missing",)),
    Measure(name="contrast", changes=("blank",)),
)


def value_of(measure: Measure, truth: Truth) -> float:
    """A score that is missing is the worst."""
    value = getattr(truth, measure.name)
    if value is None:
        return -np.inf
    return -float(value) if measure.name == "colour_difference" else float(value)


def roc_area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Chance that a right image scores higher than a wrong one; equal ones count half."""
    one, other = np.asarray(right)[:, None], np.asarray(wrong)[None]
    return float((one > other).mean() + (one == other).mean() / 2)


def request_of(folder: Path, number: int) -> Request:
    """An item whose photo is the product's reference on white."""
    path, out = folder / f"{number}.png", io.BytesIO()
    Image.fromarray(picture(product(number), Shot(seed=number))[0]).save(out, "PNG")
    path.write_bytes(out.getvalue())
    return Request(
        item_id=f"{number:064x}", subject_id=str(number), class_name="pack", cache_key="", prompt="", sample=0,
        seed=number, image=str(path), mask=None, reference_id=Reference.id_of(out.getvalue(), None),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkers:
    """Print is read by one of two, so that it is read only where it counts: it takes most of the time."""

    look: TruthChecker
    label: TruthChecker | None

    def check(self, request: Request, rgb: NDArray[np.uint8], change: Change) -> Truth:
        """All scores that the change, or none, is about."""
        truth = Truth() if change in LABEL_CHANGES else self.look.check(request, rgb)
        if self.label is None or change not in ("none", *LABEL_CHANGES):
            return truth
        label = self.label.check(request, rgb)
        return replace(truth, label_words=label.label_words, label_state=label.label_state)


def checkers_of(ocr: str | None, u2net: str | None) -> Checkers:
    models: Mapping[str, str] = {"u2net": u2net} if u2net else {}
    metrics = MetricSettings(segmenter="auto", segmenter_models=models)
    look = QualitySettings(measure=("contrast", "outline", "colour"), metrics=metrics)
    label = QualitySettings(measure=("label",), ocr=ocr, metrics=metrics) if ocr else None
    return Checkers(look=TruthChecker(look), label=TruthChecker(label) if label else None)


def measured(checkers: Checkers, numbers: Sequence[int]) -> Iterator[dict[Change, Truth]]:
    """The scores of each product's images."""
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            request, how, one = request_of(Path(folder), number), shot(number), product(number)
            yield {
                change: checkers.check(request, picture(one, how, change)[0], change) for change in CHANGES
            }


def table(rows: Sequence[Mapping[Change, Truth]]) -> list[dict[str, object]]:
    """Per measure and change: ROC area on the later products, and shares refused there at the fixed threshold."""
    first = rows[: round(FIXED_ON * len(rows))]
    later = rows[len(first) :]
    lines: list[dict[str, object]] = []
    for measure in MEASURES:
        values = sorted(value_of(measure, row["none"]) for row in first)
        threshold = values[int((1 - PASSING) * len(values))]
        right = [value_of(measure, row["none"]) for row in later]
        for change in measure.changes:
            wrong = [value_of(measure, row[change]) for row in later]
            lines.append({
                "score": measure.name, "change": change, "roc": round(roc_area(right, wrong), 3),
                "threshold": round(abs(threshold), 3),
                "refused_untouched": float(np.mean(np.asarray(right) < threshold)),
                "refused_changed": float(np.mean(np.asarray(wrong) < threshold)),
            })  # fmt: skip
    return lines


def states(rows: Sequence[Mapping[Change, Truth]]) -> dict[str, dict[str, int]]:
    """Per change: how often each state of the label."""
    seen: dict[str, dict[str, int]] = {}
    for row in rows:
        for change, truth in row.items():
            counts = seen.setdefault(change, {})
            counts[str(truth.label_state)] = counts.get(str(truth.label_state), 0) + 1
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ocr")
    parser.add_argument("--u2net")
    parser.add_argument("--products", type=int, default=100)
    options = parser.parse_args()
    checkers, rows = checkers_of(options.ocr, options.u2net), []
    for row in measured(checkers, range(options.products)):
        rows.append(row)
        shown = {change: asdict(truth) for change, truth in row.items()}
        print(len(rows), json.dumps(shown), file=sys.stderr, flush=True)
    print(
        "| score | change | ROC area | threshold | untouched refused | changed refused |\n|---|---|---|---|---|---|"
    )
    for line in table(rows):
        print(
            f"| {line['score']} | {line['change']} | {line['roc']:.3f} | {line['threshold']} | "
            f"{line['refused_untouched']:.0%} | {line['refused_changed']:.0%} |"
        )
    print(json.dumps({"products": len(rows), "label_state": states(rows)}))


if __name__ == "__main__":
    main()
