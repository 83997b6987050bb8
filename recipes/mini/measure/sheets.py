"""Sheets of pictures: a job's products by its prompts, a sweep of strengths, and what the benchmark took for what.

Knows pictures, a job's manifest (Parquet) and the pipeline. Must not import jobs.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from dreamcache.core.errors import CatalogError
from dreamcache.evaluation.sheet import sheet
from dreamcache.storage.open_store import store_for
from recipes.mini.measure.queries import Group, Query, Scales, photo

STRENGTHS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
STRENGTH_SEEDS = (1_000_000, 1_000_006, 1_000_007)
_CELL = 96
_MOST_BYTES = 250_000


def grid(job: Path, to: Path) -> None:
    """A row for each product: its reference photo, then its picture of each prompt, in the job's order.

    job: the output folder of `dreamcache run`, with its manifest. Raises CatalogError where pictures are missing.
    """
    rows = pq.read_table(job / "manifest.parquet").to_pylist()
    subjects = list(dict.fromkeys(row["subject_id"] for row in rows))
    # Two words of each prompt say enough above a small picture.
    prompts = sorted({row["prompt"].replace(row["class_name"], "", 1) for row in rows})
    cells = []
    for subject in subjects:
        own = {
            row["prompt"].replace(row["class_name"], "", 1): row
            for row in rows
            if row["subject_id"] == subject
        }
        missing = [prompt for prompt in prompts if prompt not in own or own[prompt]["status"] != "done"]
        if missing:
            raise CatalogError(
                f"job '{job}': {subject} has no picture of '{missing[0]}'; run the job to its end"
            )
        cells.append(
            [_read(next(iter(own.values()))["image"]), *(_read(own[prompt]["uri"]) for prompt in prompts)]
        )
    write_jpeg(sheet(cells, ["reference", *(" ".join(prompt.split()[-2:]) for prompt in prompts)]), to)


def strength(to: Path, work: Path) -> None:
    """Three held-out designs, one scene, the same noise, the reference's weight rising from left to right."""
    from recipes.mini.measure.generate import Generator

    # Through the pipeline and not as jobs: an item's noise depends on its settings, and only the weight should differ.
    columns = []
    for image_scale in STRENGTHS:
        generator = Generator(work, scales=Scales(image_scale=image_scale))
        queries = [Query(seed=seed, number=0, scene="grass") for seed in STRENGTH_SEEDS]
        columns.append(generator.with_reference(queries))
    cells = [
        [photo(seed, _CELL)[0], *(column[row] for column in columns)]
        for row, seed in enumerate(STRENGTH_SEEDS)
    ]
    write_jpeg(sheet(cells, ["reference", *(f"image_scale {value:g}" for value in STRENGTHS)]), to)


def queries_sheet(
    group: Group,
    pictures: Sequence[Image.Image],
    objects: Sequence[Image.Image],
    best: np.ndarray,
    shown: np.ndarray,
) -> Image.Image:
    """Of the chosen queries: the own reference, the picture, its found object, the reference it is nearest to."""
    owners, cells = group.owners, []
    for number in shown:
        own, first = group.seeds[owners[number]], group.seeds[best[number]]
        nearest = photo(first, _CELL)[0]
        frame = ImageDraw.Draw(nearest)
        frame.rectangle(
            (0, 0, _CELL - 1, _CELL - 1), outline=(20, 150, 60) if own == first else (210, 40, 40), width=3
        )
        cells.append([photo(own, _CELL)[0], pictures[number], objects[number], nearest])
    half = (len(cells) + 1) // 2
    blank = [Image.new("RGB", (_CELL, _CELL), "white")] * 4
    joined = [left + right for left, right in zip(cells[:half], [*cells[half:], blank][:half], strict=True)]
    return sheet(joined, ["reference", "picture", "object", "nearest"] * 2)


def write_jpeg(picture: Image.Image, to: Path) -> None:
    """The best quality that stays below a quarter of a megabyte: it is committed."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(92, 30, -4):
        picture.save(to, "JPEG", quality=quality, optimize=True)
        if to.stat().st_size <= _MOST_BYTES:
            break
    print(f"{to}: {picture.width} x {picture.height}, {to.stat().st_size // 1000} kB", flush=True)


def _read(uri: str) -> Image.Image:
    path = unquote(urlparse(uri).path) if uri.startswith("file://") else uri
    return Image.open(io.BytesIO(store_for(path).read(path))).convert("RGB")
