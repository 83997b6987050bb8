"""A method by name, on its device. Imports a backend only when it is asked for."""

from __future__ import annotations

from typing import Any

import torch

from dreamcache.core.config.job import METHODS
from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.inference.families.describe import describe_method
from dreamcache.storage.models.artifacts import describe_base


def load_method(
    method: str,
    base: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Any:
    """A DreamCachePipeline, or a backend with the same face. Raises SpecError or ModelError."""
    if method == "dreamcache":
        from dreamcache.inference.pipeline import DreamCachePipeline

        pipe = DreamCachePipeline.from_pretrained(
            base, revision=revision, adapter=adapter, dtype=dtype, device=device
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe
    if method not in METHODS:
        raise SpecError(
            f"method '{method}': must be one of {', '.join(METHODS)}{did_you_mean(method, METHODS)}"
        )
    info = describe_base(base, revision)
    told = describe_method(method, adapter, info)
    if method == "text-only":
        from dreamcache.inference.families.text_only import TextOnly

        return TextOnly(info, told, dtype=dtype, device=device)
    if method == "blip-diffusion":
        from dreamcache.inference.families.blip_diffusion import BlipDiffusion

        return BlipDiffusion(info, told, dtype=dtype, device=device)
    from dreamcache.inference.families.ip_adapter import IpAdapter

    return IpAdapter(info, told, adapter, dtype=dtype, device=device)
