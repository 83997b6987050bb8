"""What an adapter is, read from its folder without torch: `config.json` beside `adapter.safetensors`, local or not.

Knows the adapter folder layout and the base an adapter was trained on; loads no weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dreamcache.core import ids
from dreamcache.core.config import DEFAULT_SCALES, FeatureSource, IntegrationName
from dreamcache.core.errors import ModelError
from dreamcache.core.locations import is_object
from dreamcache.core.texts import shown
from dreamcache.storage.json_object import JsonObject, parse_object
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.files import file_hash, read_json
from dreamcache.storage.node_cache import once_per_node

ADAPTER_CONFIG = "config.json"
ADAPTER_WEIGHTS = "adapter.safetensors"
REFERENCE_UNET = "reference_unet.safetensors"
MAX_BYTES = {ADAPTER_CONFIG: 16 << 20, ADAPTER_WEIGHTS: 4 << 30, REFERENCE_UNET: 16 << 30}
"""Of the files of an adapter: some forty times those of SD 2.1, and a U-Net of SDXL's size in float32."""
ADAPTER_FORMAT = 1
MIDDLE = "mid_block.attentions.0"
CONFIG_FAULTS = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What a value of a wrong type raises where it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterInfo:
    """An adapter folder: `config.json` beside `adapter.safetensors`.

    places: where it acts; `feature_places`: whose features it reads there. reference_unet: sha256 of the weights that
    read references for it, "" where the base's own do. trained_reference: (key, value) of `config.EncodeSettings` that
    references had in training, where the config records it. recommended: (name, value) of `config.DEFAULT_SCALES` with
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


def describe_adapter(location: str | None, base: BaseInfo) -> AdapterInfo:
    """Finds an adapter folder (a path or a URI); None takes the one in the base's own folder, as `mini` has.

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
    config = read_config(folder, location)
    _check_sizes(folder, location)
    content = file_hash(folder / ADAPTER_WEIGHTS)
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
    except CONFIG_FAULTS as error:
        raise ModelError(
            f"adapter '{location}': {ADAPTER_CONFIG} lacks or misstates {error}; import or train it again"
        ) from error
    _check_choices(config, location)
    check_adapter_fits(info, base)
    return info


def read_config(folder: Path, location: str) -> JsonObject:
    """config.json of an adapter whose values have the types that readers rely on. Raises ModelError."""
    config = read_json(folder / ADAPTER_CONFIG)
    base, places = config.get("base"), config.get("places")
    rules = {
        "base": isinstance(base, dict)
        and all(isinstance(base.get(name), str) for name in ("name", "fingerprint")),
        "places": isinstance(places, list)
        and bool(places)
        and all(isinstance(place, str) for place in places),
        "integration": isinstance(config.get("integration"), str),
        "step": isinstance(config.get("step"), int) and 0 <= config["step"] < 2**63,
        "training": isinstance(config.get("training", {}), dict),
    }
    wrong = [name for name, holds in rules.items() if not holds]
    if wrong:
        raise ModelError(
            f"adapter '{location}': {ADAPTER_CONFIG} lacks or misstates '{wrong[0]}', got "
            f"{shown(config.get(wrong[0]))}; import or train it again"
        )
    return config


def _check_sizes(folder: Path, location: str) -> None:
    """Before a file is hashed: one without end, or as large as it claims to be, must not hold up the plan."""
    for name, most in MAX_BYTES.items():
        path = folder / name
        if path.exists() and not (path.is_file() and path.stat().st_size <= most):
            raise ModelError(
                f"adapter '{location}': {name} must be a regular file of at most {most:,} bytes, got "
                f"{f'{path.stat().st_size:,} bytes' if path.is_file() else 'another kind of file'}; copy it again"
            )


def _check_choices(config: JsonObject, location: str) -> None:
    rules = {
        "format": (ADAPTER_FORMAT,),
        "integration": get_args(IntegrationName),
        "features": get_args(FeatureSource),
    }
    for name, allowed in rules.items():
        got = config.get(name, "own" if name == "features" else None)
        if got not in allowed:
            raise ModelError(
                f"adapter '{location}': its {name} must be {' or '.join(map(str, allowed))}, is {shown(got)}; use the "
                f"version of dreamcache that wrote it"
            )


