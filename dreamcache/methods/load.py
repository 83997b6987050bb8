"""A method by name, on its device. Imports a backend only when it is asked for."""

from __future__ import annotations

from typing import Any

import torch

from dreamcache.artifacts import describe_base
from dreamcache.errors import SpecError, did_you_mean
from dreamcache.methods.info import METHODS, describe_method


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
        from dreamcache.pipeline import DreamCachePipeline

        return DreamCachePipeline.from_pretrained(
            base, revision=revision, adapter=adapter, dtype=dtype, device=device
        )
    if method not in METHODS:
        raise SpecError(
            f"method '{method}': must be one of {', '.join(METHODS)}{did_you_mean(method, METHODS)}"
        )
    info = describe_base(base, revision)
    told = describe_method(method, adapter, info)
    if method == "text-only":
        from dreamcache.methods.text_only import TextOnly

        return TextOnly(info, told, dtype=dtype, device=device)
    if method == "blip-diffusion":
        from dreamcache.methods.blip_diffusion import BlipDiffusion

        return BlipDiffusion(info, told, dtype=dtype, device=device)
    from dreamcache.methods.ip_adapter import IpAdapter

    return IpAdapter(info, told, adapter, dtype=dtype, device=device)
