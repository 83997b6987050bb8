"""Prompts to the embeddings of klein's language model, kept by their text: jobs repeat prompts over many subjects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from diffusers import Flux2KleinKVPipeline
from torch import Tensor

from dreamcache.core.lru import LRU
from dreamcache.model.text import PromptError

KEPT_BYTES = 1 << 30


class KleinPrompts:
    """Embeddings by text, the last `capacity_bytes` of them."""

    def __init__(self, base: Flux2KleinKVPipeline, capacity_bytes: int = KEPT_BYTES) -> None:
        self.base = base
        self.limit = int(base.tokenizer_max_length)
        self._recent: LRU[str, Tensor] = LRU(
            capacity_bytes, size=lambda value: value.numel() * value.element_size()
        )

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        return torch.cat([self._recent.get_or(prompt, partial(self._embed, prompt)) for prompt in prompts])

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt, in the chat's template, has more tokens than are read."""
        messages = [{"role": "user", "content": prompt}]
        tokenizer = self.base.tokenizer
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        count = len(tokenizer(text, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with the chat's own, got {count}; shorten it"
            )

    def _embed(self, prompt: str) -> Tensor:
        self.check(prompt)
        embedding: Tensor = self.base.encode_prompt(prompt)[0]
        return embedding
