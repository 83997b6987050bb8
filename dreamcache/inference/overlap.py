"""Decoding of one batch beside the denoising of the next, on one device.

    begin(requests)  --the device's thread-->  latents (on a GPU still being computed)
    finish()         --the caller's thread, a CUDA stream of its own-->  VAE, bytes on the host: outcomes

Pixels are those of `Generator.generate`, bit for bit. Whatever fails is generated again by it, alone on the device, so
an item's outcome does not depend on the overlap. Knows a generator and its pipeline; knows no rows, Ray or attempts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic

import torch

from dreamcache.core.records import Request
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import GenerationOutcome
from dreamcache.inference.protocols import S
from dreamcache.model.device_errors import is_device_lost, is_out_of_memory

logger = logging.getLogger(__name__)

NO_ROOM = (
    "decoding beside denoising does not fit in this worker's memory; it continues with one after the other (set "
    "workers.overlap_decoding to off to avoid this)"
)


@dataclass(kw_only=True, slots=True)
class _Denoised(Generic[S]):
    """A batch between its two stages. done: on a GPU, when its latents are there."""

    batch: list[tuple[Request, S]]
    others: dict[str, GenerationOutcome]
    latents: torch.Tensor
    began: float
    done: Any


class Overlapped(Generic[S]):
    """Two stages of a generator that no other thread uses meanwhile.

    At most as many batches are in flight as the caller has begun and not finished.
    """

    def __init__(self, generator: Generator[S]) -> None:
        self.generator = generator
        pipe: Any = generator.pipe
        self.is_on = bool(getattr(pipe, "decodes_apart", False))
        self.note: str | None = None
        self._pipe = pipe
        # One thread for all passes of the denoiser, as CUDA graphs and thread counts belong to a thread.
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="denoising")
        self._state = threading.Condition()
        self._decoding = 0
        self._ended = 0.0
        self._stream: Any = None

    def alone(self, work: Callable[[], list[GenerationOutcome]]) -> list[GenerationOutcome]:
        """work() on the device's thread, with no decoding beside it."""

        def run() -> list[GenerationOutcome]:
            with self._state:
                self._state.wait_for(lambda: self._decoding == 0)
            return work()

        return self._device.submit(run).result()

    def begin(self, requests: Sequence[Request]) -> Callable[[Callable[[], None]], list[GenerationOutcome]]:
        """Denoises; returns finish(on_denoised), which any thread may call, once: one outcome per request, in order.

        on_denoised: called when the latents are there. What cannot be overlapped is generated here to its end. Raises
        what `Generator.generate` raises.
        """
        denoised = self._device.submit(self._denoise, requests).result() if self.is_on else None
        if denoised is not None and denoised.batch:
            return lambda on_denoised: self._finish(requests, denoised, on_denoised)
        if denoised is not None:
            outcomes = [denoised.others[request.item_id] for request in requests]
        else:
            outcomes = self.alone(lambda: list(self.generator.generate(requests)))
        return lambda on_denoised: _after(on_denoised, outcomes)

    def _denoise(self, requests: Sequence[Request]) -> _Denoised[S] | None:
        """Without a batch where no request can be tried. None where they are not one batch, or it failed."""
        generator, began = self.generator, time.perf_counter()
        others, batches = generator.batches(requests)
        if not batches:
            nothing = torch.empty(0)
            return _Denoised(batch=[], others=others, latents=nothing, began=began, done=None)
        if len(batches) != 1 or not generator.fits_whole(batches[0]):
            return None
        size, steps = generator.batch_size, generator.settings.steps
        try:
            latents = generator.call(batches[0], steps, size=size, output_type="latent")
        except Exception as error:  # whose fault it is, `Generator.generate` finds out
            self._see(error, is_beside=self._decoding > 0)
            return None
        with self._state:
            self._decoding += 1
        done = None
        if latents.device.type == "cuda":
            done = torch.cuda.Event()
            done.record()
        return _Denoised(batch=batches[0], others=others, latents=latents, began=began, done=done)

    def _finish(
        self, requests: Sequence[Request], denoised: _Denoised[S], on_denoised: Callable[[], None]
    ) -> list[GenerationOutcome]:
        outcomes = denoised.others
        failed = False
        try:
            if denoised.done is not None:
                denoised.done.synchronize()
            on_denoised()
            for outcome in self._decode(denoised):
                outcomes[outcome.item_id] = outcome
        except Exception as error:  # as above
            self._see(error, is_beside=True)
            failed = True
        finally:
            del denoised.latents
            with self._state:
                self._decoding -= 1
                self._state.notify_all()
        if failed:
            return self.alone(lambda: list(self.generator.generate(requests)))
        return [outcomes[request.item_id] for request in requests]

    def _decode(self, denoised: _Denoised[S]) -> Sequence[GenerationOutcome]:
        with self._beside(denoised.latents):
            images = self._pipe.decode(denoised.latents)[: len(denoised.batch)]
            return self.generator.outcomes(denoised.batch, images, lambda: self._elapsed(denoised.began))

    def _elapsed(self, began: float) -> float:
        """Seconds since the batch began or the one before it ended: the sum over batches is no more than the time."""
        with self._state:
            now = time.perf_counter()
            seconds, self._ended = now - max(began, self._ended), now
        return seconds

    @contextmanager
    def _beside(self, latents: torch.Tensor) -> Iterator[None]:
        """On a GPU the block's work is on another stream than that of the denoiser."""
        if latents.device.type != "cuda":
            yield
            return
        with self._state:
            self._stream = self._stream or torch.cuda.Stream(latents.device)
        latents.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            yield

    def _see(self, error: Exception, *, is_beside: bool) -> None:
        """is_beside: another batch was on the device."""
        if is_device_lost(error):
            raise error
        if is_beside and is_out_of_memory(error):
            self.is_on, self.note = False, NO_ROOM
        logger.warning("a batch whose decoding is overlapped failed (%s); it is generated again alone", error)

    def take_note(self) -> str | None:
        """What the user should know since the last call, the generator's own notes included."""
        note, self.note = self.note, None
        return "; ".join(filter(None, (note, self.generator.take_note()))) or None


def _after(on_denoised: Callable[[], None], outcomes: list[GenerationOutcome]) -> list[GenerationOutcome]:
    on_denoised()
    return outcomes
