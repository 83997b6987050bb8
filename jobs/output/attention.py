"""Which parts of its reference an item's places attend to, as a picture. Knows job files; imports torch late."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING

from dreamcache.core.config.scenes import overrides_of
from dreamcache.core.errors import SpecError
from dreamcache.core.images import decode_image, decode_mask, normalize
from dreamcache.core.records import Request
from dreamcache.storage.photos import read_photo, read_reference

if TYPE_CHECKING:
    from dreamcache.inference.session import JobSession

PROMPTED = ("grounded-sam", "lang-sam")


def attention_png(session: JobSession, request: Request) -> bytes:
    """Generates the item once more, alone, from its photo; a PNG of `AttentionMaps.overlay`. The queries are those on
    the object in the image, or the whole image where the segmenter finds none.

    Raises SpecError for a method that reads no features, ImageError for a photo that cannot be used.
    """
    import torch

    from dreamcache.inference.attention import attention_maps
    from dreamcache.inference.pipeline import DreamCachePipeline
    from dreamcache.segment import SegmenterSet

    spec = session.spec
    pipe: object = session.pipe  # whose type of subject is known below
    if not isinstance(pipe, DreamCachePipeline):
        raise SpecError(f"--attention: method '{spec.method}' has none to a reference; only dreamcache has")
    read_reference(request, spec.limits, spec.catalog_hosts)
    where = f"subject '{request.subject_id}': image '{request.image}'"
    data = read_photo(request.image, where, spec.limits, spec.catalog_hosts)
    photo = decode_image(data, where=where, limits=spec.limits)
    mask = None
    if request.mask:
        data = read_photo(request.mask, f"{where}: mask", spec.limits, spec.catalog_hosts)
        mask = decode_mask(data, where=f"{where}: mask", limits=spec.limits, size=photo.size)
    settings = overrides_of(request.overrides).generation(spec.generation)
    maps = attention_maps(
        pipe,
        request.prompt,
        photo,
        mask=mask,
        class_name=request.class_name,
        settings=session.facts.reference,
        negative_prompt=settings.negative_prompt,
        guidance=settings.guidance,
        text_scale=settings.text_scale,
        image_scale=settings.image_scale,
        strength=settings.strength,
        num_inference_steps=settings.steps,
        scheduler=settings.scheduler,
        **asdict(settings.savings),
        height=settings.height or None,
        width=settings.width or None,
        generator=[torch.Generator("cpu").manual_seed(request.seed)],
    )
    # A generated image has neither transparency nor a mask of its own.
    name = spec.reference.segmenter if spec.reference.segmenter in PROMPTED else "grabcut"
    segmenters = SegmenterSet(spec.reference.segmenter_models, device=str(pipe.base.device))
    segment = segmenters.segment(normalize(maps.image), name=name, class_name=request.class_name)
    out = io.BytesIO()
    maps.overlay(segment.mask).save(out, "PNG")
    return out.getvalue()
