"""Attention maps against softmax(q k^T / sqrt(d)) by hand; recording changes nothing and leaves nothing behind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dreamcache
from dreamcache import DreamCachePipeline
from dreamcache.inference.attention import AttentionMaps, recording
from dreamcache.model.places import transformer_at
from tests.end_to_end.photos import picture

DRAWING: dict[str, Any] = {"num_inference_steps": 2, "text_scale": 3.0, "image_scale": 2.0}


def draw(pipe: DreamCachePipeline, **changes: Any) -> AttentionMaps:
    generator = torch.Generator().manual_seed(5)
    return dreamcache.attention_maps(pipe, "a mug", picture(0), generator=generator, **{**DRAWING, **changes})


@pytest.mark.parametrize("guidance", ["combined", "joint"])
def test_maps_are_the_softmax_by_hand(epsilon_pipe: DreamCachePipeline, guidance: str) -> None:
    """Inputs of each place's block are taken by hooks of the test's own, everything after is written out here."""
    inputs: dict[str, list[torch.Tensor]] = {place: [] for place in epsilon_pipe.places}
    hooks = [
        transformer_at(epsilon_pipe.base.unet, place)
        .transformer_blocks[0]
        .register_forward_pre_hook(
            lambda module, args, kwargs, place=place: inputs[place].append(
                (args[0] if args else kwargs["hidden_states"]).clone()
            ),
            with_kwargs=True,
        )
        for place in epsilon_pipe.places
    ]
    maps = draw(epsilon_pipe, guidance=guidance)
    for hook in hooks:
        hook.remove()
    features = epsilon_pipe.encode_reference(picture(0)).maps
    image_rows = 2 if guidance == "combined" else 1
    assert epsilon_pipe.adapter is not None
    for place in epsilon_pipe.places:
        block: Any = epsilon_pipe.adapter.block(place)
        feature = features[place].float().flatten(1).T
        steps = inputs[place][-DRAWING["num_inference_steps"] :]  # the first passes were the encoding's
        found = []
        with torch.no_grad():
            keys = feature @ block.to_k.weight.T
            for x in (row for step in steps for row in step[-image_rows:]):
                queries = block.norm(x) @ block.to_q.weight.T
                size = queries.shape[1] // block.heads
                for head in range(block.heads):
                    part = slice(head * size, (head + 1) * size)
                    scores = queries[:, part] @ keys[:, part].T / math.sqrt(size)
                    found.append(torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True))
        expected = torch.stack(found).mean(0).numpy()
        assert np.abs(maps.weights[place] - expected).max() < 1e-5
        assert np.abs(maps.weights[place].sum(1) - 1).max() < 1e-5


def test_a_map_is_the_mean_of_the_rows_that_ask(epsilon_pipe: DreamCachePipeline) -> None:
    maps = draw(epsilon_pipe)
    place = epsilon_pipe.places[-1]
    weights, (height, width) = maps.weights[place], maps.grids[place]
    assert maps.at(place).shape == (height, width)
    assert np.allclose(maps.at(place).reshape(-1), weights.mean(0), atol=1e-6)
    side = math.isqrt(len(weights))
    block = maps.image.height // side
    where = np.zeros((maps.image.height, maps.image.width), bool)
    where[:block, : 2 * block] = True  # the first two positions
    assert np.allclose(maps.at(place, where).reshape(-1), weights[:2].mean(0), atol=1e-6)
    assert maps.at(place, where).sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="at least one pixel"):
        maps.at(place, np.zeros_like(where))
    sheet = maps.overlay(where, cell=64)
    assert sheet.width == (2 + len(maps.weights) + 1) * 67 + 3


def test_recording_changes_nothing_and_ends(epsilon_pipe: DreamCachePipeline) -> None:
    subject = epsilon_pipe.encode_reference(picture(0))

    def image() -> np.ndarray:
        made = epsilon_pipe("a mug", subject, generator=torch.Generator().manual_seed(5), **DRAWING).images
        return np.asarray(made[0])

    before = image()
    assert np.array_equal(np.asarray(draw(epsilon_pipe).image), before)
    assert epsilon_pipe.adapter is not None
    with recording(epsilon_pipe.adapter) as records:
        pass
    image()
    assert all(record.count == 0 for record in records.values())


def test_a_heat_lies_where_the_attention_is() -> None:
    weights = np.zeros((4, 16), np.float32)
    weights[:, 15] = 1  # every position looks at the lower right corner
    white = Image.new("RGB", (64, 64), "white")
    maps = AttentionMaps(image=white, reference=white, weights={"p": weights}, grids={"p": (4, 4)})
    heated = np.asarray(maps.overlay(cell=64))[19:, 2 * 67 + 3 : 3 * 67].astype(int)
    assert heated[60, 60, 0] > 200 and heated[4, 4, 0] < 140
