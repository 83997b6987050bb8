"""Prompts to text embeddings, as Stable Diffusion does it; nothing is cut silently.

Knows a CLIP tokenizer and text model; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.lru import LRU


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

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than the text model reads."""
        count = len(self.tokenizer(prompt, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def _embed(self, prompt: str) -> Tensor:
        self.check(prompt)
        inputs = self.tokenizer(prompt, padding="max_length", max_length=self.length, return_tensors="pt")
        uses_mask = getattr(self.model.config, "use_attention_mask", False)
        mask = inputs.attention_mask.to(self.model.device) if uses_mask else None
        embedding: Tensor = self.model(inputs.input_ids.to(self.model.device), attention_mask=mask)[0]
        return embedding
