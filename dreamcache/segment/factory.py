"""Segmenters by name, each created once. Knows the names; imports a backend only when it creates one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from PIL import Image

from dreamcache.core.config import Segmenter as Name
from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.segment.interface import Segment, Segmenter

NAMES: tuple[str, ...] = get_args(Name)


class SegmenterSet:
    """The segmenters of one worker process. Weights stay loaded between photos.

    models, device: as in `create_segmenter`.
    """

    def __init__(self, models: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._models = dict(models or {})
        self._device = device
        self._segmenters: dict[str, Segmenter] = {}

    def segment(
        self, image: Image.Image, *, name: str, class_name: str = "", mask: Image.Image | None = None
    ) -> Segment:
        """The subject of an upright RGB(A) photo [H, W], as seen by segmenter `name`.

        mask: the catalog's, if it has one; read by "file" and "auto" only.
        Raises SpecError for an unknown name, ModelError for missing weights or packages, ImageError for a
        mask of another size.
        """
        if name not in self._segmenters:
            self._segmenters[name] = create_segmenter(name, models=self._models, device=self._device)
        return self._segmenters[name](image, class_name, mask)


def create_segmenter(name: str, *, models: Mapping[str, str] | None = None, device: str = "cpu") -> Segmenter:
    """The segmenter of that name.

    models: weights instead of the pinned ones, each a local folder or `hub-id@revision`: "grounding-dino" and
        "sam" for grounded-sam; "lang-sam" for lang-sam's SAM type.
    device: where the networks run, as torch names it.
    Raises SpecError for an unknown name, ModelError if the backend's package is missing.
    """
    own = models or {}
    if name == "auto":
        from dreamcache.segment.simple import AutoSegmenter

        return AutoSegmenter()
    if name == "none":
        from dreamcache.segment.simple import WholeFrame

        return WholeFrame()
    if name == "alpha":
        from dreamcache.segment.simple import AlphaSegmenter

        return AlphaSegmenter()
    if name == "file":
        from dreamcache.segment.simple import MaskFileSegmenter

        return MaskFileSegmenter()
    if name == "grabcut":
        from dreamcache.segment.grabcut import GrabCutSegmenter

        return GrabCutSegmenter()
    if name == "grounded-sam":
        from dreamcache.segment import grounded_sam

        return grounded_sam.GroundedSam(
            detector=own.get("grounding-dino", grounded_sam.DETECTOR),
            sam=own.get("sam", grounded_sam.SAM),
            device=device,
        )
    if name == "lang-sam":
        from dreamcache.segment import lang_sam

        return lang_sam.LangSamSegmenter(sam_type=own.get("lang-sam", lang_sam.SAM_TYPE), device=device)
    raise SpecError(f"segmenter '{name}': must be one of {', '.join(NAMES)}{did_you_mean(name, NAMES)}")
