"""Prompts to text embeddings, as Stable Diffusion does it; nothing is cut silently.

Knows a CLIP tokenizer and text model; knows nothing of guidance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamcache.core.errors import DreamCacheError


class PromptError(DreamCacheError):
    """A prompt that cannot be used as it is."""

    code = "prompt_too_long"


class PromptEncoder:
    """Embeds prompts, keeping the last `capacity` of them: jobs repeat prompts over many subjects.

    limit: of a prompt's tokens; the tokenizer's own if none is given.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, model: CLIPTextModel, capacity: int = 512, limit: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.capacity = capacity
        self.limit = limit or int(tokenizer.model_max_length)
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        for prompt in dict.fromkeys(prompts):
            # One prompt a pass: its embedding must not depend on which others are new in this batch.
            if prompt not in self._kept:
                self._kept[prompt] = self._embed(prompt)
            self._kept.move_to_end(prompt)
        embeddings = torch.cat([self._kept[prompt] for prompt in prompts])
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return embeddings

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than the text model reads."""
        count = len(self.tokenizer(prompt, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def _embed(self, prompt: str) -> Tensor:
        self.check(prompt)
        inputs = self.tokenizer(
            prompt, padding="max_length", max_length=self.tokenizer.model_max_length, return_tensors="pt"
        )
        uses_mask = getattr(self.model.config, "use_attention_mask", False)
        mask = inputs.attention_mask.to(self.model.device) if uses_mask else None
        embedding: Tensor = self.model(inputs.input_ids.to(self.model.device), attention_mask=mask)[0]
        return embedding
