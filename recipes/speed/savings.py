"""What savings of sampling cost in identity, on the embedded model: python -m recipes.speed.savings --work DIR

    held-out designs -> pictures of each arm -> object -> own design found?, similarity; PSNR against ddim 50
    the same settings at SD 2.1's size -> TFLOP an image -> the cheapest arm that keeps identity

An arm keeps identity when the 95 % interval of its difference to the first arm, paired by design, reaches 0 in both
retrieval@1 and MCLIP-I, and no mean is below `-MOST_LOSS`. Pictures are kept in DIR: a stopped run
resumes. Needs the extra `measure`. Knows the benchmark's queries and features.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dreamcache.core.config import GenerationSettings
from dreamcache.inference.speed.count import image_tflop
from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
from recipes.mini.measure.generate import Generator
from recipes.mini.measure.objects import FINDERS, cut_out, finder
from recipes.mini.measure.queries import SIDE, Group, Scales, all_classes, photo
from recipes.mini.measure.statistics import interval, ranks

MOST_LOSS = 0.02
"""Of retrieval@1 and of MCLIP-I; with few designs an interval alone would let any loss pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm(Scales):
    """Settings of one row of the table."""

    reuse_encoder: int = 1
    reuse_guidance: int = 1
    guidance_interval: tuple[float, float] = (0.0, 1.0)

    @property
    def name(self) -> str:
        parts = [f"{self.scheduler} {self.num_inference_steps}"]
        if self.reuse_encoder > 1:
            parts.append(f"encoder every {self.reuse_encoder}")
        if self.reuse_guidance > 1:
            parts.append(f"guidance every {self.reuse_guidance}")
        if self.guidance_interval != (0.0, 1.0):
            parts.append(f"guided {self.guidance_interval[0]:g} to {self.guidance_interval[1]:g}")
        return ", ".join(parts)

    @property
    def tflop(self) -> float:
        """Of an image at SD 2.1's size."""
        return image_tflop(GenerationSettings(**self.as_dict()))


def _dpmpp(**savings: Any) -> Arm:
    return Arm(scheduler="dpmpp_2m", num_inference_steps=20, **savings)


ARMS = (
    Arm(num_inference_steps=50),
    _dpmpp(),
    _dpmpp(reuse_guidance=2),
    _dpmpp(reuse_encoder=2),
    _dpmpp(reuse_encoder=2, reuse_guidance=2),
    _dpmpp(guidance_interval=(0.0, 0.8)),
    Arm(num_inference_steps=20),
    _dpmpp(reuse_guidance=3),
)
"""The first is what the others are compared with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Of one arm, a row a design: [designs, scenes]."""

    hits: np.ndarray
    similarity: np.ndarray
    psnr: np.ndarray


def score(group: Group, pictures: Sequence[Image.Image], first: Sequence[Image.Image], tools: Any) -> Scores:
    """tools: (finder of objects, features, CLIP, gallery's features, gallery's CLIP features)."""
    find, features, clip, gallery, clip_gallery = tools
    shape = (len(group.seeds), group.scenes)
    objects = [cut_out(picture, mask) for picture, mask in zip(pictures, find(pictures), strict=True)]
    places = ranks(np.asarray(features(objects) @ gallery.T), group.owners)
    own = (clip.images(objects) * clip_gallery[torch.from_numpy(group.owners)]).sum(dim=1)
    errors = [
        np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
        for a, b in zip(pictures, first, strict=True)
    ]
    psnr = 10 * np.log10(255**2 / np.maximum(errors, 1e-3))
    return Scores(
        hits=(places == 1).reshape(shape), similarity=own.numpy().reshape(shape), psnr=psnr.reshape(shape)
    )


