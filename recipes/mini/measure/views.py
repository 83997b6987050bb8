"""What further photos of a product change, front and back: python -m recipes.mini.measure.views --work DIR.

    photos of a design (1, 2, 4) --pipeline--> error of v on true pictures of its front and of its back
                                 --generated pictures, object found--> features --> retrieval among packshots

Weights are those in the package; nothing is trained. Pictures and errors are kept in DIR: a stopped run resumes. Few
designs are in memory at a time. Exit codes: 0 done, 4 stopped by --minutes. Knows the pipeline and the world.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from PIL import Image

from dreamcache.model.features import Features, PhotoSet, SubjectFeatures
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.unet import decoder_half, encoder_half
from recipes.mini.measure.features import ImageNetFeatures
from recipes.mini.measure.generate import PHOTO_SIDE, Generator, OutOfTimeError
from recipes.mini.measure.objects import FINDERS, Finder, cut_out, finder
from recipes.mini.measure.queries import SIDE, Group, Query, Scales, all_classes, photo, real
from recipes.mini.measure.report import cell
from recipes.mini.measure.statistics import interval, ranks

STOPPED = 4
LEVELS = (300, 500, 700)
"""Timesteps at which errors are measured."""

Shot = tuple[int, bool]
"""(number of the packshot, whether from behind)"""

FRONT, BACK, FRONT_2, BACK_2 = (0, False), (1, True), (2, False), (3, True)
ARMS: dict[str, tuple[Shot, ...]] = {
    "1 photo: front": (FRONT,),
    "1 photo: back": (BACK,),
    "2 photos: front, back": (FRONT, BACK),
    "2 photos: both of the front": (FRONT, FRONT_2),
    "4 photos: two of each side": (FRONT, BACK, FRONT_2, BACK_2),
}
FIRST = next(iter(ARMS))
GENERATED = tuple(arm for number, arm in enumerate(ARMS) if number in (0, 2, 4))
"""Arms of retrieval: the front, front and back, two of each."""
SIDES = ("front", "back")
SCENES = 4
"""Of the benchmark, whose first are taken."""
_CHUNK = 10
"""Designs in one pass, and in one file of errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What measures pictures. features: unit vectors [n, d]."""

    features: Callable[[Sequence[Image.Image]], Any]
    find: Finder

    @classmethod
    def load(cls, folder: Path) -> "Tools":
        """The learned finder, and features that nothing here was trained with."""
        return cls(features=ImageNetFeatures(), find=finder(FINDERS[0], folder))


class Photos:
    """Encoded packshots of the designs of one chunk."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._recent: dict[tuple[int, Shot], SubjectFeatures] = {}

    def of(self, seed: int, shots: Sequence[Shot]) -> Features:
        """The subject of a design with these photos."""
        photos = tuple(self._one(seed, shot) for shot in shots)
        return photos[0] if len(photos) == 1 else PhotoSet(photos=photos)

    def _one(self, seed: int, shot: Shot) -> SubjectFeatures:
        if len(self._recent) > 4 * 2 * _CHUNK:
            self._recent.clear()
        if (seed, shot) not in self._recent:
            picture, _ = photo(seed, PHOTO_SIDE, number=shot[0], back=shot[1])
            settings = self.generator.encode
            self._recent[seed, shot] = self.generator.pipe.encode_reference(picture, settings=settings)
        return self._recent[seed, shot]


def run(
    work: Path,
    *,
    subjects: int,
    scenes: int,
    until: float = float("inf"),
    scales: Scales = Scales(),
    tools: Tools | None = None,
) -> dict[str, Any]:
    """Measures what is missing, writes views.json and views.md; returns the report. Raises OutOfTimeError."""
    generator, group = Generator(work, scales=scales, until=until), all_classes(subjects, SCENES)
    generator.pipe.set_progress_bar_config(disable=True)
    queries = [query for query in group.queries if query.number < scenes]
    photos = Photos(generator)
    errors = [_errors(generator, photos, chunk, until) for chunk in _chunks(group)]
    report: dict[str, Any] = {
        "weights": generator.weights, "scales": generator.scales.as_dict(), "levels": list(LEVELS),
        "designs": subjects, "scenes": scenes, "error": _error_rows(errors),
    }  # fmt: skip
    _write(work, report)
    pictures = {
        arm: generator.with_subjects(
            f"views-{number}", queries, lambda query, shots=shots: photos.of(query.seed, shots)
        )
        for number, (arm, shots) in enumerate(ARMS.items())
        if arm in GENERATED
    }
    report["retrieval"] = _retrieval(group.seeds, pictures, tools or Tools.load(work / "tools"))
    _write(work, report)
    return report


def _chunks(group: Group) -> list[tuple[Query, ...]]:
    """The first scene of each design, `_CHUNK` designs a chunk."""
    firsts = group.queries[:: group.scenes]
    return [firsts[start : start + _CHUNK] for start in range(0, len(firsts), _CHUNK)]


def _errors(generator: Generator, photos: Photos, chunk: Sequence[Query], until: float) -> dict[str, Any]:
    """{side: {arm: [design, level]}} of a chunk, from its file where there is one."""
    name = f"errors-{chunk[0].seed}-{len(chunk)}.json"
    path = generator.folder / name
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return kept
    if time.monotonic() > until:
        raise OutOfTimeError(f"errors: {name} and those after it are left")
    values: dict[str, Any] = {}
    for side in SIDES:
        values[side] = {"no photo": side_errors(generator, chunk, side == "back", None)}
        for arm, shots in ARMS.items():
            subjects = [photos.of(query.seed, shots) for query in chunk]
            values[side][arm] = side_errors(generator, chunk, side == "back", subjects)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values), "utf-8")
    os.replace(partial, path)
    print(f"views: errors of {len(chunk)} designs from {chunk[0].seed} on", flush=True)
    return values


