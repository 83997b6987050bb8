"""Stage export: the newest averaged weights as a diffusers folder in fp16 safetensors, with CLIP and adapter.

Safe while training runs: checkpoints are whole at any time. Needs no network. Also called many times as training
goes on; the adapter's config names the step.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from dreamcache.model.adapter_io import save_adapter
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.lookup import MINI, mini_folder
from recipes.mini.make.clip import DEVIATION, MEAN, load_clip
from recipes.mini.make.modules import make_scheduler
from recipes.mini.make.settings import SIZE, Settings
from recipes.mini.make.train import Models, load_average
from recipes.mini.make.vae import load_vae


def run(settings: Settings) -> None:
    """Write dreamcache/mini/weights anew."""
    weights, step, stage = load_average(settings)
    models = Models()
    models.load_state_dict(weights)
    clip, tokenizer = load_clip(settings)
    target = mini_folder()
    fresh = target.with_name("weights.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    pipe = StableDiffusionPipeline(
        vae=load_vae(settings).cpu(),
        text_encoder=_text_encoder(clip),
        tokenizer=tokenizer,
        unet=models.unet,
        scheduler=make_scheduler(),
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
    training = {"stage": stage, "images": step * settings.unet_batch, "size": SIZE}
    save_adapter(
        models.adapter, str(target / "adapter"), base=describe_base(MINI), step=step, training=training
    )
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"export: {stage} step {step}, {total / 2**20:.1f} MiB in {target}", flush=True)


def _text_encoder(clip: torch.nn.Module) -> torch.nn.Module:
    """The text half of the CLIP model as its own transformers model."""
    from transformers import CLIPTextModel

    made = CLIPTextModel(clip.config.text_config)
    state = clip.text_model.state_dict()
    own = made.state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in own) else ""
    made.load_state_dict({prefix + name: value for name, value in state.items()})
    return made.eval()


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
