"""A checkpoint in the published layout, tensor by tensor: each has its own numbers, and must reach its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreamcache.core.errors import ModelError
from dreamcache.model.adapter_io import import_published, named_tensors
from tests.tiny import make_unet

# In the layout of the original code output_blocks.N.1 is the transformer of level N // 3, number N % 3.
OUTPUT_BLOCKS = (4, 6, 8, 10)
MODULES = {
    "attn_mem.to_q.weight": "to_q.weight",
    "attn_mem.to_k.weight": "to_k.weight",
    "attn_mem.to_v.weight": "to_v.weight",
    "attn_mem.to_out.0.weight": "to_out.weight",
    "attn_mem.to_out.0.bias": "to_out.bias",
    "norm2_mem.weight": "norm.weight",
    "norm2_mem.bias": "norm.bias",
    "linear_cat.weight": "join.weight",
    "linear_cat.bias": "join.bias",
}


def checkpoint() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(as published, as our adapter must hold it). Q, K, V have one shape, so only their numbers distinguish them."""
    unet = make_unet()
    places = {"middle_block.1": "mid_block.attentions.0"}
    places |= {f"output_blocks.{n}.1": f"up_blocks.{n // 3}.attentions.{n % 3}" for n in OUTPUT_BLOCKS}
    published, ours = {}, {}
    generator = torch.Generator().manual_seed(8)
    for theirs, place in places.items():
        width = unet.get_submodule(place).in_channels
        for name, own in MODULES.items():
            shape = (width, 2 * width if "cat" in name else width) if name.endswith("weight") else (width,)
            shape = (width,) if "norm" in name else shape
            value = torch.randn(shape, generator=generator)
            published[f"diffusion_model.{theirs}.transformer_blocks.0.{name}"] = value
            ours[f"{place}.{own}"] = value
    return published, ours


def test_every_tensor_reaches_its_place(tmp_path: Path) -> None:
    published, ours = checkpoint()
    torch.save(published, tmp_path / "cross_attention-5.pt")
    adapter = import_published(tmp_path / "cross_attention-5.pt", make_unet())
    tensors = named_tensors(adapter)
    assert tensors.keys() == ours.keys() and len(ours) == 45
    assert [name for name, value in ours.items() if not torch.equal(tensors[name], value)] == []


@pytest.mark.parametrize(
    ("change", "text"), [("missing", "missing"), ("extra", "not expected"), ("shape", "has shape")]
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: str, text: str) -> None:
    published, _ = checkpoint()
    first = next(iter(published))
    if change == "missing":
        del published[first]
    elif change == "extra":
        published["diffusion_model.input_blocks.1.1.transformer_blocks.0.attn_mem.to_q.weight"] = torch.zeros(
            2
        )
    else:
        published[first] = torch.zeros(80, 80)
    torch.save(published, tmp_path / "cross_attention-5.pt")
    with pytest.raises(ModelError, match=text):
        import_published(tmp_path / "cross_attention-5.pt", make_unet())


def test_a_pickled_class_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"a": Path}, tmp_path / "b.pt")
    with pytest.raises(ModelError, match="must be a torch file"):
        import_published(tmp_path / "b.pt", make_unet())
