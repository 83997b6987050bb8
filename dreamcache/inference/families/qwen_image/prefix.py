"""What every prompt of a subject shares: the photos read once by the language model and by the transformer.

    pictures --vision tower, language model--> text states up to the last <|vision_end|>, its keys and values
    latents, text states --one pass, timestep 0--> the transformer's keys and values of the same tokens

Both depend on the photos, their order and grids, and on nothing that follows. Dropping a prefix changes no pixel: it is
computed again. Knows one set of photos at a time; knows nothing of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import QwenImage21Pipeline
from diffusers.models.transformers.transformer_qwenimage21 import QwenImage21KVCache
from PIL import Image
from torch import Tensor

from dreamcache.inference.families.qwen_image.describe import LATENTS, PICTURE
from dreamcache.inference.families.qwen_image.transformer import KeysValues
from dreamcache.inference.families.two_levels import TwoLevels, device_bytes, host_bytes
from dreamcache.model.features import Features, photos_of

PHOTO = "<|vision_start|><|image_pad|><|vision_end|>"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prefix:
    """Of one set of photos. words: keys and values by layer of the language model, [1, heads, tokens, head size], and
    next_word the position that follows; layers: by block of the transformer, and next_token the position there."""

    words: tuple[KeysValues, ...]
    next_word: int
    layers: tuple[KeysValues, ...]
    next_token: int

    @property
    def num_bytes(self) -> int:
        pairs = (*self.words, *self.layers)
        return sum(part.numel() * part.element_size() for pair in pairs for part in pair)

    def to(self, device: torch.device | str) -> Prefix:
        def moved(pairs: Sequence[KeysValues]) -> tuple[KeysValues, ...]:
            return tuple((keys.to(device), values.to(device)) for keys, values in pairs)

        return replace(self, words=moved(self.words), layers=moved(self.layers))


class Prefixes:
    """The prefixes of the last subjects: on the transformer's device, then in host memory."""

    def __init__(
        self,
        base: QwenImage21Pipeline,
        capacity_bytes: int | None = None,
        host_capacity_bytes: int | None = None,
    ) -> None:
        """capacity_bytes, host_capacity_bytes: of all that each level keeps; by default a share of free memory."""
        self.base = base
        device = base.transformer.device
        self._recent: TwoLevels[str, Prefix] = TwoLevels(
            device_bytes=device_bytes(device) if capacity_bytes is None else capacity_bytes,
            host_bytes=host_bytes(device) if host_capacity_bytes is None else host_capacity_bytes,
            size=lambda prefix: prefix.num_bytes,
            to_host=lambda prefix: prefix.to("cpu"),
            to_device=lambda prefix: prefix.to(base.transformer.device),
        )

    @property
    def vision_passes(self) -> int:
        """How many sets of photos the vision tower has read so far."""
        return self._recent.computed

    def of(self, subject: Features) -> Prefix:
        return self._recent.get_or(subject.cache_key, lambda: self._compute(subject))

    @torch.no_grad()
    def _compute(self, subject: Features) -> Prefix:
        base = self.base
        device = base._execution_device
        photos = photos_of(subject)
        inputs = base.processor(
            text=[prefix_text(base, len(photos))],
            images=[_pillow(photo.maps[PICTURE]) for photo in photos],
            return_tensors="pt",
        ).to(device)
        reader = base.text_encoder.model
        with unnormalised(base):
            output = reader(**inputs, use_cache=True)
        is_photo = (inputs.input_ids == base._img_token_id)[:, base._drop_idx :]
        states = output.last_hidden_state[:, base._drop_idx :]
        words = tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)
        latents = [photo.maps[LATENTS].to(device, states.dtype) for photo in photos]
        grids = [(1, *one.shape[1:]) for one in latents]
        return Prefix(
            words=words,
            next_word=inputs.input_ids.shape[1] + int(reader.rope_deltas[0, 0]),
            layers=self._layers(latents, grids, states, is_photo),
            next_token=int((~is_photo).sum()) + sum(max(height, width) for _, height, width in grids),
        )

    def _layers(
        self, latents: list[Tensor], grids: list[tuple[int, ...]], states: Tensor, is_photo: Tensor
    ) -> tuple[KeysValues, ...]:
        """One pass over the prefix and a target of one slot, which nothing of the prefix can see."""
        model: Any = self.base.transformer
        slot = states.new_zeros(1, 4, latents[0].shape[0])
        packed = [one.flatten(1).transpose(0, 1)[None] for one in latents]
        cache = QwenImage21KVCache(len(model.transformer_blocks))
        model(
            hidden_states=torch.cat([*packed, slot], dim=1),
            timestep=states.new_zeros(1),
            encoder_hidden_states=states,
            img_shapes=[[*grids, (1, 2, 2)]],
            img_mask=torch.cat([is_photo, is_photo.new_ones(1, 1)], dim=1),
            kv_cache=cache,
            kv_cache_mode="extract",
            return_dict=False,
        )
        return tuple(layer.get() for layer in cache.layer_caches)


def prefix_text(base: QwenImage21Pipeline, photos: int) -> str:
    """The chat up to and with the last photo."""
    opening = base.prompt_template_ti2i.partition("<image1>")[0]
    named = " ".join(f"<image{number}>{PHOTO}" for number in range(1, photos + 1))
    return f"{opening}{named}"


@contextmanager
def unnormalised(base: QwenImage21Pipeline) -> Iterator[None]:
    """Within the block the language model's states are those before its last norm, which the transformer reads."""
    handle = base.text_encoder.model.language_model.norm.register_forward_hook(
        lambda module, args, output: args[0]
    )
    try:
        yield
    finally:
        handle.remove()


def _pillow(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).float().numpy().astype(np.uint8))
