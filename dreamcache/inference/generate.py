"""The verb generate: requests become pixels, many subjects to a batch, each item with its own noise.

Errors are values: one bad item costs itself and never its batch mates. Knows the pipeline; knows nothing of
Ray, files of images or ledgers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray

from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.savings import Savings
from dreamcache.core.config.scenes import Overrides, overrides_of
from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError, SpecError
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Blocked, Failed, Request
from dreamcache.inference.decode import are_finite, as_bytes
from dreamcache.inference.outcome import Generated
from dreamcache.inference.protocols import Pipeline, S
from dreamcache.model.device_errors import is_device_lost, is_out_of_memory

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 2
PER_IMAGE = ("negative_prompt", "text_scale", "image_scale", "strength")
OUT_OF_MEMORY = "out_of_memory"


class Generator(Generic[S]):
    """Generates batches of requests with one pipeline and one group of settings.

    batch_size: smaller batches are filled up by repeating an item, because a kernel's last bits depend on the
    batch's shape; so an item gets the same pixels whatever its neighbours are, also while a batch is halved to
    find the item at fault. micro_batch: the shape in use; less than batch_size after memory did not suffice.
    """

    def __init__(
        self,
        pipe: Pipeline[S],
        settings: GenerationSettings,
        features_of: Callable[[Request], S],
        *,
        batch_size: int,
        per_image: frozenset[str] = frozenset(),
    ) -> None:
        """per_image: see `Family`; requests that differ in other settings are generated in batches of their own."""
        self.pipe = pipe
        self.per_image = per_image
        self.settings = settings.resolved(dict(pipe.adapter_info.recommended) if pipe.adapter_info else {})
        self.features_of = features_of
        self.batch_size = self.micro_batch = batch_size
        self._fitting: dict[object, int] = {}
        self.note: str | None = None

    def warm_up(self, subject: S, scenes: Sequence[Overrides] = ()) -> None:
        """Generates a full batch in few steps, so that kernels are built and memory is known before the first item.

        Where halves are compiled, a batch of each size that the job or one of its scenes has, in as many steps as
        compile all that a batch computes: the first item's time limit must not pay for it. Raises SpecError for a
        negative prompt that is too long: it would cost every item.
        """
        try:
            self.pipe.prompts.check(self.settings.negative_prompt)
        except DreamCacheError as error:
            raise SpecError(f"generation.negative_prompt: {error}") from error
        request = Request(
            item_id="warm-up", subject_id="", class_name="", reference_id="", cache_key="", image="", mask=None,
            prompt="", sample=0, seed=0,
        )  # fmt: skip
        compiles = getattr(self.pipe, "halves", None) is not None
        # Steps with savings differ in what they compute, and in what they take over from the step before.
        is_whole = compiles and self.settings.savings != Savings()
        steps = self.settings.steps if is_whole else min(self.settings.steps, WARM_UP_STEPS)
        for size in [None, *(self._other_sizes(scenes) if compiles else [])]:
            for outcome in self._generate_fitting([(replace(request, overrides=size), subject)], steps):
                if isinstance(outcome, Failed):
                    logger.warning("warming up: %s", outcome.message)

    def _other_sizes(self, scenes: Sequence[Overrides]) -> list[str | None]:
        """Overrides of each size that is not the job's."""
        settings = [scene.generation(self.settings) for scene in scenes]
        sizes = dict.fromkeys((one.height, one.width) for one in settings)
        sizes.pop((self.settings.height, self.settings.width), None)
        return [Overrides(height=height, width=width).text() for height, width in sizes]

    def take_note(self) -> str | None:
        """What the user should know of since the last call."""
        note, self.note = self.note, None
        return note

    def generate(self, requests: Sequence[Request]) -> list[Generated | Blocked | Failed]:
        """One outcome per request, in order."""
        outcomes, batches = self.batches(requests)
        for batch in batches:
            for outcome in self._generate_fitting(batch, self.settings.steps):
                outcomes[outcome.item_id] = outcome
        return [outcomes[request.item_id] for request in requests]

    def batches(
        self, requests: Sequence[Request]
    ) -> tuple[dict[str, Generated | Blocked | Failed], list[list[tuple[Request, S]]]]:
        """Outcomes of requests that cannot be tried, by item id; the others with what is read of their subjects."""
        outcomes: dict[str, Generated | Blocked | Failed] = {}
        ready: list[tuple[Request, S]] = []
        for request in requests:
            try:
                self.pipe.prompts.check(request.prompt)
                if request.overrides is not None:
                    self.pipe.prompts.check(self._settings_of(request).negative_prompt)
                ready.append((request, self.features_of(request)))
            except NO_ITEMS_FAULT:
                raise
            except Exception as error:  # every other error is about this subject alone
                if is_device_lost(error):
                    raise
                outcomes[request.item_id] = _failed(request, error)
        groups = (part for same in self._by_settings(ready) for part in _by_photos(same))
        size = self.batch_size
        return outcomes, [
            group[start : start + size] for group in groups for start in range(0, len(group), size)
        ]

    def _by_settings(self, ready: list[tuple[Request, S]]) -> list[list[tuple[Request, S]]]:
        """Requests that may share a batch, in order of their first."""
        groups: dict[object, list[tuple[Request, S]]] = {}
        for request, features in ready:
            key = overrides_of(request.overrides).batch_key(self.per_image)
            groups.setdefault(key, []).append((request, features))
        return list(groups.values())

    def fits_whole(self, batch: list[tuple[Request, S]]) -> bool:
        """Whether no batch of its shape has run out of memory."""
        return self._fitting.get(self._shape_of(batch[0][0]), self.batch_size) == self.batch_size

    def _shape_of(self, request: Request) -> object:
        """What decides a batch's memory besides its size: one large scene must not make all batches small."""
        settings = self._settings_of(request)
        return settings.height, settings.width, len(photos_of(request))

    def _settings_of(self, request: Request) -> GenerationSettings:
        return overrides_of(request.overrides).generation(self.settings)

    def _generate_fitting(
        self, batch: list[tuple[Request, S]], steps: int
    ) -> list[Generated | Blocked | Failed]:
        """In micro-batches that fit in memory. A size that was too large is not tried again by this worker."""
        shape = self._shape_of(batch[0][0])
        before = self.micro_batch = self._fitting.get(shape, self.batch_size)
        while True:
            size = self.micro_batch
            parts = [batch[start : start + size] for start in range(0, len(batch), size)]
            outcomes = [outcome for part in parts for outcome in self._generate_halving(part, steps)]
            if not outcomes or not all(_lacks_memory(outcome) for outcome in outcomes):
                break
            if size == 1:
                self.micro_batch = before  # the items', not the shape's fault
                break
            self.micro_batch = size // 2
        self._fitting[shape] = self.micro_batch
        if self.micro_batch < before:
            self.note = (
                f"a micro-batch of {before} does not fit in this worker's memory; it continues with {self.micro_batch} "
                f"(slower; pixels within 1/255); to avoid this, set workers.batch_size to {self.micro_batch}"
            )
            logger.warning(self.note)
        return outcomes

    def _generate_halving(
        self, batch: list[tuple[Request, S]], steps: int
    ) -> list[Generated | Blocked | Failed]:
        try:
            return self._generate_once(batch, steps)
        except Exception as error:  # whatever the model raises is an item's outcome, once it stands alone
            if is_device_lost(error):
                raise  # the device's fault, not the item's: nothing in this process can generate any more
            if len(batch) == 1:
                return [_failed(batch[0][0], error)]
            logger.warning("a batch of %d failed (%s); halving it", len(batch), error)
        # Outside the except block, whose traceback would keep the failed batch's tensors on the device.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(batch) // 2
        return self._generate_halving(batch[:middle], steps) + self._generate_halving(batch[middle:], steps)

    def _generate_once(
        self, batch: list[tuple[Request, S]], steps: int
    ) -> list[Generated | Blocked | Failed]:
        started = time.perf_counter()
        images = self.call(batch, steps, size=self.micro_batch, output_type="pt")
        return self.outcomes(batch, images[: len(batch)], lambda: time.perf_counter() - started)

    def call(
        self, batch: list[tuple[Request, S]], steps: int, *, size: int, output_type: str
    ) -> torch.Tensor:
        """The pipeline's images or latents, [size, ...], of a batch that is filled up to `size` rows."""
        filled = batch + [batch[0]] * (size - len(batch))
        each = [self._settings_of(request) for request, _ in filled]
        settings = each[0]
        images: torch.Tensor = self.pipe(
            prompt=[request.prompt for request, _ in filled],
            subject=[features for _, features in filled],
            guidance=settings.guidance,
            num_inference_steps=steps,
            scheduler=settings.scheduler,
            **asdict(settings.savings),
            height=settings.height or None,
            width=settings.width or None,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request, _ in filled],
            output_type=output_type,
            **self._values(each),
        ).images
        return images

    def outcomes(
        self, batch: list[tuple[Request, S]], images: torch.Tensor, elapsed: Callable[[], float]
    ) -> list[Generated | Blocked | Failed]:
        """Of a batch's images [B, 3, H, W]. elapsed: seconds of the batch, once its pixels are there."""
        withheld, finite, pixels = self._unsafe(images), are_finite(images), as_bytes(images)
        seconds = elapsed() / len(batch)
        return [
            self._outcome(request, rgb if is_finite else None, seconds, unsafe)
            for (request, _), rgb, is_finite, unsafe in zip(batch, pixels, finite, withheld, strict=True)
        ]

    def _values(self, each: Sequence[GenerationSettings]) -> dict[str, Any]:
        """Settings that may differ within a batch, by name: one value where all have it, else a list.

        Families that have no other value within a batch take one.
        """
        settings = each[0]
        values = {name: getattr(settings, name) for name in PER_IMAGE}
        for name in self.per_image:
            if any(getattr(one, name) != getattr(settings, name) for one in each):
                values[name] = [getattr(one, name) for one in each]
        return values

    def _outcome(
        self, request: Request, rgb: NDArray[np.uint8] | None, seconds: float, unsafe: bool
    ) -> Generated | Blocked | Failed:
        """rgb: None for an image that holds a number that is none."""
        where = f"item {request.item_id[:12]} of subject '{request.subject_id}'"
        if rgb is None:
            message = (
                f"{where}: the model returned NaN; use another dtype (bfloat16 or float32) or other scales"
            )
            return Failed(item_id=request.item_id, code="nan_image", message=message)
        if unsafe:
            message = f"{where}: withheld by the base model's safety checker"
            return Blocked(item_id=request.item_id, code="safety_checker", message=message)
        return Generated(item_id=request.item_id, rgb=rgb, seconds=seconds)

    def _unsafe(self, images: torch.Tensor) -> list[bool]:
        base: Any = self.pipe.base
        if getattr(base, "safety_checker", None) is None:
            return [False] * len(images)
        # A copy, because the checker blackens in place what it flags.
        shown = images.permute(0, 2, 3, 1).float().cpu().numpy().copy()
        _, flags = base.run_safety_checker(shown, base._execution_device, base.unet.dtype)
        return [bool(flag) for flag in flags]


def _by_photos(ready: list[tuple[Request, S]]) -> list[list[tuple[Request, S]]]:
    """Requests by their number of photos: a batch's tokens are stacked, and a row's last bits depend on its shape."""
    parts: dict[int, list[tuple[Request, S]]] = {}
    for request, subject in ready:
        parts.setdefault(len(photos_of(request)), []).append((request, subject))
    return list(parts.values())


def _failed(request: Request, error: Exception) -> Failed:
    """A user's error keeps its code and text; any other gets the item's name."""
    if isinstance(error, DreamCacheError):
        return Failed(item_id=request.item_id, code=error.code, message=str(error))
    message = f"item {request.item_id[:12]}: {type(error).__name__}: {str(error)[:500]}"
    code = OUT_OF_MEMORY if is_out_of_memory(error) else "generation_error"
    return Failed(item_id=request.item_id, code=code, message=message)


def _lacks_memory(outcome: Generated | Blocked | Failed) -> bool:
    return isinstance(outcome, Failed) and outcome.code == OUT_OF_MEMORY
