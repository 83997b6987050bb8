"""Data stage: renders products into shards of plain arrays, which training maps into memory.

A shard of n designs with k scenes: reference [n, 64, 64, 3], picture [n, k, 64, 64, 3], their masks without the last
dimension (0..255), caption and scene indices [n, k], class index [n]. Every third shard is calm: no mirroring, small
turns. The autoencoder needs some shards on disk; what else the U-Net sees may be rendered where it is encoded.
"""

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dreamcache.mini.world.captions import all_captions, caption
from dreamcache.mini.world.design import CLASSES, design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from recipes.mini.dataset import calm_pose, render_reference
from recipes.mini.make.settings import SIZE, Settings

ARRAYS = ("reference", "reference_mask", "picture", "mask", "caption", "scene", "class")
CAPTIONS = all_captions(CLASSES)
_LOOKUP = {text: index for index, text in enumerate(CAPTIONS)}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """`count` consecutive designs from `first` on."""

    name: str  # held_out, calm-0000000, full-0002000
    first: int
    count: int
    scenes: int

    @property
    def calm(self) -> bool:
        return self.name.startswith("calm")


def run(settings: Settings) -> None:
    """Render every shard that the autoencoder needs and that is not there yet; the held-out designs first."""
    folder = settings.folder("data")
    missing = [shard for shard in shards(settings)[: _stored(settings)] if not (folder / shard.name).exists()]
    if not missing:
        return
    with ProcessPoolExecutor(settings.processes, get_context("spawn")) as pool:
        for name in pool.map(_write, missing, [folder] * len(missing)):
            print(f"data: {name}", flush=True)


def shards(settings: Settings) -> list[Shard]:
    """Every shard of the recipe, rendered or not: the held-out designs first, then the training designs in order."""
    every = round(1 / settings.calm_share) if settings.calm_share else 0
    all_shards = [
        Shard(
            name="held_out",
            first=settings.held_out_from,
            count=settings.held_out,
            scenes=settings.scenes_per_design,
        )
    ]
    for number, first in enumerate(range(0, settings.designs, settings.shard)):
        kind = "calm" if every and number % every == 0 else "full"
        count = min(settings.shard, settings.designs - first)
        all_shards.append(
            Shard(name=f"{kind}-{first:07d}", first=first, count=count, scenes=settings.scenes_per_design)
        )
    return all_shards


def read(folder: Path, shard: Shard, names: tuple[str, ...] = ARRAYS) -> Arrays:
    """The arrays of a shard: mapped from its files where it was written, rendered anew elsewhere."""
    if (folder / shard.name).exists():
        return {name: np.load(folder / shard.name / f"{name}.npy", mmap_mode="r") for name in names}
    arrays = render_shard(shard)
    return {name: arrays[name] for name in names}


def load(settings: Settings, part: str, names: tuple[str, ...] = ARRAYS) -> list[Arrays]:
    """The written shards of "train" or "held_out", mapped into memory. Raises FileNotFoundError where none is."""
    folder = settings.work / "data"
    chosen = [shard for shard in shards(settings) if (shard.name == "held_out") == (part == "held_out")]
    loaded = [read(folder, shard, names) for shard in chosen if (folder / shard.name).exists()]
    if not loaded:
        raise FileNotFoundError(f"{folder}: no {part} shard yet; run --stage data first")
    return loaded


def render_shard(shard: Shard) -> Arrays:
    """All arrays of a shard. Same arguments, same arrays."""
    count, scenes = shard.count, shard.scenes
    arrays = {
        "reference": np.zeros((count, SIZE, SIZE, 3), np.uint8),
        "reference_mask": np.zeros((count, SIZE, SIZE), np.uint8),
        "picture": np.zeros((count, scenes, SIZE, SIZE, 3), np.uint8),
        "mask": np.zeros((count, scenes, SIZE, SIZE), np.uint8),
        "caption": np.zeros((count, scenes), np.int32),
        "scene": np.zeros((count, scenes), np.int32),
        "class": np.zeros(count, np.int32),
    }
    for row in range(count):
        _render_row(arrays, row, shard)
    return arrays


def _render_row(arrays: Arrays, row: int, shard: Shard) -> None:
    seed = shard.first + row
    design = design_from_seed(seed)
    arrays["reference"][row], arrays["reference_mask"][row] = render_reference(seed, calm=shard.calm)
    arrays["class"][row] = CLASSES.index(design.class_name)
    chosen = np.random.default_rng((seed, 0xDA7A)).choice(len(SCENES), size=shard.scenes, replace=False)
    for k, index in enumerate(chosen):
        item = seed * 16 + 1 + k
        scene, pose = SCENES[int(index)], pose_from_seed(item)
        pose = calm_pose(pose) if shard.calm else pose
        arrays["picture"][row, k], arrays["mask"][row, k] = render(
            design, pose=pose, scene=scene, scene_seed=item, size=SIZE
        )
        arrays["caption"][row, k] = _LOOKUP[caption(design.class_name, scene, item)]
        arrays["scene"][row, k] = index


def _stored(settings: Settings) -> int:
    """How many shards are written: the held-out one and those of the autoencoder."""
    return 1 + math.ceil(settings.vae_designs / settings.shard)


def _write(shard: Shard, folder: Path) -> str:
    partial = folder / f"{shard.name}.partial"
    partial.mkdir(exist_ok=True)
    for name, array in render_shard(shard).items():
        np.save(partial / f"{name}.npy", array)
    partial.rename(folder / shard.name)
    return shard.name
