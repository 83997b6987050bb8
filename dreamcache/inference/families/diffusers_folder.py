"""A base in the diffusers layout, described without torch: found, its parts there, its identity from what is loaded.

Families of other layouts than Stable Diffusion's share it; each names its own parts. Knows folders and hub ids; knows
no family.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.base import INDEX, BaseInfo, hub_json, small_content, weighted_content
from dreamcache.storage.models.files import config_hash, read_json
from dreamcache.storage.models.lookup import locate, require_pinned

Content = Callable[[Path, str], dict[str, str]]
"""(folder, part) -> {file: hash} of a part without weights."""


def describe_folder(
    base: str,
    revision: str | None,
    *,
    layout: str,
    parts: Sequence[str],
    weighted: Sequence[str],
    content: Content = small_content,
    checked: Collection[str] = (),
) -> tuple[BaseInfo, JsonObject]:
    """(the base without its native size, its model_index.json). layout: what the model is called in messages.

    parts, weighted: all that are loaded, and those of them with weights. checked: of these, those whose tensors
    `layout.missing_tensors` knows by their config. Raises ModelError: missing, damaged or of another layout.
    """
    model = locate(base, revision)
    if model is None:
        raise ModelError(f"model '{base}': must be a diffusers folder or a hub id 'owner/name'; got neither")
    if model.folder is not None:
        index = read_json(model.folder / INDEX)
        files = _files(base, model.folder, layout, parts, weighted, content, checked)
        fingerprint = ids.of_values("base", files={INDEX: config_hash(index), **files})
    else:
        require_pinned(
            model,
            where=f"model '{base}'",
            reason="the same job could generate other images tomorrow",
            setting="model.revision",
        )
        index = hub_json(model.hub, str(model.revision), INDEX)
        fingerprint = ids.of_values("base", hub=model.hub, revision=model.revision)
    info = BaseInfo(
        name=base,
        location=model.location,
        revision=None if model.folder is not None else model.revision,
        fingerprint=fingerprint,
        native_size=0,
        prediction_type="flow",
    )
    return info, index


def _files(
    base: str,
    folder: Path,
    layout: str,
    parts: Sequence[str],
    weighted: Sequence[str],
    content: Content,
    checked: Collection[str],
) -> dict[str, str]:
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"model '{base}': not a {layout} folder in the diffusers layout, {', '.join(missing)} missing in "
            f"{folder}"
        )
    files: dict[str, str] = {}
    for part in parts:
        tensors = part if part in checked else None
        files |= weighted_content(folder, part, tensors) if part in weighted else content(folder, part)
    return files


def number_of(config: JsonObject, key: str, most: int) -> int:
    """A whole number of a config, from 1 to `most`. Raises KeyError or ValueError."""
    value = config[key]
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key}: a number from 1 to {most}, got {str(value)[:40]}")
    return value
