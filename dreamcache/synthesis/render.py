"""Stage 3, images: one or more a caption; by default guidance 3.5 and 25 steps (docs/method.md section 5.3).

    kept captions -> plan (parts of items) -> create_painter -> Painter(prompts, seeds) -> rows of IMAGES

An item's noise is its own, from its id, and batches are filled up to their size: the same item has the same pixels
in every batch and worker. An error of one image is a value in its row. Knows diffusers through the painters;
knows nothing of masks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config.synthesize import PictureSettings
from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError, ModelError
from dreamcache.synthesis.models import describe_painter
from dreamcache.synthesis.parts import StagePart, part_of, to_bytes

STAGE = "images"
ITEM = ("item_id", "caption_id", "caption", "object", "category", "source")
IMAGES = pa.schema(
    [
        *((name, pa.string()) for name in ITEM),
        ("seed", pa.int64()),
        ("image", pa.binary()),
        ("code", pa.string()),
        ("message", pa.string()),
    ]
)


class Painter(Protocol):
    """Generates one image per prompt, each from its own seed."""

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]: ...


def plan(
    kept: Sequence[Mapping[str, Any]], settings: PictureSettings, *, seed: int, fingerprint: str
) -> list[StagePart]:
    """Parts of `part_size` items each. fingerprint: the model's."""
    decides = {"settings": settings.identity(), "seed": seed, "fingerprint": fingerprint}
    items = []
    for row in kept:
        for sample in range(settings.samples):
            item_id = ids.of_values("synthetic", caption_id=row["caption_id"], sample=sample, **decides)
            items.append({**{name: row[name] for name in ITEM[1:]}, "item_id": item_id})
    size = settings.part_size
    return [
        part_of(STAGE, {"items": items[first : first + size]}, **decides)
        for first in range(0, len(items), size)
    ]


def make_part(painter: Painter, part: StagePart, settings: PictureSettings) -> bytes:
    """The bytes of one part of images."""
    items, size = part.work["items"], settings.batch_size
    rows: list[dict[str, Any]] = []
    for first in range(0, len(items), size):
        rows += _generate(painter, items[first : first + size], settings)
    return to_bytes(rows, IMAGES)


def _generate(
    painter: Painter, items: Sequence[Mapping[str, Any]], settings: PictureSettings
) -> list[dict[str, Any]]:
    """Rows of a batch; where it fails as a whole, each item is tried alone."""
    filled = [*items, *[items[-1]] * (settings.batch_size - len(items))]
    seeds = [ids.seed_of(item["item_id"]) for item in filled]
    nothing = {"image": None, "code": None, "message": None}
    try:
        images = painter([item["caption"] for item in filled], seeds)
    except NO_ITEMS_FAULT:
        raise
    except Exception as error:
        from dreamcache.model.device_errors import is_device_lost  # torch, which the driver must not import

        if is_device_lost(error):
            raise  # nothing in this process can generate any more
        if len(items) > 1:
            return [row for item in items for row in _generate(painter, [item], settings)]
        code = error.code if isinstance(error, DreamCacheError) else "draw_error"
        message = str(error) if isinstance(error, DreamCacheError) else f"{type(error).__name__}: {error}"
        return [{**items[0], **nothing, "seed": seeds[0], "code": code, "message": message[:500]}]
    return [
        {**item, **nothing, "seed": seed, "image": _encode(image, settings)}
        for item, seed, image in zip(items, seeds, images, strict=False)
    ]


def _encode(image: Image.Image, settings: PictureSettings) -> bytes:
    data = io.BytesIO()
    options = {} if settings.format.format == "png" else {"quality": settings.format.quality}
    image.convert("RGB").save(data, settings.format.format.upper(), **options)
    return data.getvalue()


def create_painter(settings: PictureSettings, *, device: str = "cpu") -> Painter:
    """The painter of the settings' backend. Raises ModelError when its model cannot be loaded."""
    return SdxlPainter(settings, device) if settings.backend == "sdxl" else BasePainter(settings, device)


class BasePainter:
    """A Stable Diffusion 1.x / 2.x base, as `mini`, without any adapter: plain classifier-free guidance."""

    def __init__(self, settings: PictureSettings, device: str) -> None:
        import torch

        from dreamcache.inference.pipeline import DreamCachePipeline
        from dreamcache.model.base import load_base
        from dreamcache.storage.models.base import describe_base

        info = describe_base(settings.model_name, settings.revision)
        base = load_base(info, dtype=getattr(torch, settings.dtype), device=device)
        self.pipe, self.settings = DreamCachePipeline(base, info, None), settings

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        output = self.pipe(
            list(prompts),
            guidance="joint",
            text_scale=self.settings.guidance_scale,
            negative_prompt=self.settings.negative_prompt,
            num_inference_steps=self.settings.num_inference_steps,
            height=self.settings.height or None,
            width=self.settings.width or None,
            generator=_generators(seeds),
        )
        return list(output.images)


class SdxlPainter:
    """diffusers' own StableDiffusionXLPipeline."""

    def __init__(self, settings: PictureSettings, device: str) -> None:
        import torch
        from diffusers import StableDiffusionXLPipeline

        info = describe_painter(settings)
        try:
            self.pipe: Any = StableDiffusionXLPipeline.from_pretrained(
                info.location,
                revision=info.revision,
                dtype=getattr(torch, settings.dtype),
                use_safetensors=True,
                add_watermarker=False,
            ).to(device)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"images.model '{info.name}': cannot be loaded as a StableDiffusionXLPipeline from safetensors: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        self.pipe.set_progress_bar_config(disable=True)
        self.settings = settings

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        output = self.pipe(
            list(prompts),
            guidance_scale=self.settings.guidance_scale,
            num_inference_steps=self.settings.num_inference_steps,
            negative_prompt=[self.settings.negative_prompt] * len(prompts),
            height=self.settings.height or None,
            width=self.settings.width or None,
            generator=_generators(seeds),
        )
        return list(output.images)


def _generators(seeds: Sequence[int]) -> list[Any]:
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
