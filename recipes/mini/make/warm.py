"""Stage warm, not in `all`: a work folder begun from the weights in the package, where no checkpoint is left.

The autoencoder, the encoders, base and adapters are taken as shipped; optimizers, clocks and steps begin anew.
`data`, `latents` and `unet` follow; `--stage refine` before `latents` trains the autoencoder further.
"""

import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
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
        if model.config.latent_channels != settings.latent_channels:
            raise ValueError(
                f"{settings.work}: latent_channels is {settings.latent_channels}, but the shipped autoencoder has "
                f"{model.config.latent_channels}; begin another work folder with --latent-channels "
                f"{model.config.latent_channels}"
            )
        checkpoints.write(vae, {"vae": model.state_dict()})
    unet = settings.folder("unet") / "last.pt"
    if not unet.exists():
        models = Models(settings.latent_channels)
        base = UNet2DConditionModel.from_pretrained(shipped / "unet", torch_dtype=torch.float32)
        models.unet.load_state_dict(base.state_dict())
        info = describe_adapter(str(shipped / "adapter"), describe_base(MINI))
        models.adapter.load_state_dict(load_adapter(info, models.unet).state_dict())
        weights = models.state_dict()
        checkpoints.write(unet, {"models": weights, "average": weights, "spent": 0.0, "step": 0})
    print(f"warm: {settings.work} begins from {shipped}", flush=True)
