"""Segmenters by name, each created once. Knows the names; imports a backend only when it creates one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from PIL import Image

from dreamcache.core.config import Segmenter as Name
from dreamcache.core.errors import ModelError, SpecError, did_you_mean
from dreamcache.segment.interface import Segment, Segmenter

NAMES: tuple[str, ...] = get_args(Name)


class SegmenterSet:
    """The segmenters of one worker process. Weights stay loaded between photos.

    models, device: as in `create_segmenter`.
    """

    def __init__(self, models: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._models = dict(models or {})
        self._device = device
        self._segmenters: dict[tuple[str, str], Segmenter] = {}

    def segment(
        self,
        image: Image.Image,
        *,
        name: str,
        class_name: str = "",
        mask: Image.Image | None = None,
        weights: str = "",
    ) -> Segment:
        """The subject of an upright RGB(A) photo [H, W], as seen by segmenter `name`.

        mask: the catalog's, if it has one; read by "file" and "auto" only. weights: `EncodeSettings.segmenter_id`.
        Raises SpecError for an unknown name, ModelError for missing weights or packages, ImageError for a
        mask of another size.
        """
        key = name, weights
        if key not in self._segmenters:
            self._segmenters[key] = create_segmenter(
                name, models=self._models, device=self._device, weights=weights
            )
        return self._segmenters[key](image, class_name, mask)


def create_segmenter(
    name: str, *, models: Mapping[str, str] | None = None, device: str = "cpu", weights: str = ""
) -> Segmenter:
    """The segmenter of that name.

    models: weights instead of the pinned ones, each a local folder or `hub-id@revision`: "grounding-dino" and
        "sam" for grounded-sam; "lang-sam" for lang-sam's SAM type; "u2net" for its ONNX file.
    device: where the networks run, as torch names it.
    weights: identity of u2net's file, which must be here; "auto" cuts opaque photos by it, by grabcut where it is "".
    Raises SpecError for an unknown name, ModelError if the backend's package or this very file is missing.
    """
    own = models or {}
    if name == "auto":
        from dreamcache.segment.simple import AutoSegmenter

        return AutoSegmenter(_u2net(own, weights) if weights else None)
    if name == "u2net":
        return _u2net(own, weights)
    if name in ("none", "alpha", "file", "grabcut"):
        return _without_network(name)
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


def _without_network(name: str) -> Segmenter:
    if name == "grabcut":
        from dreamcache.segment.grabcut import GrabCutSegmenter

        return GrabCutSegmenter()
    from dreamcache.segment import simple

    kinds: dict[str, type[Segmenter]] = {
        "none": simple.WholeFrame,
        "alpha": simple.AlphaSegmenter,
        "file": simple.MaskFileSegmenter,
    }
    return kinds[name]()


def _u2net(models: Mapping[str, str], weights: str) -> Segmenter:
    from dreamcache.segment.u2net import U2NetSegmenter
    from dreamcache.segment.u2net_file import require_u2net

    file = require_u2net(models)
    if weights and file.identity != weights:
        raise ModelError(
            f"segmenter 'u2net': model '{file.path}' is another one here than where the job was planned; put the same "
            f"file on every machine",
            code="segmenter_missing",
        )
    return U2NetSegmenter(file)
