"""Pictures for channels: a product on white, files of them, and a job's output that holds them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from dreamcache.core import ids
from dreamcache.core.config import ImageFormat
from dreamcache.provenance import xmp
from dreamcache.storage.image_store import ImageStore, encode_image
from dreamcache.storage.open_store import join, store_for

WHITE = (255, 255, 255)
STORED = ImageFormat()


def product(side: int = 200, fill: float = 0.9, ground: tuple[int, int, int] = WHITE) -> Image.Image:
    """A red box whose longer side fills so much of the frame."""
    image = Image.new("RGB", (side, side), ground)
    wide, high = round(fill * side), round(0.6 * fill * side)
    left, top = (side - wide) // 2, (side - high) // 2
    ImageDraw.Draw(image).rectangle((left, top, left + wide - 1, top + high - 1), fill=(180, 30, 40))
    return image


def packet(source_type: str = xmp.TRAINED) -> bytes:
    return xmp.packet(xmp.Statement(source_type=source_type, item_id="item", job="job"))


def as_file(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **{"quality": 95, "xmp": packet(), **options})
    return out.getvalue()


def as_png(image: Image.Image, source_type: str = xmp.TRAINED) -> bytes:
    return encode_image(np.asarray(image), STORED, {"item_id": "item"}, packet(source_type))


def make_output(
    place: str, pictures: Iterable[tuple[str, Image.Image]], *, marked: bool = True, **columns: list[Any]
) -> list[dict[str, Any]]:
    """An output folder as a run leaves it, with an image of each (subject, picture); columns: of the catalog."""
    images, rows = ImageStore(place, STORED), []
    for number, (subject, image) in enumerate(pictures):
        ident = ids.of_values("item", subject=subject, number=number)
        about = xmp.packet(xmp.generated(item_id=ident, job="job")) if marked else None
        data = encode_image(np.asarray(image), STORED, {"item_id": ident}, about)
        images.commit(ident, data)
        row = {
            "item_id": ident,
            "subject_id": subject,
            "class_name": "box",
            "prompt": f"a {subject} on white",
        }
        row |= {"status": "done", "key": images.key_of(ident), "num_bytes": len(data)}
        rows.append(row | {name: values[number] for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    store_for(place).write(join(place, "manifest.parquet"), sink.getvalue().to_pybytes())
    return rows


def files_of(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
