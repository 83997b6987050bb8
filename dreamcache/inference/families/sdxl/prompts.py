"""Prompts to what SDXL's U-Net reads: two text encoders' hidden states, the second's pooled text, and size ids.

    prompt --tokenizer--> text_encoder    --last but one layer--> [tokens, 768]  --+
           --tokenizer_2-> text_encoder_2 --last but one layer--> [tokens, 1280] --+--> states [tokens, 2048]
                                          --projection----------> pooled [1280] ---+
    original size, crop, target size in pixels --> size ids [6] -------------------+--> added [2816]

Knows the parts of a StableDiffusionXLPipeline; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dreamcache.core.lru import LRU
from dreamcache.model.text import PromptEncoder, PromptError, TextInput
from dreamcache.model.unet import added_input

LAYER = -2
"""Of the hidden states: the last but one, as SDXL was trained."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedded:
    """Of B prompts. states: [B, tokens, width]; pooled: [B, P]."""

    states: Tensor
    pooled: Tensor


class SDXLPromptEncoder(PromptEncoder):
    """Embeds prompts with both text encoders and holds the last `capacity` of them."""

    def __init__(self, base: Any, capacity: int = 512) -> None:
        """base: a StableDiffusionXLPipeline."""
        super().__init__(base.tokenizer, base.text_encoder, capacity)
        self.unet = base.unet
        self.pairs = (
            (base.tokenizer, base.text_encoder),
            (base.tokenizer_2, base.text_encoder_2),
        )
        self.length = self.limit = min(
            int(min(tokenizer.model_max_length, model.config.max_position_embeddings))
            for tokenizer, model in self.pairs
        )
        self.zeros_are_null = bool(base.config.force_zeros_for_empty_prompt)
        self._embedded: LRU[str, Embedded] = LRU(capacity)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Hidden states [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        return self._joined(prompts).states

    @torch.no_grad()
    def read(self, prompts: Sequence[str], *, pixels: tuple[int, int], is_null: bool = False) -> TextInput:
        """See `PromptEncoder.read`. The image is taken as whole: its original size is its own, without a crop.

        is_null: an empty prompt is all zeros where the base has force_zeros_for_empty_prompt.
        """
        embedded = self._joined(prompts)
        if is_null and self.zeros_are_null:
            kept = torch.tensor([bool(prompt) for prompt in prompts], device=embedded.pooled.device)
            embedded = Embedded(
                states=embedded.states * kept[:, None, None], pooled=embedded.pooled * kept[:, None]
            )
        return self._with_sizes(embedded, pixels)

    @torch.no_grad()
    def given(self, states: Tensor, pooled: Tensor | None, *, pixels: tuple[int, int]) -> TextInput:
        """See `PromptEncoder.given`."""
        assert pooled is not None  # `inputs` sees to it
        return self._with_sizes(Embedded(states=states, pooled=pooled), pixels)

    @torch.no_grad()
    def read_cut(self, captions: Sequence[str], *, pixels: tuple[int, int]) -> TextInput:
        """See `PromptEncoder.read_cut`."""
        return self._with_sizes(self._run(list(captions)), pixels)

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than one of the text models reads."""
        count = max(len(tokenizer(prompt, truncation=False).input_ids) for tokenizer, _ in self.pairs)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def _joined(self, prompts: Sequence[str]) -> Embedded:
        # One prompt a pass: its embedding must not depend on which others are new in this batch.
        each = [self._embedded.get_or(prompt, partial(self._one, prompt)) for prompt in prompts]
        return Embedded(
            states=torch.cat([one.states for one in each]), pooled=torch.cat([one.pooled for one in each])
        )

    def _one(self, prompt: str) -> Embedded:
        self.check(prompt)
        return self._run([prompt])

    def _run(self, prompts: list[str]) -> Embedded:
        """One pass of each text encoder; longer prompts are cut."""
        states, pooled = [], None
        for tokenizer, model in self.pairs:
            inputs = tokenizer(
                prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
            )
            output = model(inputs.input_ids.to(model.device), output_hidden_states=True)
            states.append(output.hidden_states[LAYER])
            pooled = output[0]  # of the second, which projects
        assert pooled is not None
        return Embedded(states=torch.cat(states, dim=-1), pooled=pooled)

    def _with_sizes(self, embedded: Embedded, pixels: tuple[int, int]) -> TextInput:
        ids = [*pixels, 0, 0, *pixels]
        sizes = torch.tensor([ids] * len(embedded.pooled), dtype=torch.float32, device=embedded.pooled.device)
        return TextInput(states=embedded.states, added=added_input(self.unet, embedded.pooled, sizes))
