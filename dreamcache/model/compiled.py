"""The two halves of a U-Net compiled by torch, once a shape; another subject, prompt or timestep compiles nothing.

Hooks must be there when a half is traced and must not change afterwards, so they stay on for good and read the
injector's memory, which is None for the plain U-Net. Knows halves and injection; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from dreamcache.core.config import CompileMode
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.inject import Injector
from dreamcache.model.unet import EncoderState, decoder_half, encoder_half

MODES = {"default": None, "max-autotune": "max-autotune"}
"""torch's names. `max-autotune` replays CUDA graphs, whose outputs the next replay overwrites."""


class CompiledHalves:
    """encoder, decoder: as `encoder_half` and `decoder_half`. injector: the one whose memory the halves read."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        adapter: DreamCacheAdapter | None,
        mode: CompileMode,
        **options: object,
    ) -> None:
        """options: of torch.compile, e.g. `backend`."""
        self.injector = Injector(unet, adapter) if adapter is not None else None
        if self.injector is not None:
            self.injector.install()
        self.replays_graphs = mode == "max-autotune" and unet.device.type == "cuda"
        settings: dict[str, Any] = {"mode": MODES[mode], "dynamic": False, **options}
        self._encoder: Callable[..., EncoderState] = torch.compile(encoder_half, **settings)
        self._decoder: Callable[..., Tensor] = torch.compile(decoder_half, **settings)

    def encoder(
        self,
        unet: UNet2DConditionModel,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        added: Tensor | None = None,
    ) -> EncoderState:
        """See `encoder_half`. The state outlives the next call."""
        if not self.replays_graphs:
            return self._encoder(unet, latents, timestep, text, added)
        torch.compiler.cudagraph_mark_step_begin()
        return self._encoder(unet, latents, timestep, text, added).copy()

    def decoder(self, unet: UNet2DConditionModel, state: EncoderState, text: Tensor) -> Tensor:
        """See `decoder_half`. The prediction outlives the next call."""
        prediction = self._decoder(unet, state, text)
        return prediction.clone() if self.replays_graphs else prediction

    def remove(self) -> None:
        """Takes the hooks off; the halves must not be used afterwards."""
        if self.injector is not None:
            self.injector.remove()
