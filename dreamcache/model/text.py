"""Prompts to text embeddings, as Stable Diffusion does it; nothing is cut silently.

Knows a CLIP tokenizer and text model; knows nothing of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.lru import LRU
from dreamcache.model.memory import running_device

DEFAULT_BYTES = 1 << 29
"""On the model's device; an embedding of SD 2.1 has 315 kB in float32."""


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
        self._recent: LRU[str, tuple[Tensor, ...]] = LRU(
            max_bytes, size=lambda values: sum(value.nbytes for value in values)
        )

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [len(prompts), tokens, width]. Raises PromptError over the model's token limit."""
        return self.held(prompts)[0]

    @torch.no_grad()
    def held(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """What `embed` returns of these prompts, from memory where it is. Raises PromptError as a call does."""
        embedded: dict[str, tuple[Tensor, ...]] = {}
        missing: list[str] = []
        for prompt in dict.fromkeys(prompts):
            held = self._recent.get(prompt)
            if held is None:
                self.check(prompt)
                missing.append(prompt)
            else:
                embedded[prompt] = held
        self.hits, self.misses = self.hits + len(embedded), self.misses + len(missing)
        rows = self.rows or (8 if running_device(self.model).type == "cuda" else 1)
        for start in range(0, len(missing), rows):
            part = missing[start : start + rows]
            filled = part + [part[-1]] * (rows - len(part))
            each = zip(*(values.split(1) for values in self.embed(filled)), strict=True)
            for prompt, values in zip(part, each, strict=False):
                # A row alone would hold the memory of the whole pass.
                own = tuple(value.clone() if rows > 1 else value for value in values)
                embedded[prompt] = self._recent.put(prompt, own)
        return tuple(torch.cat(rows) for rows in zip(*(embedded[prompt] for prompt in prompts), strict=True))

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
        return TextInput(states=self.embed(list(captions))[0])

    def check(self, prompt: str) -> None:
        """Raises PromptError when the prompt has more tokens than the text model reads."""
        count = len(self.tokenizer(prompt, truncation=False).input_ids)
        if count > self.limit:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {self.limit} tokens with start and end, got {count}; shorten it"
            )

    def embed(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Embeddings [B, tokens, width] in one pass, and what else a base reads of text; longer prompts are cut."""
        inputs = self.tokenizer(
            prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        uses_mask = getattr(self.model.config, "use_attention_mask", False)
        device = running_device(self.model)
        mask = inputs.attention_mask.to(device) if uses_mask else None
        return (self.model(inputs.input_ids.to(device), attention_mask=mask)[0],)
