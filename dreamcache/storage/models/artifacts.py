"""What a base model or an adapter is, read from its files without torch: location, fingerprint, sizes.

The planner needs ids and sizes before any weights are loaded, on a machine that may have no torch at all.
Knows the diffusers folder layout and the adapter folder layout; loads no weights.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from dreamcache.core import ids
from dreamcache.core.config import DEFAULT_SCALES, FeatureSource, IntegrationName
from dreamcache.core.errors import ModelError
from dreamcache.storage.node_cache import once_per_node

MINI = "mini"
COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
ADAPTER_CONFIG = "config.json"
ADAPTER_WEIGHTS = "adapter.safetensors"
REFERENCE_UNET = "reference_unet.safetensors"
ADAPTER_FORMAT = 1
MIDDLE = "mid_block.attentions.0"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterInfo:
    """An adapter folder: `config.json` beside `adapter.safetensors`.

    places: where it acts; `feature_places`: whose features it reads there. reference_unet: sha256 of the weights that
    read references for it, "" where the base's own do. trained_reference: (key, value) of `config.EncodeSettings` that
    references had in training, where the config tells. recommended: (name, value) of `config.DEFAULT_SCALES` with
    which this adapter works best; the defaults of what uses it, and no part of the fingerprint.
    """

    location: str
    fingerprint: str
    base_name: str
    base_fingerprint: str
    places: tuple[str, ...]
    integration: IntegrationName
    step: int
    features: FeatureSource = "own"
    reference_unet: str = ""
    trained_reference: tuple[tuple[str, int | str], ...] = ()
    recommended: tuple[tuple[str, float], ...] = ()

    @property
    def feature_places(self) -> tuple[str, ...]:
        return feature_places(self.places, self.features)


def feature_places(places: tuple[str, ...], features: FeatureSource) -> tuple[str, ...]:
    """Whose features adapters at `places` read: their own, or the middle block's everywhere."""
    return places if features == "own" else (MIDDLE,)


def mini_folder() -> Path:
    """The embedded model's diffusers folder."""
    return Path(__file__).parents[2] / "mini" / "weights"


def describe_base(name: str, revision: str | None = None) -> BaseInfo:
    """Finds a base model: `mini`, a diffusers folder, or a hub id with a pinned revision.

    Raises ModelError when it is none of these or is not of the Stable Diffusion layout.
    """
    folder = mini_folder() if name == MINI else Path(name).expanduser()
    if folder.is_dir():
        return _describe_folder(name, folder)
    if name == MINI or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"model '{name}': must be 'mini', a diffusers folder or a hub id 'owner/name'; got none of these"
        )
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ModelError(
            f"model '{name}': a hub id needs a pinned revision, else the same job could draw other images "
            f"tomorrow; set model.revision to a commit (40 hex digits), got {revision!r}"
        )
    unet, vae, scheduler = (_hub_json(name, revision, part) for part in ("unet", "vae", "scheduler"))
    return BaseInfo(
        name=name,
        location=name,
        revision=revision,
        fingerprint=ids.of_values("base", hub=name, revision=revision),
        native_size=_native_size(unet, vae),
        prediction_type=str(scheduler.get("prediction_type", "epsilon")),
    )


def _describe_folder(name: str, folder: Path) -> BaseInfo:
    missing = [part for part in COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"model '{name}': not a Stable Diffusion folder in the diffusers layout, "
            f"{', '.join(missing)} missing in {folder}"
        )
    files = sorted(p for part in COMPONENTS for p in (folder / part).rglob("*") if _decides(p))
    hashes = {
        str(p.relative_to(folder)): _file_hash(p, p.stat().st_size, p.stat().st_mtime_ns) for p in files
    }
    return BaseInfo(
        name=name,
        location=str(folder),
        revision=None,
        fingerprint=ids.of_values("base", files=hashes),
        native_size=_native_size(_json(folder / "unet/config.json"), _json(folder / "vae/config.json")),
        prediction_type=str(
            _json(folder / "scheduler/scheduler_config.json").get("prediction_type", "epsilon")
        ),
    )


def _decides(path: Path) -> bool:
    return (
        path.is_file() and path.suffix in (".json", ".safetensors", ".txt") and not path.name.startswith(".")
    )


@lru_cache(maxsize=1024)
def _file_hash(path: Path, size: int, modified: int) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _native_size(unet: dict[str, Any], vae: dict[str, Any]) -> int:
    scale: int = 2 ** (len(vae["block_out_channels"]) - 1)
    return int(unet["sample_size"]) * scale


def _hub_json(name: str, revision: str, part: str) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    file = "scheduler_config.json" if part == "scheduler" else "config.json"
    try:
        return _json(Path(hf_hub_download(name, f"{part}/{file}", revision=revision)))
    except Exception as error:  # the hub client raises a dozen unrelated types for 'cannot get it'
        raise ModelError(
            f"model '{name}' at revision '{revision}': cannot be read from the hub ({type(error).__name__}); "
            f"check id, revision and network, or give a folder"
        ) from error


def component_config(base: BaseInfo, part: str) -> dict[str, Any]:
    """A component's `config.json`: "unet" or "vae". Raises ModelError."""
    if base.revision is not None:
        return _hub_json(base.location, base.revision, part)
    return _json(Path(base.location) / part / "config.json")


