"""Keys and values of references: computed once from their latents, kept by the bytes they take.

    latents [C, h, w] of each photo --one pass over the photos alone, timestep 0--> keys and values of every layer
      --LRU--> a batch

Keys are stored after the rotary embedding, so grids, indices and order are part of them; one subject a pass, because
the transformer reads the ids of a batch's first row for all. Dropping an entry changes no pixel: it is computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import Flux2KleinKVPipeline
from diffusers.models.transformers.transformer_flux2 import Flux2KVCache
from torch import Tensor

from dreamcache.inference.families.flux2_klein.describe import LATENTS
from dreamcache.inference.families.two_levels import TwoLevels, device_bytes, host_bytes
from dreamcache.model.features import Features, photos_of
from dreamcache.model.memory import bytes_to_come


class ReferenceKV:
    """The keys and values of the last subjects: on the transformer's device, then in host memory."""

    def __init__(
        self,
        base: Flux2KleinKVPipeline,
        capacity_bytes: int | None = None,
        host_capacity_bytes: int | None = None,
    ) -> None:
        """capacity_bytes, host_capacity_bytes: of all that each level keeps; by default a share of free memory."""
        self.base = base
        device = base._execution_device
        self._recent: TwoLevels[str, Flux2KVCache] = TwoLevels(
            device_bytes=device_bytes(device, bytes_to_come(base))
            if capacity_bytes is None
            else capacity_bytes,
            host_bytes=host_bytes(device) if host_capacity_bytes is None else host_capacity_bytes,
            size=_num_bytes,
            to_host=lambda cache: _moved(cache, "cpu"),
            to_device=lambda cache: _moved(cache, device),
        )

    @property
    def extractions(self) -> int:
        """How many passes over a subject's photos were run so far."""
        return self._recent.computed

    @property
    def returned(self) -> int:
        """How many subjects came back from host memory."""
        return self._recent.returned

    def of(self, subjects: Sequence[Features]) -> Flux2KVCache:
        """Of a batch: row i has those of subjects[i]. All must have the same number of tokens."""
        rows = [self._of(subject) for subject in subjects]
        first = rows[0]
        if all(row is first for row in rows):
            return _join([first], repeat=len(rows))
        return _join(rows)

    def _of(self, subject: Features) -> Flux2KVCache:
        return self._recent.get_or(subject.cache_key, lambda: self._extract(subject))

    @torch.no_grad()
    def _extract(self, subject: Features) -> Flux2KVCache:
        """Of all photos at once: each has an index of its own, by its place, and they attend to one another."""
        base, model = self.base, self.base.transformer
        device = base._execution_device
        latents = [photo.maps[LATENTS][None].to(device, model.dtype) for photo in photos_of(subject)]
        packed = torch.cat([base._pack_latents(one) for one in latents], dim=1)
        # One token of text that attends to the reference; the reference attends to itself only.
        text = torch.zeros(1, 1, model.config.joint_attention_dim, device=packed.device, dtype=packed.dtype)
        cache: Flux2KVCache = model(
            hidden_states=packed,
            timestep=torch.zeros(1, device=packed.device, dtype=packed.dtype),
            guidance=None,
            encoder_hidden_states=text,
            txt_ids=base._prepare_text_ids(text).to(packed.device),
            img_ids=base._prepare_image_ids(latents).to(packed.device),
            return_dict=False,
            kv_cache_mode="extract",
            num_ref_tokens=packed.shape[1],
            ref_fixed_timestep=0.0,
        )[1]
        return cache


def num_tokens(subject: Features) -> int:
    """Tokens of all photos; rows of a batch must have the same number."""
    return sum(photo.maps[LATENTS][0].numel() for photo in photos_of(subject))


def _layers(cache: Flux2KVCache) -> list[Any]:
    return [*cache.double_block_caches, *cache.single_block_caches]


def _join(rows: Sequence[Flux2KVCache], *, repeat: int = 1) -> Flux2KVCache:
    first = rows[0]
    joined = Flux2KVCache(len(first.double_block_caches), len(first.single_block_caches))
    joined.num_ref_tokens = first.num_ref_tokens
    for target, *layers in zip(_layers(joined), *(_layers(row) for row in rows), strict=True):
        keys, values = ([layer.get()[part] for layer in layers] for part in (0, 1))
        target.store(_stack(keys, repeat), _stack(values, repeat))
    return joined


def _stack(parts: list[Tensor], repeat: int) -> Tensor:
    return parts[0].expand(repeat, -1, -1, -1) if len(parts) == 1 else torch.cat(parts)


def _num_bytes(cache: Flux2KVCache) -> int:
    return sum(part.numel() * part.element_size() for layer in _layers(cache) for part in layer.get())


def _moved(cache: Flux2KVCache, device: torch.device | str) -> Flux2KVCache:
    moved = Flux2KVCache(len(cache.double_block_caches), len(cache.single_block_caches))
    moved.num_ref_tokens = cache.num_ref_tokens
    for target, layer in zip(_layers(moved), _layers(cache), strict=True):
        target.store(*(part.to(device) for part in layer.get()))
    return moved