def _trained_reference(config: JsonObject) -> tuple[tuple[str, int | str], ...]:
    trained = config.get("training", {}).get("reference") or {}
    return tuple((name, trained[name]) for name in ("timestep", "text") if name in trained)


def _decisive(config: JsonObject) -> JsonObject:
    """What of the config decides pixels: a recommendation does so only through the settings that a job resolves."""
    return {name: value for name, value in config.items() if name != "recommended"}


def _recommended(config: JsonObject) -> tuple[tuple[str, float], ...]:
    recommended = config.get("recommended", {})
    rule = f"recommended (numbers for {', '.join(DEFAULT_SCALES)}; got {shown(recommended)})"
    if not isinstance(recommended, dict) or set(recommended) - set(DEFAULT_SCALES):
        raise ValueError(rule)
    values = {name: float(value) for name, value in recommended.items()}
    if not all(map(math.isfinite, values.values())):
        raise ValueError(rule)
    return tuple(values.items())


def _reference_unet(folder: Path, config: JsonObject) -> str:
    """The sha256 that the config names, "" for none. Raises ModelError unless the file has it."""
    wanted = str(config["reference_unet"]["sha256"]) if config.get("reference_unet") else ""
    file = folder / REFERENCE_UNET
    if wanted and not (file.is_file() and file_hash(file) == wanted):
        raise ModelError(
            f"adapter '{folder}': {REFERENCE_UNET} must be there with sha256 {wanted[:12]}..., it is "
            f"{'another' if file.is_file() else 'missing'}; copy the whole folder, or train it again"
        )
    return wanted


def check_adapter_fits(adapter: AdapterInfo, base: BaseInfo) -> None:
    """Raises ModelError naming both sides when the adapter was trained on another base, unless that is allowed.

    An adapter of a base fits this base with LoRAs too: whoever names them knows what they change.
    """
    if not base.allow_other_base and adapter.base_fingerprint not in (
        base.fingerprint,
        base.plain_fingerprint,
    ):
        raise ModelError(
            f"adapter '{adapter.location}': was trained on base '{adapter.base_name}' "
            f"({adapter.base_fingerprint[:12]}), but the loaded base is '{base.name}' ({base.fingerprint[:12]}); "
            f"load that base, or an adapter trained on this one; model.allow_other_base takes this one anyway"
        )


def local_adapter(location: str) -> Path:
    """A local folder that holds the adapter's files, fetched to the user's cache first where it is remote."""
    if is_object(location):
        return _fetch_adapter(location)
    folder = Path(location).expanduser()
    if (folder / ADAPTER_CONFIG).is_file() and (folder / ADAPTER_WEIGHTS).is_file():
        return folder
    raise ModelError(
        f"adapter '{location}': not an adapter folder, it must hold {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}; "
        f"create one with 'dreamcache adapter import' or 'dreamcache train'"
    )


def _fetch_adapter(uri: str) -> Path:
    from dreamcache.storage.open_store import join, store_for

    store = store_for(uri)
    files = {name: join(uri, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
    infos = [store.stat(file) for file in files.values()]
    if None in infos:
        raise ModelError(f"adapter '{uri}': no {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} there")

    def fetch() -> str:
        data = {name: store.read(file, MAX_BYTES[name]) for name, file in files.items()}
        try:
            has_unet = bool(parse_object(data[ADAPTER_CONFIG]).get("reference_unet"))
        except ValueError as error:
            raise ModelError(
                f"adapter '{uri}': {ADAPTER_CONFIG} must be a JSON object, got one that {error}; copy it again"
            ) from error
        if has_unet:
            data[REFERENCE_UNET] = store.read(join(uri, REFERENCE_UNET), MAX_BYTES[REFERENCE_UNET])
        identity = ids.of_values(
            "adapter-files", **{name: ids.of_bytes(content) for name, content in data.items()}
        )
        folder = Path("~/.cache/dreamcache/adapters").expanduser() / identity[:32]
        for name, content in data.items():
            store_for(str(folder)).create(str(folder / name), content)
        return str(folder)

    return Path(once_per_node(f"{uri} {[info.etag for info in infos if info]}", fetch))
