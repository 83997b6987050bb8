"""What a base model of the Stable Diffusion layout is, read from its small files without torch: identity and sizes.

    model_index.json -> components -> the files that a loader takes of each -> identity, checks
                                      (weights: `weights`; names of tensors: `layout`)

The planner needs ids and sizes before any weights are loaded, on a machine that may have no torch at all. What a loader
would stumble over (missing or damaged files, tensors that the config needs) is found here, in one line.
Knows the diffusers folder layout; loads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.config import Quantize
from dreamcache.core.errors import ModelError
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.files import as_bad_model, config_hash, file_hash, read_json, regular_file
from dreamcache.storage.models.layout import missing_tensors
from dreamcache.storage.models.lookup import locate, mini_folder, require_pinned
from dreamcache.storage.models.weights import read_tensors, weight_files

INDEX = "model_index.json"
COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTED = ("unet", "vae", "text_encoder", "safety_checker", "image_encoder")
"""Components with weights; the last two only where model_index.json names a class for them."""

IMAGE_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
"""What transformers reads of an image processor: the second one's key `image_processor` counts before the first."""
SMALL_FILES: Mapping[str, tuple[str, ...]] = {
    "tokenizer": (
        "tokenizer_config.json", "vocab.json", "merges.txt", "tokenizer.json", "special_tokens_map.json",
        "added_tokens.json", "chat_template.jinja",
    ),
    "scheduler": ("scheduler_config.json",),
    "feature_extractor": IMAGE_PROCESSOR,
}  # fmt: skip
"""What loaders read of components without weights, where it is there."""

REQUIRED: Mapping[str, tuple[str, ...]] = {"scheduler": ("scheduler_config.json",)}
CONFIGS = ("config.json", "scheduler_config.json", "tokenizer_config.json", *IMAGE_PROCESSOR)
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Of the classes that model_index.json may name; the last one is a module of diffusers."""

MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraInfo:
    """name: of the file or folder as the job names it, without its path. location: of the file on this machine.

    weight: by which its change of the base is multiplied.
    """

    name: str
    location: str
    sha256: str
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseInfo:
    """A base model: `location` is a folder, or a hub id to be used with `revision`.

    native_size: side in pixels the model was trained at; fingerprint: sha256 of all that decides its output.
    loras: put on it. quantize: bits of its large parts' linear layers. With either, plain_fingerprint is that of the
    base as it is. allow_other_base: adapters that were trained on another base are taken.
    """

    name: str
    location: str
    revision: str | None
    fingerprint: str
    native_size: int
    prediction_type: str
    loras: tuple[LoraInfo, ...] = ()
    plain_fingerprint: str = ""
    quantize: Quantize = "none"
    allow_other_base: bool = False


def describe_base(name: str, revision: str | None = None) -> BaseInfo:
    """Finds a base model: `mini`, a diffusers folder, or a hub id with a pinned revision.

    Raises ModelError when it is none of these, is not of the Stable Diffusion layout, or could not be loaded.
    """
    model = locate(name, revision, embedded=mini_folder())
    if model is None or (model.folder is None and "@" in name):
        raise ModelError(
            f"model '{name[:200]}': must be 'mini', a diffusers folder or a hub id 'owner/name'; got none of these"
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
        native_size=native_side(name, unet, vae),
        prediction_type=prediction_type(scheduler),
    )


def pipeline_class(name: str, revision: str | None = None) -> str | None:
    """The diffusers pipeline that a model's folder or repository names in model_index.json; None where none does."""
    model = locate(name, revision, embedded=mini_folder())
    if model is None:
        return None
    try:
        if model.folder is not None:
            index = read_json(model.folder / INDEX)
        else:
            index = hub_json(model.hub, str(model.revision), INDEX)
    except ModelError:
        return None
    named = index.get("_class_name")
    return named if isinstance(named, str) else None


def component_config(base: BaseInfo, part: str) -> JsonObject:
    """A component's config: "unet", "vae", "text_encoder" or "scheduler". Raises ModelError."""
    file = "scheduler_config.json" if part == "scheduler" else "config.json"
    if base.revision is not None:
        return hub_json(base.location, base.revision, f"{part}/{file}")
    return read_json(Path(base.location) / part / file)


def component_file(base: BaseInfo, name: str) -> Path | None:
    """A small file of the base on this machine, fetched from the hub where it must be; None where there is none."""
    if base.revision is None:
        return regular_file(Path(base.location), name)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(base.location, name, revision=base.revision))
    except Exception:  # noqa: BLE001 - as in `hub_json`; whoever must have the file meets the error there
        return None


def _describe_folder(name: str, folder: Path) -> BaseInfo:
    missing = [part for part in COMPONENTS if not (folder / part).is_dir()]
    missing += [INDEX] if regular_file(folder, INDEX) is None else []
    if missing:
        raise ModelError(
            f"model '{name}': not a Stable Diffusion folder in the diffusers layout, "
            f"{', '.join(missing)} missing in {folder}"
        )
    index = read_json(folder / INDEX)
    scheduler = _config(folder, "scheduler", "scheduler_config.json")
    unet, vae = (_config(folder, part, "config.json") for part in ("unet", "vae"))
    native_size = native_side(name, unet, vae)
    with as_bad_model(f"model '{name}'"):
        files = {INDEX: config_hash(index)}
        for part in _loaded(folder, index):
            checked = part if part in COMPONENTS else None
            files |= (
                weighted_content(folder, part, checked) if part in WEIGHTED else small_content(folder, part)
            )
        fingerprint = ids.of_values("base", files=files)
    return BaseInfo(
        name=name,
        location=str(folder),
        revision=None,
        fingerprint=fingerprint,
        native_size=native_size,
        prediction_type=prediction_type(scheduler),
    )


