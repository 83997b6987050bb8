"""A work folder begun from the weights in the package, with as many latent channels and with more."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from dreamcache.storage.models.lookup import mini_folder
from recipes.mini.make import checkpoints, warm
from recipes.mini.make.settings import Settings


@pytest.mark.parametrize("channels", [4, 16])
def test_all_weights_but_those_at_the_latents_are_the_shipped_ones(tmp_path: Path, channels: int):
    warm.run(Settings(work=tmp_path, device="cpu", latent_channels=channels))
    state = checkpoints.read(tmp_path / "unet" / "last.pt")
    assert state is not None
    assert (tmp_path / "clip" / "model" / "config.json").exists()
    shipped = UNet2DConditionModel.from_pretrained(mini_folder() / "unet", torch_dtype=torch.float32)
    other = {
        name
        for name, tensor in shipped.state_dict().items()
        if not torch.equal(tensor, state["models"]["unet." + name])
    }
    at_the_latents = {
        "conv_in.weight",
        "conv_out.weight",
        "conv_out.bias",
    }  # conv_in.bias has the body's width
    same = shipped.config.in_channels == channels
    assert other == (set() if same else at_the_latents)
    assert (tmp_path / "vae" / "vae.pt").exists() == same
