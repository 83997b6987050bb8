"""A prompt's text behind a subject's photos: read on from their prefix, once a subject and prompt.

    prompt -> tokens --language model, behind the photos--> states --transformer, behind the photos--> keys and values

Knows one prompt at a time, so no prompt depends on others of its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from diffusers import QwenImage21Pipeline
from torch import Tensor
from transformers import DynamicCache

from dreamcache.core.lru import LRU
from dreamcache.inference.families.qwen_image.prefix import Prefix, unnormalised
from dreamcache.inference.families.qwen_image.transformer import KeysValues, tail
from dreamcache.model.text import PromptError

MOST_TOKENS = 512
"""Of a prompt with the chat's own tokens behind it. Every tail takes so many keys, so that a row's shape is the same
whatever its neighbours are."""

KEPT_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tail:
    """Keys and values by block of a prompt's text, [1, MOST_TOKENS, heads, head size], of which `length` are real."""

    layers: tuple[KeysValues, ...]
    length: int

    @property
    def num_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for pair in self.layers for part in pair)


class QwenPrompts:
    """Tails by subject and text, the last `capacity_bytes` of them."""

    def __init__(self, base: QwenImage21Pipeline, capacity_bytes: int = KEPT_BYTES) -> None:
        self.base = base
        self._closing = base.prompt_template_ti2i.partition("{}")[2]
        self._control = [
            token for token in base.processor.tokenizer.get_added_vocab() if token.startswith("<|")
        ]
        self._recent: LRU[tuple[str, str], Tail] = LRU(capacity_bytes, size=lambda value: value.num_bytes)

    def of(self, prefix: Prefix, subject_key: str, prompt: str) -> Tail:
        """Raises PromptError as `check`."""
        return self._recent.get_or((subject_key, prompt), partial(self._read, prefix, prompt))

    def check(self, prompt: str) -> None:
        """Raises PromptError for more tokens than are read, or the chat's own marks in the text."""
        mark = next((token for token in self._control if token in prompt), None)
        if mark is not None:
            raise PromptError(
                f"prompt '{prompt[:60]}...': must not hold {mark}, which the model reads as a part of the chat; "
                "remove it"
            )
        count = len(self._tokens(prompt))
        if count > MOST_TOKENS:
            raise PromptError(
                f"prompt '{prompt[:60]}...': at most {MOST_TOKENS} tokens with the chat's own, got {count}; shorten it"
            )

    def _tokens(self, prompt: str) -> list[int]:
        # As its pipeline: an empty prompt is a space.
        tokens: list[int] = self.base.processor.tokenizer(f"{prompt or ' '}{self._closing}").input_ids
        return tokens

    @torch.no_grad()
    def _read(self, prefix: Prefix, prompt: str) -> Tail:
        self.check(prompt)
        base = self.base
        tokens = torch.tensor([self._tokens(prompt)], device=base._execution_device)
        states = self._states(prefix, tokens)
        layers = tail(base.transformer, states, prefix.layers, prefix.next_token)
        return Tail(layers=tuple((_padded(k), _padded(v)) for k, v in layers), length=tokens.shape[1])

    def _states(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """[1, tokens, width] of the language model behind the photos."""
        behind = DynamicCache()  # of its own: the model appends to it
        for number, (keys, values) in enumerate(prefix.words):
            behind.update(keys, values, number)
        positions = torch.arange(tokens.shape[1], device=tokens.device) + prefix.next_word
        with unnormalised(self.base):
            output = self.base.text_encoder.model.language_model(
                input_ids=tokens,
                position_ids=positions.expand(3, 1, -1),
                past_key_values=behind,
                use_cache=True,
            )
        states: Tensor = output.last_hidden_state
        return states


def _padded(part: Tensor) -> Tensor:
    padding = part.new_zeros(1, MOST_TOKENS - part.shape[1], *part.shape[2:])
    return torch.cat([part, padding], dim=1)
