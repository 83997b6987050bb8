"""Stage warm, not in `all`: a work folder begun from the weights in the package, where no checkpoint is left.

The text and image encoders, base and adapters are taken as shipped; optimizers, clocks and steps begin anew. `data`,
`latents` and `unet` follow. With the shipped number of latent channels the autoencoder is taken too, and
`--stage refine` before `latents` trains it further. With another number it is trained from nothing (`data`, `vae`,
`refine`), and of the base all but the first and the last convolution is taken: what it knows of products and captions
does not depend on the latents' channels.
"""

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPModel

from dreamcache.model.adapter_io import load_adapter
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.lookup import MINI, mini_folder
from recipes.mini.make import checkpoints
from recipes.mini.make.settings import Settings
from recipes.mini.make.train import Models


def run(settings: Settings) -> None:
    """Writes the first checkpoint of each stage that has none yet."""
    shipped = mini_folder()
    shutil.copytree(shipped / "tokenizer", settings.folder("clip/tokenizer"), dirs_exist_ok=True)
    if not (settings.folder("clip") / "model").exists():
        CLIPModel.from_pretrained(shipped / "clip", dtype=torch.float32).save_pretrained(
            settings.folder("clip") / "model"
        )
    vae = settings.folder("vae") / "vae.pt"
    if not vae.exists():
        model = AutoencoderKL.from_pretrained(shipped / "vae", torch_dtype=torch.float32)
        if model.config.latent_channels == settings.latent_channels:
            checkpoints.write(vae, {"vae": model.state_dict()})
    unet = settings.folder("unet") / "last.pt"
    if not unet.exists():
        weights = body(shipped, Models(settings.latent_channels))
        checkpoints.write(unet, {"models": weights, "average": weights, "spent": 0.0, "step": 0})
    print(f"warm: {settings.work} begins from {shipped}", flush=True)


def body(shipped: Path, models: Models) -> dict[str, Tensor]:
    """The weights of `models` with all those of the shipped base and adapters that have the same shape."""
    base = UNet2DConditionModel.from_pretrained(shipped / "unet", torch_dtype=torch.float32)
    info = describe_adapter(str(shipped / "adapter"), describe_base(MINI))
    adapter = load_adapter(info, base)
    weights = models.state_dict()
    for part, module in (("unet", base), ("adapter", adapter)):
        for name, tensor in module.state_dict().items():
            if weights[f"{part}.{name}"].shape == tensor.shape:
                weights[f"{part}.{name}"] = tensor
    return weights
