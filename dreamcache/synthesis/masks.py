"""Stage 4, masks: the object found in its image by name, kept if the mask is good enough (docs/method.md section 5.4).

    part of images -> Masker -> rows of MASKS, each with a mask or the reason why it has none

Knows the segmenter interface; knows nothing of what generated the images.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config.synthesize import MaskSettings
from dreamcache.segment import SegmenterSet
from dreamcache.synthesis.parts import StagePart, part_of, read_part, to_bytes

STAGE = "masks"
KEPT = "kept"
NO_IMAGE = "no_image"
LIMITS = ("area_too_small", "area_too_large", "low_confidence")
MASKS = pa.schema(
    [
        ("item_id", pa.string()),
        ("object", pa.string()),
        ("category", pa.string()),
        ("verdict", pa.string()),
        ("mask", pa.binary()),
        ("area", pa.float64()),
        ("score", pa.float64()),
    ]
)
"""verdict: "kept", "no_image", one of LIMITS, or a segmenter's reason. mask: PNG, also of those below the limits."""


def plan(images: Sequence[StagePart], settings: MaskSettings) -> list[StagePart]:
    """One part of masks for each part of images."""
    return [part_of(STAGE, {"images": part.name}, settings=asdict(settings)) for part in images]


class Masker:
    """Holds the segmenter. Raises ModelError at the first image when its weights are missing."""

    def __init__(self, settings: MaskSettings, *, device: str = "cpu") -> None:
        self.settings = settings
        self.segmenters = SegmenterSet(settings.segmenter_models, device)

    def make_part(self, output: str, part: StagePart) -> bytes:
        """The bytes of one part of masks; reads its part of images."""
        rows, _ = read_part(output, part.work["images"])
        return to_bytes([self._row(row) for row in rows], MASKS)

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        texts = {name: row[name] for name in ("item_id", "object", "category")}
        if row["image"] is None:
            return {**texts, "verdict": NO_IMAGE}
        image = Image.open(io.BytesIO(row["image"])).convert("RGB")
        segment = self.segmenters.segment(image, name=self.settings.segmenter, class_name=row["object"])
        if segment.mask is None:
            return {**texts, "verdict": segment.reason, "score": segment.score}
        area = float(segment.mask.mean())
        verdict = self._verdict(area, segment.score)
        return {**texts, "verdict": verdict, "mask": _png(segment.mask), "area": area, "score": segment.score}

    def _verdict(self, area: float, score: float | None) -> str:
        if area < self.settings.min_area:
            return "area_too_small"
        if area > self.settings.max_area:
            return "area_too_large"
        return "low_confidence" if score is not None and score < self.settings.min_score else KEPT


def _png(mask: NDArray[np.bool_]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(data, "PNG")
    return data.getvalue()
