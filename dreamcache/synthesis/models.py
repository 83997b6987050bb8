"""The identity of a stage's model by its content: a folder by the hash of its files, a hub id by its revision.

Loads no weights and no torch, so that parts can be named on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core import ids
from dreamcache.core.config.synthesize import PAPER_LLM, CaptionSettings, PictureSettings
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.files import hash_files
from dreamcache.storage.models.lookup import locate, require_pinned

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
    model = locate(name, revision)
    if model is None or (model.folder is None and "@" in name):
        raise ModelError(f"{stage}.model '{name}': must be a folder or a hub id 'owner/name', got neither")
    folder = model.folder
    if folder is not None:
        if not (folder / mark).is_file():
            raise ModelError(f"{stage}.model '{name}': must be a model's folder, it holds no {mark}")
        fingerprint = ids.of_values("model", files=hash_files(folder, sorted(folder.rglob("*")), DECIDE))
    else:
        require_pinned(
            model,
            where=f"{stage}.model '{name}'",
            reason="a resumed run could mix two models",
            setting=f"{stage}.revision",
        )
        fingerprint = ids.of_values("model", hub=name, revision=model.revision)
    return ModelInfo(name=name, location=model.location, revision=model.revision, fingerprint=fingerprint)
