"""`dreamcache bench loader`: how fast a training's samples are read, and which share of a step that is.

    a training file, or rendered samples -> samples/s without and with loaders -> s a step -> share of a step

The measuring is `dreamcache.training.bench`; this module chooses what is read. Imports torch inside.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dreamcache.core.config.train import DataSettings, TrainSettings
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.status import read_status
from jobs.train.spec import TrainSpec

if TYPE_CHECKING:
    from dreamcache.training.bench import LoaderSpeed, ReadSpeeds

CHANNELS, FACTOR = 4, 8
"""Of most latents. Noise of another shape takes about as long."""
SIDE, ROWS = 512, 12
"""Of the published training, where no training file is given: pixels, and samples of a step of one of its GPUs."""
PHOTO_SIDE, PHOTOS, SHARDS = 1024, 96, 4
"""Of the rendered samples: pixels as SDXL has them."""
COLUMNS = ("loaders", "samples/s", "samples/s a core", "s a step", "share of a step")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderReport:
    """rows: samples of a step that one worker reads. step_s: seconds of its step without waiting, None if unknown."""

    read: ReadSpeeds
    rows: int
    step_s: float | None

    def table(self) -> list[list[str]]:
        """Rows of COLUMNS."""
        return [
            [
                str(one.loaders),
                f"{one.samples_per_s:.1f}",
                f"{one.samples_per_s_a_core:.1f}",
                f"{self._reading_s(one):.2f}",
                "-" if self.step_s is None else f"{self._reading_s(one) / self.step_s:.0%}",
            ]
            for one in self.read.speeds
        ]

    def summary(self) -> str:
        read = self.read
        bad = f"; {read.bad} could not be used" if read.bad else ""
        return (
            f"{read.samples} samples at {read.side} px, {read.shards_opened} shards opened; "
            f"{read.decode_share:.0%} of the time is reading and decoding{bad}. "
            f"A worker reads {self.rows} samples a step."
        )

    def as_dict(self) -> JsonObject:
        return {
            **self.read.as_dict(),
            "rows": self.rows,
            "step_s": self.step_s,
            "steps": [
                {"loaders": one.loaders, "reading_s": self._reading_s(one)} for one in self.read.speeds
            ],
        }

    def _reading_s(self, one: LoaderSpeed) -> float:
        return self.rows / one.samples_per_s


def measure_training(
    spec: TrainSpec, *, samples: int, loaders: Sequence[int], step_s: float | None
) -> LoaderReport:
    """A training's own data. step_s: None takes the speed that its output states, if it has run."""
    from dreamcache.training.bench import measure_reading
    from dreamcache.training.transform import ItemShape

    side = spec.train.size or describe_base(spec.model.base, spec.model.revision).native_size
    read = measure_reading(
        spec.train,
        ItemShape(size=side, latent=(CHANNELS, side // FACTOR, side // FACTOR)),
        samples=samples,
        loaders=loaders,
        cores=os.cpu_count() or 1,
    )
    rows = spec.train.global_batch // spec.workers.count
    return LoaderReport(read=read, rows=rows, step_s=step_s or _measured_step_s(spec))


def measure_rendered(
    folder: Path, *, samples: int, loaders: Sequence[int], step_s: float | None
) -> LoaderReport:
    """Rendered products at the size of the published training."""
    from dreamcache.training.bench import measure_reading
    from dreamcache.training.transform import ItemShape

    path = rendered_samples(folder, min(samples, PHOTOS), side=PHOTO_SIDE)
    settings = TrainSettings(data=DataSettings(path=str(path)), global_batch=ROWS)
    read = measure_reading(
        settings,
        ItemShape(size=SIDE, latent=(CHANNELS, SIDE // FACTOR, SIDE // FACTOR)),
        samples=samples,
        loaders=loaders,
        cores=os.cpu_count() or 1,
    )
    return LoaderReport(read=read, rows=ROWS, step_s=step_s)


def _measured_step_s(spec: TrainSpec) -> float | None:
    status = read_status(spec.output)
    return spec.train.global_batch / status.rate if status is not None and status.rate else None


def rendered_samples(folder: Path, count: int, *, side: int) -> Path:
    """WebDataset shards of rendered products: JPEGs of `side` pixels, with masks and captions."""
    from dreamcache.mini.world import SCENES, design_from_seed, pose_from_seed, render

    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(shard, count, SHARDS):
                scene, pose = SCENES[number % len(SCENES)], pose_from_seed(number)
                pixels, mask = render(
                    design_from_seed(number), pose=pose, scene=scene, scene_seed=number, size=256
                )
                _add(tar, f"{number:06d}.jpg", _encoded(_grainy(pixels, side, number), "JPEG", quality=92))
                cover = Image.fromarray(mask).resize((side, side))
                _add(tar, f"{number:06d}.mask.png", _encoded(cover.point(lambda v: 255 * (v > 127)), "PNG"))
                _add(tar, f"{number:06d}.txt", f"product {number}".encode())
    return folder


def _grainy(pixels: np.ndarray[Any, Any], side: int, seed: int) -> Image.Image:
    """A smooth picture has fewer bytes than a photo, and would be decoded faster."""
    large = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(seed).normal(0, 6, large.shape)
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
