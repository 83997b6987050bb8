"""Stage latents: everything the U-Net trains on, computed once: latents of all pictures, embeddings of all captions."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamcache.mini.recipe import checkpoints, data
from dreamcache.mini.recipe.clip import load_clip, tokenize
from dreamcache.mini.recipe.settings import Settings
from dreamcache.mini.recipe.vae import load_vae

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
    """Encode each part and the captions, where not done yet."""
    folder = settings.folder("latents")
    device = checkpoints.prepare(settings)
    if not (folder / "text.npy").exists():
        clip, tokenizer = load_clip(settings)
        tokens = tokenize(tokenizer, ["", *data.CAPTIONS]).to(device)
        with torch.no_grad():
            states = [clip.text_model(part).last_hidden_state.half().cpu() for part in tokens.split(_BATCH)]
        np.save(folder / "text.npy", torch.cat(states).numpy())
    for part in ("held_out", "train"):
        if (folder / f"{part}.pt").exists():
            continue
        arrays = data.load(settings, part)
        made = {name: _encode(settings, arrays[name]) for name in ("reference", "picture")}
        checkpoints.write(folder / f"{part}.pt", made | _tables(arrays))
        print(f"latents: {part} done", flush=True)


def load_latents(settings: Settings, part: str) -> Latents:
    state = checkpoints.read(settings.folder("latents") / f"{part}.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.work / 'latents'}: no {part}.pt yet; run --stage latents first")
    return Latents(**state)


def load_text(settings: Settings) -> Tensor:
    """[1 + captions, 77, width]; row 0 is the empty prompt, row 1 + i is caption i."""
    return torch.from_numpy(np.load(settings.folder("latents") / "text.npy"))


def _tables(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {
        "mask": torch.from_numpy(arrays["mask"]).unsqueeze(2).half() / 255,
        "caption": torch.from_numpy(arrays["caption"]).long(),
        "scene": torch.from_numpy(arrays["scene"]).long(),
        "class_index": torch.from_numpy(arrays["class"]).long(),
    }


@torch.no_grad()
def _encode(settings: Settings, pictures: np.ndarray) -> Tensor:
    """Posterior modes [..., 4, 16, 16] of uint8 pictures [..., 64, 64, 3]."""
    vae = load_vae(settings)
    shape, made = pictures.shape[:-3], []
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    for first in range(0, len(flat), _BATCH):
        batch = torch.from_numpy(flat[first : first + _BATCH]).to(settings.device).permute(0, 3, 1, 2)
        with torch.autocast(settings.device, torch.bfloat16):
            made.append(vae.encode(batch.float() / 127.5 - 1).latent_dist.mode().half().cpu())
    return torch.cat(made).reshape(*shape, 4, *made[0].shape[-2:])
