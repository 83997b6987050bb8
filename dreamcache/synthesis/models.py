"""The identity of a stage's model by its content: a folder by the hash of its files, a hub id by its revision.

Loads no weights and no torch, so that parts can be named on any machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.config.synthesize import PAPER_LLM, CaptionSettings, PictureSettings
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.artifacts import describe_base

DECIDE = (".json", ".safetensors", ".txt", ".model", ".jinja")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """location: a folder, or a hub id to be used with `revision`."""

    name: str
    location: str
    revision: str | None
    fingerprint: str


def describe_llm(settings: CaptionSettings) -> ModelInfo:
    """The language model. Raises ModelError."""
    return _describe("captions", settings.model or PAPER_LLM, settings.revision, "config.json")


def describe_painter(settings: PictureSettings) -> ModelInfo:
    """The model that generates the images. Raises ModelError."""
    if settings.backend == "sdxl":
        return _describe("images", settings.model_name, settings.revision, "model_index.json")
    base = describe_base(settings.model_name, settings.revision)
    return ModelInfo(
        name=base.name, location=base.location, revision=base.revision, fingerprint=base.fingerprint
    )


def _describe(stage: str, name: str, revision: str | None, mark: str) -> ModelInfo:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / mark).is_file():
            raise ModelError(
                f"{stage}.model '{name}': must be the folder of a model, got one without {mark}; check the path"
            )
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in DECIDE)
        hashes = {
            str(path.relative_to(folder)): _hash(path, path.stat().st_size, path.stat().st_mtime_ns)
            for path in files
        }
        return ModelInfo(
            name=name, location=str(folder), revision=None, fingerprint=ids.of_values("model", files=hashes)
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"{stage}.model '{name}': must be a folder or a hub id 'owner/name', got neither; check the name"
        )
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ModelError(
            f"{stage}.model '{name}': a hub id needs a pinned revision, else a resumed run could mix two models; "
            f"set {stage}.revision to a commit (40 hex digits), got {revision!r}"
        )
    fingerprint = ids.of_values("model", hub=name, revision=revision)
    return ModelInfo(name=name, location=name, revision=revision, fingerprint=fingerprint)


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
