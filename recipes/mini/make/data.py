"""Data stage: render the products once, into shards of plain arrays that training maps into memory.

A shard of n designs with k scenes: reference [n, 64, 64, 3], picture [n, k, 64, 64, 3], mask [n, k, 16, 16] (share
of the latent cell the object covers, 0..255), caption and scene indices [n, k], class index [n].
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from dreamcache.mini.world.captions import all_captions, caption
from dreamcache.mini.world.design import CLASSES, design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from recipes.mini.dataset import draw_reference
from recipes.mini.make.settings import LATENT, SIZE, Settings

ARRAYS = ("reference", "picture", "mask", "caption", "scene", "class")
CAPTIONS = all_captions(CLASSES)


def run(settings: Settings) -> None:
    """Render every shard that is not there yet: held-out designs first, then training designs."""
    folder = settings.folder("data")
    jobs = [(folder / "held_out", settings.held_out_from, settings.held_out)]
    for first in range(0, settings.designs, settings.shard):
        count = min(settings.shard, settings.designs - first)
        jobs.append((folder / f"train-{first:07d}", first, count))
    todo = [
        (path, first, count, settings.scenes_per_design) for path, first, count in jobs if not path.exists()
    ]
    with ProcessPoolExecutor(settings.processes) as pool:
        for path in pool.map(_write_shard, *zip(*todo, strict=True)) if todo else ():
            print(f"data: {path.name}", flush=True)


def _write_shard(path: Path, first_seed: int, count: int, scenes: int) -> Path:
    arrays = _empty(count, scenes)
    lookup = {text: index for index, text in enumerate(CAPTIONS)}
    for row in range(count):
        _draw_row(arrays, row, first_seed + row, scenes, lookup)
    partial = path.with_name(path.name + ".partial")
    partial.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array)
    partial.rename(path)
    return path


def _empty(count: int, scenes: int) -> dict[str, np.ndarray]:
    return {
        "reference": np.zeros((count, SIZE, SIZE, 3), np.uint8),
        "picture": np.zeros((count, scenes, SIZE, SIZE, 3), np.uint8),
        "mask": np.zeros((count, scenes, LATENT, LATENT), np.uint8),
        "caption": np.zeros((count, scenes), np.int32),
        "scene": np.zeros((count, scenes), np.int32),
        "class": np.zeros(count, np.int32),
    }


def _draw_row(
    arrays: dict[str, np.ndarray], row: int, seed: int, scenes: int, lookup: dict[str, int]
) -> None:
    design = design_from_seed(seed)
    arrays["reference"][row] = draw_reference(seed)
    arrays["class"][row] = CLASSES.index(design.class_name)
    places = np.random.default_rng((seed, 0xDA7A)).choice(len(SCENES), size=scenes, replace=False)
    for k, place in enumerate(places):
        item = seed * 16 + 1 + k
        scene = SCENES[int(place)]
        picture, mask = render(design, pose=pose_from_seed(item), scene=scene, scene_seed=item, size=SIZE)
        arrays["picture"][row, k] = picture
        arrays["mask"][row, k] = mask.reshape(LATENT, 4, LATENT, 4).mean(axis=(1, 3))
        arrays["caption"][row, k] = lookup[caption(design.class_name, scene, item)]
        arrays["scene"][row, k] = place


def shards(settings: Settings, part: str) -> list[Path]:
    """The finished shards whose name begins with `part`."""
    found = settings.folder("data").glob(f"{part}*")
    return sorted(path for path in found if not path.name.endswith(".partial"))


def load(settings: Settings, part: str, names: tuple[str, ...] = ARRAYS) -> dict[str, np.ndarray]:
    """The arrays of all finished shards of "train" or "held_out", joined along the designs."""
    paths = shards(settings, part)
    if not paths:
        raise FileNotFoundError(f"{settings.work / 'data'}: no {part} shard yet; run --stage data first")
    return {name: np.concatenate([np.load(path / f"{name}.npy") for path in paths]) for name in names}
