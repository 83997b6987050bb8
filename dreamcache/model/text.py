"""Prompts to text embeddings, as Stable Diffusion does it; nothing is cut silently.

Knows a CLIP tokenizer and text model; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.lru import LRU


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextInput:
    """What a U-Net reads of B texts. states: [B, tokens, width]; added: [B, D] of `unet.added_input`, or None."""

    states: Tensor
    added: Tensor | None = None

    def expand(self, rows: int) -> TextInput:
        """One text for so many rows."""
        added = self.added.expand(rows, -1) if self.added is not None else None
        return TextInput(states=self.states.expand(rows, -1, -1), added=added)

    def where(self, chosen: Tensor, other: TextInput) -> TextInput:
        """Rows of this where `chosen` [B] is True, else of the other."""
        added = None
        if self.added is not None and other.added is not None:
            added = torch.where(chosen[:, None], self.added, other.added)
        return TextInput(states=torch.where(chosen[:, None, None], self.states, other.states), added=added)


class PromptError(DreamCacheError):
    """A prompt that cannot be used as it is."""

    code = "prompt_too_long"


class PromptEncoder:
    """Embeds prompts and holds the last `capacity` of them: jobs repeat prompts over many subjects.

    limit: of a prompt's tokens; by default what the tokenizer and the text model's positions allow, whichever is less:
    a tokenizer without `model_max_length` allows any number.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, model: CLIPTextModel, capacity: int = 512, limit: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.length = int(min(tokenizer.model_max_length, model.config.max_position_embeddings))
        self.limit = limit or self.length
        self._recent: LRU[str, Tensor] = LRU(capacity)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        # One prompt a pass: its embedding must not depend on which others are new in this batch.
        return torch.cat([self._recent.get_or(prompt, partial(self._embed, prompt)) for prompt in prompts])

    def read(self, prompts: Sequence[str], *, pixels: tuple[int, int], is_null: bool = False) -> TextInput:
        """What the U-Net reads of prompts, each held. Raises PromptError over the model's token limit.

        pixels: (height, width) of the image. is_null: an empty prompt is no text, as in the branch without text.
        """
        return TextInput(states=self(prompts))

    def given(self, states: Tensor, pooled: Tensor | None, *, pixels: tuple[int, int]) -> TextInput:
        """The same of embeddings that a caller computed: states [B, tokens, width], pooled [B, P] or None."""
        return TextInput(states=states)

    @torch.no_grad()
    def read_cut(self, captions: Sequence[str], *, pixels: tuple[int, int]) -> TextInput:
        """The same in one pass; longer captions are cut to the model's tokens, and none is held."""
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        ).to(self.model.device)
        mask = tokens.attention_mask if self._uses_mask else None
        return TextInput(states=self.model(tokens.input_ids, attention_mask=mask)[0])

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than the text model reads."""
        count = len(self.tokenizer(prompt, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    @property
    def _uses_mask(self) -> bool:
        return bool(getattr(self.model.config, "use_attention_mask", False))

    def _embed(self, prompt: str) -> Tensor:
        self.check(prompt)
        inputs = self.tokenizer(prompt, padding="max_length", max_length=self.length, return_tensors="pt")
        mask = inputs.attention_mask.to(self.model.device) if self._uses_mask else None
        embedding: Tensor = self.model(inputs.input_ids.to(self.model.device), attention_mask=mask)[0]
        return embedding
