"""Prompts to what SDXL's U-Net reads: two text encoders' hidden states, the second's pooled text, and size ids.

    prompt --tokenizer--> text_encoder    --last but one layer--> [tokens, 768]  --+
           --tokenizer_2-> text_encoder_2 --last but one layer--> [tokens, 1280] --+--> states [tokens, 2048]
                                          --projection----------> pooled [1280] ---+
    original size, crop, target size in pixels --> size ids [6] -------------------+--> added [2816]

Knows the parts of a StableDiffusionXLPipeline; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from dreamcache.model.memory import running_device
from dreamcache.model.text import DEFAULT_BYTES, PromptEncoder, PromptError, TextInput
from dreamcache.model.unet import added_input

LAYER = -2
"""Of the hidden states: the last but one, as SDXL was trained."""


class SDXLPromptEncoder(PromptEncoder):
    """Embeds prompts with both text encoders and holds the last of them: their states and their pooled text."""

    def __init__(self, base: DiffusionPipeline, max_bytes: int = DEFAULT_BYTES) -> None:
        """base: a StableDiffusionXLPipeline."""
        super().__init__(base.tokenizer, base.text_encoder, max_bytes)
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

    @torch.no_grad()
    def read(self, prompts: Sequence[str], *, pixels: tuple[int, int], is_null: bool = False) -> TextInput:
        """See `PromptEncoder.read`. The image is taken as whole: its original size is its own, without a crop.

        is_null: an empty prompt is all zeros where the base has force_zeros_for_empty_prompt.
        """
        states, pooled = self.held(prompts)
        if is_null and self.zeros_are_null:
            kept = torch.tensor([bool(prompt) for prompt in prompts], device=pooled.device)
            states, pooled = states * kept[:, None, None], pooled * kept[:, None]
        return self._with_sizes(states, pooled, pixels)

    @torch.no_grad()
    def given(self, states: Tensor, pooled: Tensor | None, *, pixels: tuple[int, int]) -> TextInput:
        """See `PromptEncoder.given`."""
        assert pooled is not None  # `embeddings` sees to it
        return self._with_sizes(states, pooled, pixels)

    @torch.no_grad()
    def read_cut(self, captions: Sequence[str], *, pixels: tuple[int, int]) -> TextInput:
        """See `PromptEncoder.read_cut`."""
        states, pooled = self.embed(list(captions))
        return self._with_sizes(states, pooled, pixels)

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than one of the text models reads."""
        count = max(len(tokenizer(prompt, truncation=False).input_ids) for tokenizer, _ in self.pairs)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def embed(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """States [B, tokens, width] and pooled text [B, P], by one pass of each text encoder."""
        states, pooled = [], None
        for tokenizer, model in self.pairs:
            inputs = tokenizer(
                prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
            )
            output = model(inputs.input_ids.to(running_device(model)), output_hidden_states=True)
            states.append(output.hidden_states[LAYER])
            pooled = output[0]  # of the second, which projects
        assert pooled is not None
        return torch.cat(states, dim=-1), pooled

    def _with_sizes(self, states: Tensor, pooled: Tensor, pixels: tuple[int, int]) -> TextInput:
        ids = [*pixels, 0, 0, *pixels]
        sizes = torch.tensor([ids] * len(pooled), dtype=torch.float32, device=pooled.device)
        return TextInput(states=states, added=added_input(self.unet, pooled, sizes))
