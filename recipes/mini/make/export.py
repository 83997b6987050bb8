"""Stage export: the newest averaged weights as a diffusers folder in fp16 safetensors, with CLIP and adapter.

Safe while training runs: checkpoints are whole at any time. Needs no network. May be called many times as training
continues; the adapter's config names the step. It writes to the work folder; `ship` copies to the package.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from dreamcache.model.adapter_io import save_adapter
from dreamcache.storage.models.base import describe_base
from recipes.mini.make.clip import DEVIATION, MEAN, load_clip
from recipes.mini.make.modules import new_scheduler
from recipes.mini.make.settings import SIZE, Settings
from recipes.mini.make.train import Models, load_average
from recipes.mini.make.vae import load_vae


def run(settings: Settings) -> None:
    """Write the folder `settings.target` anew."""
    weights, step = load_average(settings)
    models = Models(settings.latent_channels)
    models.load_state_dict(weights)
    clip, tokenizer = load_clip(settings)
    clip.cpu()
    target = settings.target
    fresh = target.with_name(f"{target.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    pipe = StableDiffusionPipeline(
        vae=load_vae(settings).cpu(),
        text_encoder=_text_encoder(clip),
        tokenizer=tokenizer,
        unet=models.unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(fresh, safe_serialization=True)
    _save_clip(clip, tokenizer, fresh / "clip")
    for name in ("text_encoder", "clip"):
        _load_as_float32(fresh / name / "config.json")
    for file in ("vocab.json", "merges.txt"):  # CLIP's own files, which the tokenizer no longer writes itself
        shutil.copy(settings.folder("clip/tokenizer") / file, fresh / "tokenizer" / file)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    training = {"stage": "unet", "images": step * settings.unet_batch, "size": SIZE}
    save_adapter(
        models.adapter, str(target / "adapter"), base=describe_base(str(target)), step=step, training=training
    )
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"export: step {step}, {total / 2**20:.1f} MiB in {target}", flush=True)


def _text_encoder(clip: torch.nn.Module) -> torch.nn.Module:
    """The text half of the CLIP model as its own transformers model."""
    from transformers import CLIPTextModel

    encoder = CLIPTextModel(clip.config.text_config)
    state = clip.text_model.state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in encoder.state_dict()) else ""
    encoder.load_state_dict({prefix + name: value for name, value in state.items()})
    return encoder.eval()


def _load_as_float32(path: Path) -> None:
    """Make transformers load as diffusers does: it takes the dtype its config names, and the two would not mix."""
    config = json.loads(path.read_text("utf-8"))
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        part.pop("torch_dtype", None)
        if "dtype" in part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _save_clip(clip: torch.nn.Module, tokenizer: object, folder: Path) -> None:
    """The whole CLIP model with tokenizer and image processor, for metrics without a network."""
    from transformers import CLIPImageProcessor

    clip.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    size = {"height": SIZE, "width": SIZE}
    processor = CLIPImageProcessor(
        size=size, crop_size=size, do_center_crop=False, image_mean=list(MEAN), image_std=list(DEVIATION)
    )
    processor.save_pretrained(folder)
