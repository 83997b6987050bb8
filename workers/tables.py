"""The columns handed from step to step. Knows Arrow only."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

REQUEST = pa.schema(
    [
        ("item_id", pa.string()),
        ("subject_id", pa.string()),
        ("class_name", pa.string()),
        ("reference_id", pa.string()),
        ("cache_key", pa.string()),
        ("image", pa.string()),
        ("mask", pa.string()),
        ("prompt", pa.string()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
    ]
)
"""The fields of `records.Request`."""

ERROR = pa.schema([("code", pa.string()), ("message", pa.string())])
"""Why a row has no image; null for none."""

PLANNED = pa.schema([*REQUEST, ("attempts", pa.int32()), *ERROR])
"""A row to run. attempts: those made before."""

QUALITY = pa.struct(
    [
        ("tries", pa.int32()),
        ("seed", pa.int64()),
        ("image_score", pa.float64()),
        ("text_score", pa.float64()),
    ]
)
"""The fields of `records.Quality`."""

DRAWN = pa.schema(
    [
        *PLANNED,
        ("rgb", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("seconds", pa.float64()),
        ("device", pa.string()),
        ("blocked", pa.bool_()),
        ("quality", QUALITY),
        ("note", pa.string()),
    ]
)
"""A row with its pixels, uint8 [height, width, 3] as bytes, or with an error and none. note: of its worker, for
the user; null for nearly all."""

NO_PIXELS: dict[str, Any] = {
    "rgb": None,
    "height": 0,
    "width": 0,
    "seconds": 0.0,
    "device": "",
    "blocked": False,
    "quality": None,
    "note": None,
}

OUTCOMES = pa.schema(
    [("item_id", pa.string()), ("status", pa.string()), ("code", pa.string()), ("note", pa.string())]
)
"""What the driver hears of each item, to count and to tell."""
