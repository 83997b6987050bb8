"""Training data of the procedural world in the form that `dreamcache train` reads: Parquet shards.

Columns: image (a scene), mask (the object's), caption, reference (the same design's packshot); pictures as PNG bytes.
Knows the world and the columns. Must not know models or training.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dreamcache.mini.world.captions import caption
from dreamcache.mini.world.design import design_from_seed
from dreamcache.mini.world.render import Pose, framed, pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES

SIZE = 64
_SHARD = 512
_GROUP = 128
_NAME = re.compile(r"part-(\d{9,})-\d{9,}\.parquet")
_COLUMNS = ("image", "mask", "caption", "reference")


def write_training_data(
    folder: Path | str, num_designs: int, *, first_seed: int = 0, scenes: int = 2, size: int = SIZE
) -> Path:
    """Write part-*.parquet, `scenes` samples of each design; shards that are there stay. Returns the folder.

    Shards of another number of designs from the same first seed are removed: their designs would be there twice.
    Same arguments, same bytes of pictures. Seeds from HELD_OUT_FROM on are for validation.
    """
    if num_designs < 1:
        raise ValueError(f"training data: {num_designs} designs: must be at least 1")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    end = first_seed + num_designs
    seeds = {
        _shard(folder, first, min(first + _SHARD, end)): range(first, min(first + _SHARD, end))
        for first in range(first_seed, end, _SHARD)
    }
    for other in _shards_from(folder, first_seed) - set(seeds):
        other.unlink()
    for shard, numbers in seeds.items():
        if shard.exists():
            continue
        rows = [row for seed in numbers for row in _samples(seed, scenes, size)]
        table = pa.table({name: [row[name] for row in rows] for name in _COLUMNS})
        partial = shard.with_suffix(".partial")
        pq.write_table(table, partial, row_group_size=_GROUP, compression="none")
        os.replace(partial, shard)
    return folder


def _shard(folder: Path, first: int, end: int) -> Path:
    return folder / f"part-{first:09d}-{end:09d}.parquet"


def _shards_from(folder: Path, first_seed: int) -> set[Path]:
    """The shards that calls with this first seed wrote, of any number of designs."""
    names = {path: _NAME.fullmatch(path.name) for path in folder.iterdir()}
    firsts = {path: int(name[1]) - first_seed for path, name in names.items() if name is not None}
    return {path for path, offset in firsts.items() if offset >= 0 and offset % _SHARD == 0}


def render_reference(seed: int, size: int = SIZE, *, calm: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The packshot of a design as the product's own preprocessing would cut it, and the object's mask.

    uint8 [size, size, 3] and [size, size]. calm: see `calm_pose`.
    """
    design = design_from_seed(seed)
    margin = float(np.random.default_rng((seed, 0x3A6)).uniform(0.035, 0.08))
    pose = pose_from_seed(seed * 16, centered=True)
    pose = framed(design, calm_pose(pose) if calm else pose, margin)
    return render(design, pose=pose, scene=None, size=size)


def calm_pose(pose: Pose) -> Pose:
    """The pose without mirroring and with a third of its turns: an easier start for what learns from pairs."""
    return replace(pose, flip=False, rotation=pose.rotation / 3, yaw=pose.yaw / 3)


def _samples(seed: int, scenes: int, size: int) -> Iterator[dict[str, bytes | str]]:
    design, reference = design_from_seed(seed), _png(render_reference(seed, size)[0])
    chosen = np.random.default_rng((seed, 0xDA7A)).choice(len(SCENES), size=scenes, replace=False)
    for number, index in enumerate(chosen):
        item, scene = seed * 16 + 1 + number, SCENES[int(index)]
        picture, mask = render(design, pose=pose_from_seed(item), scene=scene, scene_seed=item, size=size)
        yield {
            "image": _png(picture),
            "mask": _png(mask),
            "caption": caption(design.class_name, scene, item),
            "reference": reference,
        }


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", compress_level=1)
    return data.getvalue()
