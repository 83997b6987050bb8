"""Where each place looked in the reference: the adapter's attention, recorded while an image is generated.

    softmax(q k^T / sqrt(d)) -> mean over heads, image branches and steps -> weights [queries, keys] of a place
      -> mean over the queries on the object -> [h, w] of the reference's feature map -> heat over the reference

Knows the pipeline and its adapter; changes nothing of what they compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.evaluation.sheet import sheet
from dreamcache.inference.pictures import Picture, as_mask, as_picture
from dreamcache.inference.pipeline import DreamCachePipeline
from dreamcache.inference.placement import base_lock
from dreamcache.inference.rules import refuse
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.storage.models.adapter import feature_places

HEAT = np.array([(24, 30, 90), (40, 120, 160), (90, 190, 120), (250, 220, 60), (230, 60, 40)], np.float32)
"""Colours from no attention to the most."""

Grid = tuple[int, int]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AttentionMaps:
    """weights: by place, [queries, keys]; a row sums to one. Queries are positions in `image`, keys in `reference`,
    row by row. grids: (h, w) of the keys. reference: the subject on white, as it was encoded.
    """

    image: Image.Image
    reference: Image.Image
    weights: Mapping[str, NDArray[np.float32]]
    grids: Mapping[str, Grid]

    def at(self, place: str, where: Mask | None = None) -> NDArray[np.float32]:
        """[h, w], sums to one: how much of the attention went there. where: [H, W], the pixels of `image` that
        ask, e.g. those of the object; None for all. Raises ValueError for an empty one."""
        weights = self.weights[place]
        share = np.full(len(weights), 1 / len(weights), np.float32)
        if where is not None:
            if not where.any():
                raise ValueError("where must hold at least one pixel")
            asked = Image.fromarray(where.astype(np.float32)).resize(
                self._query_grid(len(weights))[::-1], Image.Resampling.BOX
            )
            share = np.asarray(asked, np.float32).reshape(-1)
            share = share / share.sum()
        return (share @ weights).reshape(self.grids[place])

    def overlay(self, where: Mask | None = None, *, cell: int = 192) -> Image.Image:
        """One row: the image (what does not ask is pale), the reference, and heat over it for each place and all."""
        maps = {place: _enlarged(self.at(place, where), self.reference.size) for place in self.weights}
        maps["mean of places"] = np.mean(list(maps.values()), axis=0)
        image = self.image
        if where is not None:
            pale = Image.blend(image.convert("RGB"), Image.new("RGB", image.size, "white"), 0.6)
            image = Image.composite(image.convert("RGB"), pale, Image.fromarray(where))
        cells = [image, self.reference, *(_heated(self.reference, heat) for heat in maps.values())]
        return sheet([cells], ["image", "reference", *maps], cell=cell)

    def _query_grid(self, queries: int) -> Grid:
        rows = round((queries * self.image.height / self.image.width) ** 0.5)
        return rows, queries // rows


def attention_maps(
    pipe: DreamCachePipeline,
    prompt: str,
    photo: Picture,
    *,
    mask: Picture | None = None,
    class_name: str = "",
    settings: EncodeSettings | None = None,
    **call: Any,
) -> AttentionMaps:
    """Generates one image of the photo's subject and records where every place of the adapter looked.

    photo, mask, settings: as `DreamCachePipeline.encode_reference` takes them; call: as the pipeline itself does.
    Raises ModelError without an adapter, InputError for more than one image.

    >>> maps = attention_maps(pipe, "a photo of a mug", photo, num_inference_steps=2)
    >>> maps.at("mid_block.attentions.0").shape
    (4, 4)
    """
    if pipe.adapter is None:
        raise ModelError("attention: needs an adapter; load one with from_pretrained(adapter=...)")
    many = not isinstance(prompt, str) or call.get("num_images_per_prompt", 1) != 1
    if many or call.get("output_type", "pil") != "pil":
        refuse("attention", "of one PIL image", "another call", "give one prompt and leave the output alone")
    picture = as_picture(photo)
    cut_out = as_mask(mask, picture.size)
    with base_lock(pipe.base.unet):
        encoder = pipe.encoder(settings or EncodeSettings())
        encoded = encoder.encode(picture, cut_out, class_name=class_name)
        with recording(pipe.adapter) as records:
            [image] = pipe(prompt, encoded.features, **call).images
    grids: dict[str, Grid] = {}
    for place in pipe.adapter.places:
        [source] = feature_places((place,), pipe.adapter.features)
        height, width = encoded.features.maps[source].shape[-2:]
        grids[place] = (height, width)
    return AttentionMaps(
        image=image,
        reference=encoded.packshot,
        weights={place: record.mean() for place, record in records.items()},
        grids=grids,
    )


@dataclass(kw_only=True, slots=True)
class Record:
    """Of one place: the sum of its attention [queries, keys] over calls, heads and rows, and how many there were."""

    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    count: int = 0

    @torch.no_grad()
    def add(self, query: Tensor, keys: Tensor) -> None:
        """query, keys: [rows, heads, tokens, head size]. One head at a time, for memory."""
        scale = query.shape[-1] ** -0.5
        for head in range(query.shape[1]):
            scores = query[:, head].float() @ keys[:, head].float().transpose(1, 2) * scale
            self.total = self.total.to(scores.device) + scores.softmax(dim=-1).sum(dim=0)
        self.count += query.shape[0] * query.shape[1]

    def mean(self) -> NDArray[np.float32]:
        """Raises ModelError when no query read the place, as without a subject."""
        if not self.count:
            raise ModelError("attention: the reference was never read; give a subject and a strength above 0")
        weights: NDArray[np.float32] = (self.total / self.count).cpu().numpy()
        return weights


@contextmanager
def recording(adapter: DreamCacheAdapter) -> Iterator[dict[str, Record]]:
    """Within the block, every read of a reference is added to its place's record."""
    records = {place: Record() for place in adapter.places}
    for place, record in records.items():
        adapter.block(place).on_read = record.add
    try:
        yield records
    finally:
        for place in records:
            adapter.block(place).on_read = None


def _enlarged(heat: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """[H, W] of `size` (width, height), the highest being 1."""
    top = Image.fromarray(heat / heat.max()).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(top, np.float32), 0, 1)


def _heated(picture: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """The picture in grey under colours of HEAT."""
    place = heat * (len(HEAT) - 1)
    low = np.minimum(place.astype(int), len(HEAT) - 2)
    colours = HEAT[low] + (place - low)[..., None] * (HEAT[low + 1] - HEAT[low])
    grey = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    return Image.fromarray((0.45 * grey + 0.55 * colours).astype(np.uint8))
