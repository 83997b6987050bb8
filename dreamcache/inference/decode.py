"""Latents to pictures by a VAE, in parts that fit the device's memory.

    latents [B, 4, h, w] -> VAE, so many rows a pass -> [B, 3, H, W] --as_bytes--> uint8 [B, H, W, 3]

The last blocks of a VAE at full size take more memory than a step of the U-Net. Where a pass does not fit, the VAE's
own rows are halved, and the U-Net's batch stays as it is. Knows a VAE; knows nothing of requests.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from dreamcache.model.device_errors import is_out_of_memory

logger = logging.getLogger(__name__)

_ROWS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Of each VAE that ran out of memory, how many rows a pass fitted."""


def decoded(vae: AutoencoderKL, latents: Tensor, *, is_alone: bool = True) -> Tensor:
    """vae.decode(latents), [B, 3, H, W]. Raises what the VAE raises, out of memory only for a single row.

    is_alone: nothing else is on the device, so what does not fit now never does. Otherwise rows stay as they are, and
    out of memory is the caller's: pixels must not depend on what ran beside.
    """
    while True:
        rows = min(_ROWS.get(vae, len(latents)), len(latents))
        try:
            return _in_parts(vae, latents, rows)
        except Exception as error:
            if rows <= 1 or not is_alone or not is_out_of_memory(error):
                raise
            logger.warning("the VAE has no memory for %d images in one pass; it continues with fewer", rows)
        # Outside the except block, whose traceback would keep the failed pass's tensors on the device.
        _ROWS[vae] = (rows + 1) // 2
        if latents.device.type == "cuda":
            torch.cuda.empty_cache()


def _in_parts(vae: Any, latents: Tensor, rows: int) -> Tensor:
    """Each pass has `rows` rows, because a kernel's last bits depend on their number: the last part is filled up."""
    if rows == len(latents):
        whole: Tensor = vae.decode(latents, return_dict=False)[0]
        return whole
    parts = []
    for start in range(0, len(latents), rows):
        part = latents[start : start + rows]
        filled = torch.cat([part, part[-1:].expand(rows - len(part), *part.shape[1:])])
        parts.append(vae.decode(filled, return_dict=False)[0][: len(part)])
    return torch.cat(parts)


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """[B, 3, H, W] from 0 to 1 -> [B, H, W, 3]; computed where the images are, so a quarter of the bytes travels.

    From a GPU to pinned memory: the copy waits for the current stream alone.
    """
    numbers = (
        torch.nan_to_num(images.float()).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    )
    if numbers.device.type == "cuda":
        host = torch.empty(numbers.shape, dtype=torch.uint8, pin_memory=True)
        host.copy_(numbers, non_blocking=True)
        torch.cuda.current_stream(numbers.device).synchronize()
        numbers = host
    pixels: NDArray[np.uint8] = numbers.cpu().numpy()
    return pixels


def are_finite(images: Tensor) -> list[bool]:
    """Of each image, [B, 3, H, W], whether all its numbers are."""
    return [bool(value) for value in torch.isfinite(images).flatten(1).all(dim=1).tolist()]
