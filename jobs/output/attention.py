"""Where an item's places looked in its reference, as a picture. Knows job files and requests; imports torch late."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from dreamcache.core.images import decode_image, decode_mask, normalize
from dreamcache.core.records import Request
from dreamcache.storage.photos import read_photo

if TYPE_CHECKING:
    from dreamcache.inference.pipeline import DreamCachePipeline

PROMPTED = ("grounded-sam", "lang-sam")


def attention_png(
    spec: JobSpec, request: Request, reference: EncodeSettings, pipe: DreamCachePipeline
) -> bytes:
    """The item drawn once more, alone, from its photo; a PNG of `AttentionMaps.overlay`. What asks is the object in
    the image, or the whole image where the segmenter finds none.

    Raises SpecError for a method that reads no features, ImageError for a photo that cannot be used.
    """
    if spec.method != "dreamcache":
        raise SpecError(f"--attention: method '{spec.method}' looks at no reference; only dreamcache does")
    import torch

    from dreamcache.inference.attention import attention_maps
    from dreamcache.segment import SegmenterSet

    where = f"subject '{request.subject_id}': image '{request.image}'"
    photo = decode_image(read_photo(request.image, where, spec.limits), where=where, limits=spec.limits)
    mask = None
    if request.mask:
        data = read_photo(request.mask, f"{where}: mask", spec.limits)
        mask = decode_mask(data, where=f"{where}: mask", limits=spec.limits, size=photo.size)
    settings = spec.generation
    maps = attention_maps(
        pipe,
        request.prompt,
        photo,
        mask=mask,
        class_name=request.class_name,
        settings=reference,
        negative_prompt=settings.negative_prompt,
        guidance=settings.guidance,
        text_scale=settings.text_scale,
        image_scale=settings.image_scale,
        strength=settings.strength,
        num_inference_steps=settings.num_inference_steps,
        scheduler=settings.scheduler,
        height=settings.height or None,
        width=settings.width or None,
        generator=[torch.Generator("cpu").manual_seed(request.seed)],
    )
    # A generated image has neither transparency nor a mask of its own.
    name = spec.reference.segmenter if spec.reference.segmenter in PROMPTED else "grabcut"
    segmenters = SegmenterSet(spec.reference.segmenter_models, device=str(pipe.base.device))
    found = segmenters.segment(normalize(maps.image), name=name, class_name=request.class_name)
    out = io.BytesIO()
    maps.overlay(found.mask).save(out, "PNG")
    return out.getvalue()
