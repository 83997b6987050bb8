"""Stage warm: a work folder begun from the weights in the package, to go on where no checkpoint is left.

The autoencoder, the encoders, base and adapters are taken as shipped; the optimizers begin anew, and so do clocks and
steps. What follows is `data`, `latents` and `unet`; with `refine` before `latents` the autoencoder goes on too.
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
        checkpoints.write(vae, {"vae": model.state_dict()})
    unet = settings.folder("unet") / "last.pt"
    if not unet.exists():
        models = Models()
        base = UNet2DConditionModel.from_pretrained(shipped / "unet", torch_dtype=torch.float32)
        models.unet.load_state_dict(base.state_dict())
        info = describe_adapter(str(shipped / "adapter"), describe_base(MINI))
        models.adapter.load_state_dict(load_adapter(info, models.unet).state_dict())
        weights = models.state_dict()
        checkpoints.write(unet, {"models": weights, "average": weights, "spent": 0.0, "step": 0})
    print(f"warm: {settings.work} begins from {shipped}", flush=True)
