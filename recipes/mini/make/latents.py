"""Stage latents: everything the U-Net trains on, computed once: latents of all pictures, embeddings of all captions."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.mini.make import checkpoints, data
from recipes.mini.make.clip import load_clip, tokenize
from recipes.mini.make.settings import Settings
from recipes.mini.make.vae import load_vae

_BATCH = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """One part of the data: n designs with k scenes each."""

    reference: Tensor  # [n, 4, 16, 16]
    picture: Tensor  # [n, k, 4, 16, 16]
    mask: Tensor  # [n, k, 1, 16, 16], 0..1
    caption: Tensor  # [n, k], index into the text table
    scene: Tensor  # [n, k]
    class_index: Tensor  # [n]


def run(settings: Settings) -> None:
    """Encode the captions and each shard, where not done yet; training may start on the shards that are."""
    folder = settings.folder("latents")
    device = checkpoints.prepare(settings)
    if not (folder / "text.npy").exists():
        clip, tokenizer = load_clip(settings)
        tokens = tokenize(tokenizer, ["", *data.CAPTIONS]).to(device)
        with torch.no_grad():
            states = [clip.text_model(part).last_hidden_state.half().cpu() for part in tokens.split(_BATCH)]
        np.save(folder / "text.npy", torch.cat(states).numpy())
    names = [path.name for path in data.shards(settings, "") if not (folder / f"{path.name}.pt").exists()]
    with ProcessPoolExecutor(
        settings.processes if settings.device == "cpu" else 1, get_context("spawn")
    ) as pool:
        for name in pool.map(_encode_shard, [settings] * len(names), names):
            print(f"latents: {name}", flush=True)


def load_latents(settings: Settings, part: str) -> Latents:
    """All encoded shards of "train" or "held_out", joined along the designs."""
    paths = sorted(settings.folder("latents").glob(f"{part}*.pt"))
    if not paths:
        raise FileNotFoundError(
            f"{settings.work / 'latents'}: no {part} shard yet; run --stage latents first"
        )
    states = [torch.load(path, weights_only=True) for path in paths]
    return Latents(**{name: torch.cat([state[name] for state in states]) for name in states[0]})


def load_text(settings: Settings) -> Tensor:
    """[1 + captions, 77, width]; row 0 is the empty prompt, row 1 + i is caption i."""
    return torch.from_numpy(np.load(settings.folder("latents") / "text.npy"))


def _encode_shard(settings: Settings, name: str) -> str:
    torch.set_num_threads(max(1, settings.threads // settings.processes))
    vae = load_vae(settings)
    arrays = data.load(settings, name)
    made = {key: _encode(vae, arrays[key]) for key in ("reference", "picture")}
    checkpoints.write(settings.folder("latents") / f"{name}.pt", made | _tables(arrays))
    return name


def _tables(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {
        "mask": torch.from_numpy(arrays["mask"]).unsqueeze(2).half() / 255,
        "caption": torch.from_numpy(arrays["caption"]).long(),
        "scene": torch.from_numpy(arrays["scene"]).long(),
        "class_index": torch.from_numpy(arrays["class"]).long(),
    }


@torch.no_grad()
def _encode(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """Posterior modes [..., 4, 16, 16] of uint8 pictures [..., 64, 64, 3]."""
    shape, made = pictures.shape[:-3], []
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    for first in range(0, len(flat), _BATCH):
        batch = torch.from_numpy(flat[first : first + _BATCH]).to(vae.device).permute(0, 3, 1, 2)
        with torch.autocast(vae.device.type, torch.bfloat16):
            made.append(vae.encode(batch.float() / 127.5 - 1).latent_dist.mode().half().cpu())
    return torch.cat(made).reshape(*shape, 4, *made[0].shape[-2:])