@torch.no_grad()
def side_errors(
    generator: Generator, chunk: Sequence[Query], back: bool, subjects: Sequence[Features] | None
) -> list[list[float]]:
    """[design][level]: the mean squared error of v on the object of a true picture, the same noise for every arm."""
    pipe = generator.pipe
    unet, vae, adapter = pipe.base.unet, pipe.base.vae, pipe.adapter
    assert adapter is not None and pipe.projections is not None
    pairs = [real(query, back=back) for query in chunk]
    pixels = pipe.base.image_processor.preprocess([picture for picture, _ in pairs]).to(vae.device, vae.dtype)
    latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.stack(
        [
            torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(query.noise_seed))
            for query in chunk
        ]
    ).to(latents)
    masks = torch.from_numpy(np.stack([mask for _, mask in pairs])).float()[:, None]
    masks = torch.nn.functional.adaptive_avg_pool2d(masks, latents.shape[-2:]).to(latents)
    text = pipe.prompts.read([query.prompt for query in chunk], pixels=(SIDE, SIDE))
    memory = None
    if subjects is not None:
        each = [pipe.projections.get(subject) for subject in subjects]
        rows = torch.arange(len(chunk), device=latents.device)
        memory = Memory(keys_values=_stacked(each), rows=rows)
    scheduler = DDPMScheduler.from_config(pipe.base.scheduler.config)
    columns = []
    for level in LEVELS:
        steps = torch.full((len(chunk),), level, device=latents.device)
        noised = scheduler.add_noise(latents, noise, steps)
        with injecting(unet, adapter, memory):
            state = encoder_half(unet, noised, steps, text.states, text.added)
            predicted = decoder_half(unet, state, text.states)
        error = (predicted - scheduler.get_velocity(latents, noise, steps)).square().mean(dim=1, keepdim=True)
        columns.append((error * masks).sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3)))
    errors: list[list[float]] = torch.stack(columns, dim=1).tolist()
    return errors


def _stacked(each: Sequence[Any]) -> dict[str, Any]:
    """Keys and values of all rows, by place."""
    return {
        place: type(first)(
            keys=torch.cat([one[place].keys for one in each]),
            values=torch.cat([one[place].values for one in each]),
        )
        for place, first in each[0].items()
    }


def _error_rows(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for side in SIDES:
        values = {arm: np.concatenate([one[side][arm] for one in chunks]) for arm in chunks[0][side]}
        rows[side] = {
            arm: {
                "error": interval(value),
                "change": interval(value.mean(axis=1) / values[FIRST].mean(axis=1) - 1),
            }
            for arm, value in values.items()
        }
    return rows


def _retrieval(seeds: Sequence[int], pictures: dict[str, list[Image.Image]], tools: Tools) -> dict[str, Any]:
    """The own design's rank among all: by front packshots, and by the nearer of front and back."""
    fronts, backs = (
        tools.features([cut_out(*photo(seed, SIDE, number=number, back=back)) for seed in seeds])
        for number, back in (FRONT, BACK)
    )
    hits: dict[str, dict[str, np.ndarray]] = {}
    for arm, images in pictures.items():
        masks = tools.find(images)
        objects = [cut_out(image, mask) for image, mask in zip(images, masks, strict=True)]
        features, owners = (
            tools.features(objects),
            np.repeat(np.arange(len(seeds)), len(images) // len(seeds)),
        )
        scores = [np.asarray(features @ gallery.T) for gallery in (fronts, backs)]
        galleries = {"front": scores[0], "front or back": np.maximum(*scores)}
        hits[arm] = {
            name: (ranks(value, owners) == 1).astype(float).reshape(len(seeds), -1)
            for name, value in galleries.items()
        }
    return {
        arm: {
            name: {"retrieval@1": interval(value), "change": interval(value - hits[FIRST][name])}
            for name, value in row.items()
        }
        for arm, row in hits.items()
    }


def markdown(report: dict[str, Any]) -> str:
    """Both tables; a change is paired, against the front photo alone."""
    front, back = (report["error"][side] for side in SIDES)
    lines = ["| photos | error, front | change | error, back | change |", "|---|---|---|---|---|"]
    for arm in front:
        cells = [
            text for side in (front, back) for text in (cell(side[arm]["error"]), _share(side[arm]["change"]))
        ]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    if "retrieval" in report:
        lines += ["", "| photos | retrieval@1, front packshots | change | front or back packshots | change |"]
        lines.append("|---|---|---|---|---|")
        for arm, row in report["retrieval"].items():
            cells = [cell(one[key]) for one in row.values() for key in ("retrieval@1", "change")]
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _share(values: list[float]) -> str:
    return "{:+.1%} ({:+.1%} to {:+.1%})".format(*values)


def _write(work: Path, report: dict[str, Any]) -> None:
    (work / "views.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (work / "views.md").write_text(markdown(report), "utf-8")


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.measure.views", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".mini/measure"))
    parser.add_argument("--subjects", type=int, default=100, help="held-out designs")
    parser.add_argument("--scenes", type=int, default=2, help="generated pictures of each design")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    until = time.monotonic() + options.minutes * 60
    try:
        run(options.work, subjects=options.subjects, scenes=options.scenes, until=until)
    except OutOfTimeError as remaining:
        print(f"stopped after {options.minutes:g} minutes: {remaining}; the same command resumes", flush=True)
        return STOPPED
    print((options.work / "views.md").read_text("utf-8"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