def run(work: Path, *, subjects: int, scenes: int, tools: Path, until: float, arms: int) -> dict[str, Any]:
    """Generates what is missing, writes savings.json and savings.md, and returns the report."""
    group = all_classes(subjects, scenes)
    features, clip = ImageNetFeatures(), ClipFeatures()
    packshots = [cut_out(*photo(seed, SIDE)) for seed in group.seeds]
    gallery, clip_gallery = features(packshots), clip.images(packshots)
    rows: list[dict[str, Any]] = []
    pictures: list[list[Image.Image]] = []
    for arm in ARMS[:arms]:
        started = time.process_time()
        pictures.append(Generator(work, scales=arm, until=until).with_reference(group.queries))
        print(f"savings: {arm.name}: {time.process_time() - started:.0f} s of a core", flush=True)
        found = {
            name: score(
                group,
                pictures[-1],
                pictures[0],
                (finder(name, tools), features, clip, gallery, clip_gallery),
            )
            for name in FINDERS
        }
        rows.append({"arm": arm, "scores": found})
        report = {
            "subjects": subjects,
            "scenes": scenes,
            "rows": [_row(row, rows[0]) for row in rows],
        }
        work.mkdir(parents=True, exist_ok=True)
        (work / "savings.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        (work / "savings.md").write_text(markdown(report), "utf-8")
    return report


def _row(row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    arm: Arm = row["arm"]
    measured: dict[str, Any] = {"name": arm.name, "tflop": round(arm.tflop, 1), "settings": arm.as_dict()}
    for name, scores in row["scores"].items():
        base = first["scores"][name]
        measured[name] = {
            "retrieval@1": interval(scores.hits),
            "MCLIP-I": interval(scores.similarity),
            "retrieval@1 difference": interval(scores.hits.astype(float) - base.hits),
            "MCLIP-I difference": interval(scores.similarity - base.similarity),
        }
    measured["PSNR"] = interval(row["scores"][FINDERS[0]].psnr)
    measured["keeps identity"] = all(
        _keeps(measured[name][key])
        for name in row["scores"]
        for key in ("retrieval@1 difference", "MCLIP-I difference")
    )
    return measured


def _keeps(difference: Sequence[float]) -> bool:
    """difference: (mean, low, high)."""
    return difference[0] >= -MOST_LOSS and difference[2] >= 0


def chosen(report: dict[str, Any]) -> str:
    """The cheapest arm that keeps identity."""
    return str(
        min((row for row in report["rows"] if row["keeps identity"]), key=lambda row: row["tflop"])["name"]
    )


def markdown(report: dict[str, Any]) -> str:
    """The table of docs/speed.md."""
    lines = [
        f"{report['subjects']} held-out designs, {report['scenes']} pictures each; brackets: 95 %, bootstrap over "
        "designs; differences are paired and against the first row.",
        "",
        "| settings | TFLOP an image | retrieval@1 | difference | MCLIP-I difference | PSNR | keeps identity |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        name = FINDERS[0]
        first = row is report["rows"][0]
        lines.append(
            f"| {row['name']} | {row['tflop']} | {_text(row[name]['retrieval@1'])} | "
            f"{'' if first else _text(row[name]['retrieval@1 difference'])} | "
            f"{'' if first else _text(row[name]['MCLIP-I difference'])} | "
            f"{'' if first else _text(row['PSNR'], 1)} | {'yes' if row['keeps identity'] else 'no'} |"
        )
    return "\n".join([*lines, "", f"Chosen: {chosen(report)}.", ""])


def _text(values: Sequence[float], digits: int = 3) -> str:
    mean, low, high = values
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m recipes.speed.savings", description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="pictures and results; the same folder resumes"
    )
    parser.add_argument("--subjects", type=int, default=100)
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--arms", type=int, default=len(ARMS), help="only the first so many")
    parser.add_argument(
        "--tools", type=Path, help="folder of the learned segmenter; trained where it is missing"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop generating after so many")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = run(
        options.work,
        subjects=options.subjects,
        scenes=options.scenes,
        tools=options.tools or options.work / "tools",
        until=time.monotonic() + options.minutes * 60,
        arms=options.arms,
    )
    print(markdown(report))


if __name__ == "__main__":
    main()
