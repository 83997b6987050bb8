"""Where the ONNX file of the segmenter `u2net` is, and what identifies it in cache keys. Loads no model.

    a path in segmenter_models["u2net"], else the first known name in $U2NET_HOME or ~/.u2net (rembg's folder)

Knows file names; knows nothing of photos.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.core.locations import expanded
from dreamcache.storage.bounded import open_regular
from dreamcache.storage.models.files import file_hash
from dreamcache.storage.models.onnx_file import MOST_BYTES

MODEL = "u2net"
"""Its key in `segmenter_models`."""
KNOWN = ("isnet-general-use", "birefnet-general", "u2net", "u2netp")
"""rembg's names of models for things of any kind, the better ones first."""

Network = Literal["u2net", "isnet", "birefnet"]
"""How pixels go in and the mask comes out; a file's name states it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class U2NetFile:
    """A model file. identity: of the weights and of how they are used; equal files have equal masks."""

    path: Path
    network: Network
    identity: str


def find_u2net(models: Mapping[str, str]) -> U2NetFile | None:
    """The file that the settings name, or the first one in rembg's folder; None where there is none there.

    Raises ModelError `segmenter_missing` for a file that the settings name and that cannot be read.
    """
    named = models.get(MODEL)
    if named is not None:
        return _described(expanded(named), named)
    folder = Path(os.environ.get("U2NET_HOME") or Path.home() / ".u2net")
    path = next((folder / f"{name}.onnx" for name in KNOWN if (folder / f"{name}.onnx").is_file()), None)
    return _described(path, str(path)) if path is not None else None


def require_u2net(models: Mapping[str, str]) -> U2NetFile:
    """As `find_u2net`. Raises ModelError `segmenter_missing` where there is none."""
    found = find_u2net(models)
    if found is None:
        raise ModelError(
            "segmenter 'u2net': needs an ONNX file of rembg (u2netp.onnx, isnet-general-use.onnx), found none in "
            "$U2NET_HOME or ~/.u2net; put one there, or name it in segmenter_models: {u2net: FILE}",
            code="segmenter_missing",
        )
    return found


def with_segmenter_id(settings: EncodeSettings) -> EncodeSettings:
    """The settings with the identity of the weights that cut the subject out, as they enter the cache key.

    `u2net` has its file's; so has `auto` where `segmenter_models` names one: what a machine happens to have must not
    decide ids. Settings that have one, be it "", keep it. Raises ModelError `segmenter_missing`.
    """
    if settings.segmenter_id is not None:
        return settings
    if settings.segmenter == "u2net":
        return replace(settings, segmenter_id=require_u2net(settings.segmenter_models).identity)
    if settings.segmenter == "auto" and "u2net" in settings.segmenter_models:
        return replace(settings, segmenter_id=require_u2net(settings.segmenter_models).identity)
    return replace(settings, segmenter_id="")


def _described(path: Path, where: str) -> U2NetFile:
    try:
        with open_regular(path, where) as (_, num_bytes):
            if num_bytes > MOST_BYTES:
                raise OSError(f"{num_bytes:,} bytes are more than {MOST_BYTES:,}")
        weights = file_hash(path)
    except (OSError, ModelError) as error:
        raise ModelError(
            f"segmenter 'u2net': model '{where}' must be a readable ONNX file, got '{error}'; check the path",
            code="segmenter_missing",
        ) from error
    network = network_of(path.stem)
    return U2NetFile(path=path, network=network, identity=_identity(network, weights))


def network_of(stem: str) -> Network:
    """By the name of a file, as rembg names them; what is not known is a U-Net of the first kind."""
    name = stem.lower()
    return "birefnet" if "birefnet" in name else "isnet" if "isnet" in name else "u2net"


@lru_cache(maxsize=64)
def _identity(network: str, weights: str) -> str:
    return ids.of_values("segmenter-u2net", network=network, weights=weights)