def describe_adapter(location: str | None, base: BaseInfo) -> AdapterInfo:
    """Finds an adapter folder (a path or an s3:// URI); None takes the one in the base's own folder, as `mini` has.

    Raises ModelError when it is missing or damaged, or was trained on another base; the message names both.
    """
    if location is None:
        # `mini`, and what `DreamCachePipeline.save_pretrained` wrote, have their adapter inside.
        location = str(Path(base.location) / "adapter")
        if base.revision is not None or not (Path(location) / ADAPTER_CONFIG).is_file():
            raise ModelError(
                f"model '{base.name}': needs an adapter; set model.adapter to an adapter folder trained on it"
            )
    folder = local_adapter(location)
    config = _json(folder / ADAPTER_CONFIG)
    weights = folder / ADAPTER_WEIGHTS
    stat = weights.stat()
    content = _file_hash(weights, stat.st_size, stat.st_mtime_ns)
    try:
        info = AdapterInfo(
            location=str(folder),
            fingerprint=ids.of_values("adapter", config=_decisive(config), weights=content),
            base_name=str(config["base"]["name"]),
            base_fingerprint=str(config["base"]["fingerprint"]),
            places=tuple(config["places"]),
            integration=config["integration"],
            step=int(config["step"]),
            features=config.get("features", "own"),
            reference_unet=_reference_unet(folder, config),
            trained_reference=_trained_reference(config),
            recommended=_recommended(config),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"adapter '{location}': {ADAPTER_CONFIG} lacks or misstates {error}; import or train it again"
        ) from error
    rules = {
        "format": (ADAPTER_FORMAT,),
        "integration": get_args(IntegrationName),
        "features": get_args(FeatureSource),
    }
    for name, allowed in rules.items():
        got = config.get(name, "own" if name == "features" else None)
        if got not in allowed:
            raise ModelError(
                f"adapter '{location}': its {name} must be {' or '.join(map(str, allowed))}, is {got!r}; use the "
                f"version of dreamcache it was made with"
            )
    check_adapter_fits(info, base)
    return info


def _trained_reference(config: dict[str, Any]) -> tuple[tuple[str, int | str], ...]:
    told = config.get("training", {}).get("reference", {})
    return tuple((name, told[name]) for name in ("timestep", "text") if name in told)


def _decisive(config: dict[str, Any]) -> dict[str, Any]:
    """What of the config decides pixels: a recommendation does so only through the settings that a job resolves."""
    return {name: value for name, value in config.items() if name != "recommended"}


def _recommended(config: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    recommended = config.get("recommended", {})
    rule = f"recommended (numbers for {', '.join(DEFAULT_SCALES)}; got {recommended})"
    if not isinstance(recommended, dict) or set(recommended) - set(DEFAULT_SCALES):
        raise ValueError(rule)
    values = {name: float(value) for name, value in recommended.items()}
    if not all(map(math.isfinite, values.values())):
        raise ValueError(rule)
    return tuple(values.items())


def _reference_unet(folder: Path, config: dict[str, Any]) -> str:
    """The sha256 that the config names, "" for none. Raises ModelError unless the file has it."""
    wanted = str(config["reference_unet"]["sha256"]) if config.get("reference_unet") else ""
    file = folder / REFERENCE_UNET
    if wanted and not (
        file.is_file() and _file_hash(file, file.stat().st_size, file.stat().st_mtime_ns) == wanted
    ):
        raise ModelError(
            f"adapter '{folder}': {REFERENCE_UNET} must be there with sha256 {wanted[:12]}..., it is "
            f"{'another' if file.is_file() else 'missing'}; copy the whole folder, or train it again"
        )
    return wanted


def check_adapter_fits(adapter: AdapterInfo, base: BaseInfo) -> None:
    """Raises ModelError naming both sides when the adapter was trained on another base."""
    if adapter.base_fingerprint != base.fingerprint:
        raise ModelError(
            f"adapter '{adapter.location}': was trained on base '{adapter.base_name}' "
            f"({adapter.base_fingerprint[:12]}), but the loaded base is '{base.name}' ({base.fingerprint[:12]}); "
            f"load that base, or an adapter trained on this one"
        )


def local_adapter(location: str) -> Path:
    """A local folder that holds the adapter's files, fetched to the user's cache first where it is remote."""
    if location.startswith("s3://"):
        return _fetch_adapter(location)
    folder = Path(location).expanduser()
    if (folder / ADAPTER_CONFIG).is_file() and (folder / ADAPTER_WEIGHTS).is_file():
        return folder
    raise ModelError(
        f"adapter '{location}': not an adapter folder, it must hold {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}; "
        f"make one with 'dreamcache adapter import' or 'dreamcache train'"
    )


def _fetch_adapter(uri: str) -> Path:
    from dreamcache.storage.open_store import join, store_for

    store = store_for(uri)
    files = {name: join(uri, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
    found = [store.stat(file) for file in files.values()]
    if None in found:
        raise ModelError(f"adapter '{uri}': no {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} there")

    def fetch() -> str:
        data = {name: store.read(file) for name, file in files.items()}
        if json.loads(data[ADAPTER_CONFIG]).get("reference_unet"):
            data[REFERENCE_UNET] = store.read(join(uri, REFERENCE_UNET))
        content = ids.of_values("adapter-files", **{name: ids.of_bytes(held) for name, held in data.items()})
        folder = Path("~/.cache/dreamcache/adapters").expanduser() / content[:32]
        for name, held in data.items():
            store_for(str(folder)).create(str(folder / name), held)
        return str(folder)

    return Path(once_per_node(f"{uri} {[info.etag for info in found if info]}", fetch))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: must be a readable JSON file: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: must hold a JSON object")
    return value
