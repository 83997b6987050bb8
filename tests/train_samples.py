"""Small training sets: coloured boxes on noise, with masks and captions, in each of the three forms."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLOURS = ((230, 30, 30), (30, 60, 230), (20, 170, 40), (240, 200, 20))


def picture(number: int, size: int = 64) -> tuple[bytes, bytes, str]:
    """PNG bytes of image and mask, and a caption. The box is 24 x 12 of 64 pixels."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 160, (size, size, 3)).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    left, top = rng.integers(4, size // 2, 2)
    box = np.s_[top : top + 3 * size // 16, left : left + 3 * size // 8]
    pixels[box], mask[box] = COLOURS[number % len(COLOURS)], 255
    return _png(pixels), _png(mask), f"a box number {number}"


def photo(number: int, size: int = 64) -> tuple[bytes | None, bytes | None]:
    """PNG bytes of a sample's own reference photo and its mask: samples 0, 3, ... have neither, 1, 4, ... no mask.

    The photo shows the box upright (16 x 32 of 64 pixels) in the middle, on white or, with a mask, on grey.
    """
    if number % 3 == 0:
        return None, None
    masked = number % 3 == 2
    pixels = np.full((size, size, 3), 128 if masked else 255, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    box = np.s_[size // 4 : 3 * size // 4, 3 * size // 8 : 5 * size // 8]
    pixels[box], mask[box] = COLOURS[number % len(COLOURS)], 255
    return _png(pixels), _png(mask) if masked else None


def write_folder(folder: Path, count: int, *, photos: bool = False) -> Path:
    lines = []
    for part in ("images", "masks", *(("references", "reference_masks") if photos else ())):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask, caption = picture(number)
        (folder / "images" / f"{number:03d}.png").write_bytes(image)
        (folder / "masks" / f"{number:03d}.png").write_bytes(mask)
        for part, data in zip(("references", "reference_masks"), photo(number), strict=True):
            if photos and data:
                (folder / part / f"{number:03d}.png").write_bytes(data)
        lines.append(json.dumps({"file_name": f"{number:03d}.png", "caption": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_parquet(folder: Path, count: int, *, photos: bool = False) -> Path:
    """Two files with row groups of two."""
    folder.mkdir(parents=True)
    for part, numbers in enumerate((range(count // 2), range(count // 2, count))):
        rows = [picture(number) for number in numbers]
        columns = {
            "image": [{"bytes": image, "path": None} for image, _, _ in rows],
            "mask": [mask for _, mask, _ in rows],
            "text": [caption for _, _, caption in rows],
        }
        if photos:
            columns["reference"] = [photo(number)[0] for number in numbers]
            columns["reference_mask"] = [photo(number)[1] for number in numbers]
        table = pa.table(columns)
        pq.write_table(table, folder / f"{part:05d}.parquet", row_group_size=2)
    return folder


def write_tars(folder: Path, count: int, *, photos: bool = False) -> Path:
    """Two shards."""
    folder.mkdir(parents=True)
    half = count // 2
    for part, numbers in enumerate((range(half), range(half, count))):
        contents: dict[str, bytes] = {}
        for number in numbers:
            image, mask, caption = picture(number)
            parts = {"png": image, "mask.png": mask, "txt": caption.encode()}
            beside = zip(("reference.png", "reference_mask.png"), photo(number), strict=True)
            parts |= {extension: data for extension, data in beside if photos and data}
            contents |= {f"{number:03d}.{extension}": data for extension, data in parts.items()}
        write_tar(folder / f"{part:05d}.tar", contents)
    return folder


def write_tar(path: Path, contents: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
