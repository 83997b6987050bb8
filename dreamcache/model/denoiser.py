"""One guided prediction: the branches of guidance through the two halves of the U-Net, with the image condition.

Branches that share their text share the encoder half: combined guidance costs 2 encoder and 3 decoder halves. Only an
adapter with places in the encoder half, an ablation, has every branch run it. Knows halves, injection and guidance;
knows nothing of prompts, schedulers or images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.guidance import BRANCHES, guide
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.places import reach_the_encoder
from dreamcache.model.unet import EncoderState, decoder_half, encoder_half

Projected = Mapping[str, KeysValues]
"""One subject's adapter keys and values by place, each [1, heads, tokens, head size]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What a batch of B samples is conditioned on.

    text, null_text: [B, tokens, width]; subjects: one per sample, None for plain generation.
    text_scale, image_scale, strength: [B].
    """

    mode: str
    text: Tensor
    null_text: Tensor
    subjects: Sequence[Projected | None]
    text_scale: Tensor
    image_scale: Tensor
    strength: Tensor


class GuidedDenoiser:
    """model(x, t) for the sampler: x [B, 4, h, w] -> guided prediction of the same shape."""

    def __init__(
        self, unet: UNet2DConditionModel, adapter: DreamCacheAdapter | None, conditions: Conditions
    ) -> None:
        self.unet = unet
        self.adapter = adapter
        # Without any subject both modes are plain classifier-free guidance, at its cost.
        self.mode = conditions.mode if any(s is not None for s in conditions.subjects) else "text"
        self.branches = BRANCHES[self.mode]
        batch = conditions.text.shape[0]
        self.encoder_text = torch.cat([conditions.null_text, conditions.text])
        offsets = torch.tensor([batch if text else 0 for _, text in self.branches])
        self.from_encoder = (
            (offsets[:, None] + torch.arange(batch)[None]).flatten().to(conditions.text.device)
        )
        self.decoder_text = self.encoder_text.index_select(0, self.from_encoder)
        self.text_scale = conditions.text_scale.view(-1, 1, 1, 1)
        self.image_scale = conditions.image_scale.view(-1, 1, 1, 1)
        self.memory = self._memory(conditions)
        self.shares_encoder = adapter is None or not reach_the_encoder(adapter.places)

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        if self.memory is None or self.adapter is None:
            predictions = self._decode(self._encode_shared(x, timestep))
        elif self.shares_encoder:
            state = self._encode_shared(x, timestep)
            with injecting(self.unet, self.adapter, self.memory):
                predictions = self._decode(state)
        else:
            every = torch.cat([x] * len(self.branches))
            with injecting(self.unet, self.adapter, self.memory):
                predictions = self._decode(encoder_half(self.unet, every, timestep, self.decoder_text))
        return guide(
            self.mode, list(predictions.chunk(len(self.branches))), self.image_scale, self.text_scale
        )

    def _encode_shared(self, x: Tensor, timestep: Tensor) -> EncoderState:
        """One encoder pass a text, in the rows of the branches."""
        state = encoder_half(self.unet, torch.cat([x, x]), timestep, self.encoder_text)
        return state if self.mode == "text" else state.rows(self.from_encoder)

    def _decode(self, state: EncoderState) -> Tensor:
        return decoder_half(self.unet, state, self.decoder_text)

    def _memory(self, conditions: Conditions) -> Memory | None:
        """Stacks keys and values once for all steps: a row for each image branch of each sample with a subject."""
        batch = conditions.text.shape[0]
        with_subject = [i for i, subject in enumerate(conditions.subjects) if subject is not None]
        image_branches = [b for b, (image, _) in enumerate(self.branches) if image]
        if not with_subject or not image_branches:
            return None
        stacked = {}
        for place in next(s for s in conditions.subjects if s is not None):
            chosen = [conditions.subjects[i][place] for i in with_subject]  # type: ignore[index]
            stacked[place] = KeysValues(
                keys=torch.cat([kv.keys for kv in chosen] * len(image_branches)),
                values=torch.cat([kv.values for kv in chosen] * len(image_branches)),
            )
        device = conditions.text.device
        rows = torch.tensor([b * batch + i for b in image_branches for i in with_subject], device=device)
        strength = None
        if bool((conditions.strength != 1).any()):
            strength = (
                conditions.strength[torch.tensor(with_subject, device=device)]
                .repeat(len(image_branches))
                .view(-1, 1, 1)
            )
        return Memory(keys_values=stacked, rows=rows, strength=strength)
