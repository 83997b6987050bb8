"""Pictures and their masks in memory, on the device that trains: batches of whole pictures, or of crops.

Knows the shards of the data stage. Must not know models.
"""

import numpy as np
import torch
from torch import Tensor

from recipes.mini.make import data
from recipes.mini.make.settings import SIZE, Settings

_HALF = SIZE // 2


class Pictures:
    """All written scenes of a part ("train" with packshots, or "held_out"): uint8 [n, 64, 64, 3] and [n, 64, 64]."""

    def __init__(self, settings: Settings, part: str, device: torch.device) -> None:
        names = (
            ("picture", "mask") if part == "held_out" else ("picture", "mask", "reference", "reference_mask")
        )
        shards = data.load(settings, part, names)
        pictures = [shard["picture"].reshape(-1, SIZE, SIZE, 3) for shard in shards]
        masks = [shard["mask"].reshape(-1, SIZE, SIZE) for shard in shards]
        if part != "held_out":
            pictures += [shard["reference"] for shard in shards]
            masks += [shard["reference_mask"] for shard in shards]
        self.pictures = torch.from_numpy(np.concatenate(pictures)).to(device)
        self.masks = torch.from_numpy(np.concatenate(masks)).to(device)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [n, 3, 64, 64] in -1..1, channels last in memory, and masks [n, 1, 64, 64] in 0..1."""
        rows = rows.to(self.pictures.device)
        return _floats(self.pictures[rows], self.masks[rows])

    def sample(self, count: int, *, crops: bool) -> tuple[Tensor, Tensor]:
        """`count` whole pictures, or four times as many crops of half the side; every second one shows the object."""
        device = self.pictures.device
        if not crops:
            return self.batch(torch.randint(len(self), (count,), device=device))
        rows = torch.randint(len(self), (4 * count,), device=device)
        corners = torch.randint(_HALF + 1, (2, 4 * count), device=device)
        pixel = torch.multinomial(self.masks[rows[::2]].flatten(1).float() + 1e-3, 1)[:, 0]
        middle = torch.stack([pixel // SIZE, pixel % SIZE])
        corners[:, ::2] = (middle - _HALF // 2).clamp(0, _HALF)
        y, x = corners[:, :, None] + torch.arange(_HALF, device=device)
        where = rows[:, None, None], y[:, :, None], x[:, None, :]
        return _floats(self.pictures[where], self.masks[where])


def _floats(pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1, masks.unsqueeze(1).float() / 255
