"""Prompts to text embeddings, as Stable Diffusion does it; nothing is cut silently.

Knows a CLIP tokenizer and text model; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.lru import LRU

DEFAULT_BYTES = 1 << 29
"""On the model's device; an embedding of SD 2.1 has 315 kB in float32."""


class PromptError(DreamCacheError):
    """A prompt that cannot be used as it is."""

    code = "prompt_too_long"


class PromptEncoder:
    """Embeds prompts and holds the last of them, at most `max_bytes`: jobs repeat prompts over many subjects.

    rows: prompts of a pass, always as many, because a kernel's last bits depend on their number: what is new in a batch
    is embedded together. By default 8 on a GPU, which has room for them at the cost of one, else 1.
    hits, misses: prompts that were held and that were embedded.
    limit: of a prompt's tokens; by default what the tokenizer and the text model's positions allow, whichever is less:
    a tokenizer without `model_max_length` allows any number.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        model: CLIPTextModel,
        max_bytes: int = DEFAULT_BYTES,
        limit: int | None = None,
        rows: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.length = int(min(tokenizer.model_max_length, model.config.max_position_embeddings))
        self.limit = limit or self.length
        self.rows = rows
        self.hits = self.misses = 0
        self._recent: LRU[str, Tensor] = LRU(max_bytes, size=lambda value: value.nbytes)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        embedded: dict[str, Tensor] = {}
        missing: list[str] = []
        for prompt in dict.fromkeys(prompts):
            held = self._recent.get(prompt)
            if held is None:
                self.check(prompt)
                missing.append(prompt)
            else:
                embedded[prompt] = held
        self.hits, self.misses = self.hits + len(embedded), self.misses + len(missing)
        rows = self.rows or (8 if self.model.device.type == "cuda" else 1)
        for start in range(0, len(missing), rows):
            part = missing[start : start + rows]
            filled = part + [part[-1]] * (rows - len(part))
            for prompt, value in zip(part, self._embed(filled).split(1), strict=False):
                # A row alone would hold the memory of the whole pass.
                embedded[prompt] = self._recent.put(prompt, value.clone() if rows > 1 else value)
        return torch.cat([embedded[prompt] for prompt in prompts])

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than the text model reads."""
        count = len(self.tokenizer(prompt, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def _embed(self, prompts: list[str]) -> Tensor:
        inputs = self.tokenizer(prompts, padding="max_length", max_length=self.length, return_tensors="pt")
        uses_mask = getattr(self.model.config, "use_attention_mask", False)
        mask = inputs.attention_mask.to(self.model.device) if uses_mask else None
        embedding: Tensor = self.model(inputs.input_ids.to(self.model.device), attention_mask=mask)[0]
        return embedding