def _loaded(folder: Path, index: JsonObject) -> list[str]:
    """The components that a pipeline loads: those of every base, and those for which the index names a class.

    Raises ModelError for an index that names other libraries, or a component that is not there.
    """
    known = [*WEIGHTED, *SMALL_FILES]
    classes = {part: index[part] for part in known if index.get(part) is not None}
    is_loaded_whole = str(index.get("_class_name")).startswith("StableDiffusion")
    for part, value in classes.items():
        is_class = isinstance(value, list) and len(value) == 2
        if not is_class or (is_loaded_whole and value[0] is not None and value[0] not in LIBRARIES):
            raise ModelError(
                f"{folder / INDEX}: {part} must be null or a class of {', '.join(LIBRARIES)}, got "
                f"{str(value)[:80]}; take the model's own folder"
            )
    named = [part for part, value in classes.items() if value[0] is not None]
    lacking = [part for part in COMPONENTS if part not in named]
    if lacking:
        raise ModelError(f"{folder / INDEX}: must name a class for {', '.join(lacking)}; copy it again")
    return sorted(named)


def weighted_content(folder: Path, part: str, layout: str | None = None) -> dict[str, str]:
    """{file: sha256} of a component with weights. Raises ModelError unless they are whole and fit its config.

    layout: whose tensors `layout.missing_tensors` knows; None checks the files alone.
    """
    config = _config(folder, part, "config.json")
    weights = weight_files(folder / part)
    tensors = read_tensors(folder / part, weights)
    if layout is not None:
        with as_bad_model(f"{folder / part}/config.json"):
            missing = missing_tensors(layout, config, tensors)
        if missing:
            more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
            raise ModelError(
                f"{folder / part}: the weights must have every tensor that config.json needs, "
                f"{', '.join(missing[:MAX_NAMED])}{more} are missing; copy weights and config of one model"
            )
    hashes = {f"{part}/{name}": file_hash(folder / part / name) for name in weights.files}
    return {f"{part}/config.json": config_hash(config), **hashes}


def small_content(folder: Path, part: str) -> dict[str, str]:
    """{file: hash} of a component without weights. Raises ModelError for a file that is missing or no JSON."""
    hashes = {}
    kind = part.removesuffix("_2")  # SDXL has two tokenizers
    for name in SMALL_FILES[kind]:
        path = regular_file(folder / part, name)
        if path is None:
            if name in REQUIRED.get(kind, ()):
                raise ModelError(f"{folder / part}: must hold {name}, there is none; copy the folder again")
        elif name in CONFIGS:
            hashes[f"{part}/{name}"] = config_hash(read_json(path))
        else:
            if name.endswith(".json"):
                read_json(path)
            hashes[f"{part}/{name}"] = file_hash(path)
    if kind == "feature_extractor":
        require_image_processor(folder / part)
    if kind == "tokenizer" and not _has_vocabulary(part, hashes):
        raise ModelError(
            f"{folder / part}: must hold vocab.json with merges.txt, or tokenizer.json; copy the folder again"
        )
    return hashes


def require_image_processor(folder: Path) -> None:
    """Raises ModelError for a component's folder in which transformers finds no image processor."""
    plain, nested = (regular_file(folder, name) for name in IMAGE_PROCESSOR)
    if plain is None and (nested is None or read_json(nested).get("image_processor") is None):
        raise ModelError(
            f"{folder}: must hold preprocessor_config.json, or processor_config.json with image_processor, there is "
            "none; copy the folder again"
        )


def _has_vocabulary(part: str, hashes: Mapping[str, str]) -> bool:
    pair = {f"{part}/vocab.json", f"{part}/merges.txt"}
    return f"{part}/tokenizer.json" in hashes or pair <= set(hashes)


def _config(folder: Path, part: str, name: str) -> JsonObject:
    path = regular_file(folder / part, name)
    if path is None:
        raise ModelError(f"{folder / part}: must hold {name}, there is none; copy the folder again")
    return read_json(path)


def native_side(name: str, unet: JsonObject, vae: JsonObject) -> int:
    """Pixels of a side that a base with these configs was trained at. Raises ModelError."""
    with as_bad_model(f"model '{name}': unet/config.json or vae/config.json"):
        blocks, size = vae["block_out_channels"], unet["sample_size"]
        if not isinstance(blocks, list) or not 1 <= len(blocks) <= 8:
            raise ValueError("block_out_channels: a list of 1 to 8 numbers")
        side = size[0] if isinstance(size, list) and len(size) == 2 and size[0] == size[1] else size
        if type(side) is not int or not 1 <= side <= 4096:
            raise ValueError(f"sample_size: a number from 1 to 4096, or twice the same, got {str(size)[:40]}")
        return int(side * 2 ** (len(blocks) - 1))


def prediction_type(scheduler: JsonObject) -> str:
    """ "epsilon", "v_prediction" or what else a scheduler's config states."""
    return str(scheduler.get("prediction_type", "epsilon"))[:40]


def hub_json(name: str, revision: str, file: str) -> JsonObject:
    """A JSON file of a hub repository. Raises ModelError."""
    from huggingface_hub import hf_hub_download

    try:
        return read_json(Path(hf_hub_download(name, file, revision=revision)))
    except Exception as error:  # the hub client raises a dozen unrelated types for 'cannot get it'
        raise ModelError(
            f"model '{name}' at revision '{revision}': cannot be read from the hub ({type(error).__name__}); "
            f"check id, revision and network, or give a folder"
        ) from error
