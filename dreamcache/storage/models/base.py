"""What a base model of the Stable Diffusion layout is, read from its small files without torch: identity and sizes.

The planner needs ids and sizes before any weights are loaded, on a machine that may have no torch at all.
Knows the diffusers folder layout; loads no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.files import hash_files, read_json
from dreamcache.storage.models.lookup import locate, mini_folder, require_pinned

COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseInfo:
    """A base model: `location` is a folder, or a hub id to be used with `revision`.

    native_size: side in pixels the model was trained at; fingerprint: sha256 of all that decides its output.
    """

    name: str
    location: str
    revision: str | None
    fingerprint: str
    native_size: int
    prediction_type: str


def describe_base(name: str, revision: str | None = None) -> BaseInfo:
    """Finds a base model: `mini`, a diffusers folder, or a hub id with a pinned revision.

    Raises ModelError when it is none of these or is not of the Stable Diffusion layout.
    """
    model = locate(name, revision, embedded=mini_folder())
    if model is None or (model.folder is None and "@" in name):
        raise ModelError(
            f"model '{name}': must be 'mini', a diffusers folder or a hub id 'owner/name'; got none of these"
        )
    if model.folder is not None:
        return _describe_folder(name, model.folder)
    require_pinned(
        model,
        where=f"model '{name}'",
        reason="the same job could generate other images tomorrow",
        setting="model.revision",
    )
    revision = str(model.revision)
    files = ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")
    unet, vae, scheduler = (hub_json(name, revision, file) for file in files)
    return BaseInfo(
        name=name,
        location=name,
        revision=revision,
        fingerprint=ids.of_values("base", hub=name, revision=revision),
        native_size=_native_size(unet, vae),
        prediction_type=str(scheduler.get("prediction_type", "epsilon")),
    )


def pipeline_class(name: str, revision: str | None = None) -> str | None:
    """The diffusers pipeline that a model's folder or repository names in model_index.json; None where none does."""
    model = locate(name, revision, embedded=mini_folder())
    if model is None:
        return None
    try:
        if model.folder is not None:
            index = read_json(model.folder / "model_index.json")
        else:
            index = hub_json(model.hub, str(model.revision), "model_index.json")
    except ModelError:
        return None
    named = index.get("_class_name")
    return named if isinstance(named, str) else None


def component_config(base: BaseInfo, part: str) -> dict[str, Any]:
    """A component's `config.json`: "unet" or "vae". Raises ModelError."""
    if base.revision is not None:
        return hub_json(base.location, base.revision, f"{part}/config.json")
    return read_json(Path(base.location) / part / "config.json")


def _describe_folder(name: str, folder: Path) -> BaseInfo:
    missing = [part for part in COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"model '{name}': not a Stable Diffusion folder in the diffusers layout, "
            f"{', '.join(missing)} missing in {folder}"
        )
    files = sorted(path for part in COMPONENTS for path in (folder / part).rglob("*"))
    scheduler = read_json(folder / "scheduler/scheduler_config.json")
    return BaseInfo(
        name=name,
        location=str(folder),
        revision=None,
        fingerprint=ids.of_values("base", files=hash_files(folder, files)),
        native_size=_native_size(
            read_json(folder / "unet/config.json"), read_json(folder / "vae/config.json")
        ),
        prediction_type=str(scheduler.get("prediction_type", "epsilon")),
    )


def _native_size(unet: dict[str, Any], vae: dict[str, Any]) -> int:
    scale: int = 2 ** (len(vae["block_out_channels"]) - 1)
    return int(unet["sample_size"]) * scale


def hub_json(name: str, revision: str, file: str) -> dict[str, Any]:
    """A JSON file of a hub repository. Raises ModelError."""
    from huggingface_hub import hf_hub_download

    try:
        return read_json(Path(hf_hub_download(name, file, revision=revision)))
    except Exception as error:  # the hub client raises a dozen unrelated types for 'cannot get it'
        raise ModelError(
            f"model '{name}' at revision '{revision}': cannot be read from the hub ({type(error).__name__}); "
            f"check id, revision and network, or give a folder"
        ) from error
