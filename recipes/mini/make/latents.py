"""Stage latents: everything the U-Net trains on, computed once: latents of all pictures, embeddings of all captions.

Processes render what is not on disk while this one encodes. The stage covers the captions, the held-out designs and
those that the U-Net sees first; the stage `unet` asks for the others when it needs them.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.mini.make import checkpoints, data
from recipes.mini.make.clip import load_clip, tokenize
from recipes.mini.make.compute import autocast
from recipes.mini.make.data import Arrays, Shard
from recipes.mini.make.settings import LATENT, SIZE, Settings
from recipes.mini.make.vae import load_vae

_BATCH = 128
_CELL = SIZE // LATENT


class LatentStore:
    """Designs of several shards as one: on a CPU mapped from their files, on a GPU held there.

    Arrays: reference [n, c, 16, 16], picture [n, k, c, 16, 16], mask [n, k, 1, 16, 16] in 0..1, caption and scene
    [n, k] (caption: index into the text table), class_index [n].
    """

    def __init__(self, shards: Sequence[dict[str, Tensor]], device: torch.device) -> None:
        self._shards, self.device = list(shards), device
        if device.type != "cpu":
            self._shards = [{name: torch.cat([s[name] for s in shards]).to(device) for name in shards[0]}]
        self._ends = torch.tensor([len(shard["reference"]) for shard in self._shards]).cumsum(0)
        self.scenes_per_design = self._shards[0]["picture"].shape[1]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def gather(self, name: str, rows: Tensor) -> Tensor:
        """The rows of one array, rows: [m] on the CPU."""
        if len(self._shards) == 1:
            return self._shards[0][name][rows.to(self.device)]
        parts = torch.searchsorted(self._ends, rows, right=True)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), self._ends[:-1]])
        pairs = zip(parts.tolist(), (rows - starts[parts]).tolist(), strict=True)
        return torch.stack([self._shards[part][name][row] for part, row in pairs])


def run(settings: Settings) -> None:
    """Encode the captions, the held-out designs and the designs of the U-Net's first phase, where not done yet."""
    checkpoints.prepare(settings)
    encode_text(settings)
    encode(settings, ("held_out", first_part(settings)))


def first_part(settings: Settings) -> str:
    """The kind of shard with which the U-Net begins."""
    return "calm" if settings.calm_share else "full"


def encode_text(settings: Settings) -> None:
    """Write the table of all captions' embeddings."""
    path = settings.folder("latents") / "text.npy"
    if path.exists():
        return
    clip, tokenizer = load_clip(settings)
    tokens = tokenize(tokenizer, ["", *data.CAPTIONS]).to(clip.device)
    with torch.no_grad():
        states = [clip.text_model(part).last_hidden_state.half().cpu() for part in tokens.split(_BATCH)]
    np.save(path, torch.cat(states).numpy())


def encode(settings: Settings, parts: Sequence[str]) -> None:
    """Encode every shard of these kinds that is not encoded yet."""
    folder = settings.folder("latents")
    missing = [shard for shard in _chosen(settings, parts) if not _file(folder, shard).exists()]
    if not missing:
        return
    vae = load_vae(settings)
    for shard, arrays in _rendered(settings, missing):
        latents = {name: _encode(vae, arrays[name]) for name in ("reference", "picture")}
        checkpoints.write(_file(folder, shard), latents | _tables(arrays))
        print(f"latents: {shard.name}", flush=True)


def load_latents(settings: Settings, parts: Sequence[str], device: torch.device) -> LatentStore:
    """The encoded shards of these kinds. Raises FileNotFoundError where there are none."""
    folder = settings.work / "latents"
    paths = [path for shard in _chosen(settings, parts) if (path := _file(folder, shard)).exists()]
    if not paths:
        raise FileNotFoundError(f"{folder}: no shard of {', '.join(parts)} yet; run --stage latents first")
    return LatentStore([torch.load(path, weights_only=True, mmap=True) for path in paths], device)


def load_text(settings: Settings) -> Tensor:
    """[1 + captions, 77, width]; row 0 is the empty prompt, row 1 + i is caption i."""
    return torch.from_numpy(np.load(settings.work / "latents" / "text.npy"))


def _chosen(settings: Settings, parts: Sequence[str]) -> list[Shard]:
    return [shard for shard in data.shards(settings) if shard.name.split("-")[0] in parts]


def _file(folder: Path, shard: Shard) -> Path:
    return folder / f"{shard.name}.pt"


def _rendered(settings: Settings, missing: Sequence[Shard]) -> Iterator[tuple[Shard, Arrays]]:
    """The shards' arrays; at most a few are rendered ahead, because each is large."""
    folder, ahead = settings.folder("data"), settings.processes + 1
    with ProcessPoolExecutor(settings.processes, get_context("spawn")) as pool:
        waiting: deque[tuple[Shard, Future[Arrays]]] = deque()
        for shard in missing:
            if (folder / shard.name).exists():
                yield shard, data.read(folder, shard)
                continue
            waiting.append((shard, pool.submit(data.read, folder, shard)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _tables(arrays: Arrays) -> dict[str, Tensor]:
    masks = torch.from_numpy(np.ascontiguousarray(arrays["mask"])).float() / 255
    cells = masks.unflatten(-2, (LATENT, _CELL)).unflatten(-1, (LATENT, _CELL)).mean(dim=(-3, -1))
    return {
        "mask": cells.unsqueeze(2).half(),
        "caption": torch.from_numpy(np.ascontiguousarray(arrays["caption"])).long(),
        "scene": torch.from_numpy(np.ascontiguousarray(arrays["scene"])).long(),
        "class_index": torch.from_numpy(np.ascontiguousarray(arrays["class"])).long(),
    }


@torch.no_grad()
def _encode(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """Posterior modes [..., c, 16, 16] of uint8 pictures [..., 64, 64, 3], float16."""
    shape, modes = pictures.shape[:-3], []
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    for first in range(0, len(flat), _BATCH):
        batch = (
            torch.from_numpy(np.ascontiguousarray(flat[first : first + _BATCH]))
            .to(vae.device)
            .permute(0, 3, 1, 2)
        )
        with autocast(vae.device):
            modes.append(vae.encode(batch.float() / 127.5 - 1).latent_dist.mode().half().cpu())
    return torch.cat(modes).reshape(*shape, *modes[0].shape[1:])
