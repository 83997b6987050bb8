"""The verb generate: requests become pixels, many subjects to a batch, each item with its own noise.

Errors are values: one bad item costs itself and never its batch mates. Knows the pipeline; knows nothing of
Ray, files of images or ledgers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dreamcache.config import GenerationSettings
from dreamcache.errors import NO_ITEMS_FAULT, DreamCacheError
from dreamcache.model.features import SubjectFeatures
from dreamcache.pipeline import DreamCachePipeline
from dreamcache.records import Blocked, Failed, Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """An image not yet committed: rgb uint8 [H, W, 3]; seconds is its share of its batch's time."""

    item_id: str
    rgb: NDArray[np.uint8]
    seconds: float


class Generator:
    """Draws batches of requests with one pipeline and one group of settings.

    batch_size: smaller batches are filled up by repeating an item, because a kernel's last bits depend on the
    batch's shape; so an item gets the same pixels whatever its neighbours are.
    """

    def __init__(
        self,
        pipe: DreamCachePipeline,
        settings: GenerationSettings,
        features_of: Callable[[Request], SubjectFeatures],
        *,
        batch_size: int,
    ) -> None:
        self.pipe = pipe
        self.settings = settings
        self.features_of = features_of
        self.batch_size = batch_size

    def generate(self, requests: Sequence[Request]) -> list[Drawn | Blocked | Failed]:
        """One outcome per request, in order."""
        outcomes: dict[str, Drawn | Blocked | Failed] = {}
        ready: list[tuple[Request, SubjectFeatures]] = []
        for request in requests:
            try:
                self.pipe.prompts.check(request.prompt)
                ready.append((request, self.features_of(request)))
            except NO_ITEMS_FAULT:
                raise
            except Exception as error:  # what is left is this subject's own
                outcomes[request.item_id] = _failed(request, error)
        for start in range(0, len(ready), self.batch_size):
            for outcome in self._draw(ready[start : start + self.batch_size], fill=True):
                outcomes[outcome.item_id] = outcome
        return [outcomes[request.item_id] for request in requests]

    def _draw(
        self, batch: list[tuple[Request, SubjectFeatures]], *, fill: bool
    ) -> list[Drawn | Blocked | Failed]:
        try:
            return self._draw_once(batch, fill=fill)
        except Exception as error:  # whatever the model raises is an item's outcome, once it stands alone
            if is_device_lost(error):
                raise  # the device's fault, not the item's: nothing in this process can draw any more
            if not fill and len(batch) == 1:
                return [_failed(batch[0][0], error)]
            logger.warning("a batch of %d failed (%s); halving it", len(batch), error)
        # Outside the except block, whose traceback would keep the failed batch's tensors on the device.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = max(1, len(batch) // 2)
        halves = [half for half in (batch[:middle], batch[middle:]) if half]
        return [outcome for half in halves for outcome in self._draw(half, fill=False)]

    def _draw_once(
        self, batch: list[tuple[Request, SubjectFeatures]], *, fill: bool
    ) -> list[Drawn | Blocked | Failed]:
        started = time.perf_counter()
        filled = batch + [batch[0]] * (self.batch_size - len(batch)) if fill else batch
        settings = self.settings
        images = self.pipe(
            prompt=[request.prompt for request, _ in filled],
            subject=[features for _, features in filled],
            negative_prompt=settings.negative_prompt,
            guidance=settings.guidance,
            text_scale=settings.text_scale,
            image_scale=settings.image_scale,
            strength=settings.strength,
            num_inference_steps=settings.num_inference_steps,
            scheduler=settings.scheduler,
            height=settings.height or None,
            width=settings.width or None,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request, _ in filled],
            output_type="np",
        ).images[: len(batch)]
        withheld = self._unsafe(images)
        seconds = (time.perf_counter() - started) / len(batch)
        return [
            self._outcome(request, image, seconds, unsafe)
            for (request, _), image, unsafe in zip(batch, images, withheld, strict=True)
        ]

    def _outcome(
        self, request: Request, image: Any, seconds: float, unsafe: bool
    ) -> Drawn | Blocked | Failed:
        where = f"item {request.item_id[:12]} of subject '{request.subject_id}'"
        if not np.isfinite(image).all():
            message = (
                f"{where}: the model returned NaN; use another dtype (bfloat16 or float32) or other scales"
            )
            return Failed(item_id=request.item_id, code="nan_image", message=message)
        if unsafe:
            message = f"{where}: withheld by the base model's safety checker"
            return Blocked(item_id=request.item_id, code="safety_checker", message=message)
        return Drawn(item_id=request.item_id, rgb=(image * 255).round().astype(np.uint8), seconds=seconds)

    def _unsafe(self, images: NDArray[np.float32]) -> list[bool]:
        base: Any = self.pipe.base
        if getattr(base, "safety_checker", None) is None:
            return [False] * len(images)
        # A copy, because the checker blackens in place what it flags.
        _, flags = base.run_safety_checker(images.copy(), base.device, base.unet.dtype)
        return [bool(flag) for flag in flags]


def _failed(request: Request, error: Exception) -> Failed:
    """A user's error keeps its code and words; any other gets the item's name."""
    if isinstance(error, DreamCacheError):
        return Failed(item_id=request.item_id, code=error.code, message=str(error))
    message = f"item {request.item_id[:12]}: {type(error).__name__}: {str(error)[:500]}"
    return Failed(item_id=request.item_id, code="generation_error", message=message)


def is_device_lost(error: Exception) -> bool:
    """Whether a CUDA error has spoilt this process's context; running out of memory has not."""
    return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)
