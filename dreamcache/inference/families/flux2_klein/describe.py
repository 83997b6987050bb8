"""FLUX.2 klein without torch: what a base is, what of a reference is stored, and the settings that have a meaning.

A reference is encoded by the VAE alone; its latents are what the cache stores. The transformer's keys and values of it
depend on neither prompt, noise, timestep nor target size (they are computed at timestep 0 and attend to themselves
only), so a worker computes them once a subject. No adapter, and no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dreamcache.core import ids
from dreamcache.core.config import DType, EncodeSettings, GenerationSettings
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.families.family import Family, Passes
from dreamcache.inference.families.sd_sizes import DEVICE_BYTES, HEADROOM, ITEM_BYTES, count_files
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo, component_config, hub_json, pipeline_class
from dreamcache.storage.models.files import hash_files, read_json
from dreamcache.storage.models.lookup import locate, require_pinned

PIPELINES = ("Flux2KleinKVPipeline", "Flux2KleinPipeline")
COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTED = ("transformer", "vae", "text_encoder")
LATENTS = "latents"
"""The place under which a reference's latents are stored: [C, h, w], packed 2 x 2 and normalised."""

STEPS = 4
PATCH = 2
NO_GUIDANCE = "the model is distilled and runs without guidance"
NO_PASS = "a reference is encoded by the VAE alone"


class Flux2Klein(Family):
    """Takes no adapter. Reads width, height and num_inference_steps of `generation`."""

    method: ClassVar[str] = "dreamcache"
    caches_features: ClassVar[bool] = True
    generation: ClassVar[frozenset[str]] = frozenset({"num_inference_steps", "height", "width"})
    refused: ClassVar[Mapping[str, str]] = {
        "generation.guidance": NO_GUIDANCE,
        "generation.text_scale": NO_GUIDANCE,
        "generation.image_scale": "the reference is read by the model's own attention, which has no scale",
        "generation.strength": "no adapter's injection is blended",
        "generation.negative_prompt": NO_GUIDANCE,
        "generation.scheduler": "the model's own flow-matching scheduler is used",
        "reference.places": NO_PASS,
        "reference.timestep": "keys and values of a reference are computed at timestep 0",
        "reference.text": NO_PASS,
        "reference.noise_seed": "no noise is added to a reference",
        "reference.posterior": "the mean of the VAE's posterior is used",
    }

    def recognizes(self, base: str, revision: str | None) -> bool:
        """By model_index.json."""
        return pipeline_class(base, revision) in PIPELINES

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, of another layout, or not distilled."""
        model = locate(base, revision)
        if model is None:
            raise ModelError(
                f"model '{base}': must be a diffusers folder or a hub id 'owner/name'; got neither"
            )
        if model.folder is not None:
            index = read_json(model.folder / "model_index.json")
            vae = read_json(model.folder / "vae/config.json")
            fingerprint = ids.of_values("base", files=_content(base, model.folder))
        else:
            require_pinned(
                model,
                where=f"model '{base}'",
                reason="the same job could generate other images tomorrow",
                setting="model.revision",
            )
            index = hub_json(model.hub, str(model.revision), "model_index.json")
            vae = hub_json(model.hub, str(model.revision), "vae/config.json")
            fingerprint = ids.of_values("base", hub=model.hub, revision=model.revision)
        if index.get("_class_name") == "Flux2KleinPipeline" and not index.get("is_distilled"):
            raise ModelError(
                f"model '{base}': must be a distilled klein model (is_distilled in model_index.json), got an "
                "undistilled one, which needs guidance in two passes; choose the distilled model"
            )
        return BaseInfo(
            name=base,
            location=model.location,
            revision=None if model.folder is not None else model.revision,
            fingerprint=fingerprint,
            native_size=_number(base, vae, "sample_size"),
            prediction_type="flow",
        )

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """The family alone, with the number of steps that distilled models take."""
        if adapter is not None:
            raise ModelError(
                f"model.adapter: a FLUX.2 klein model reads references by itself and takes no adapter, got "
                f"'{adapter}'; leave the key out"
            )
        info = self.method_info(base, base.location, {"family": "flux2-klein"})
        return replace(info, recommended=(("num_inference_steps", STEPS),))

    def encoding(
        self, settings: EncodeSettings, base: BaseInfo, adapter: AdapterInfo, dtype: DType
    ) -> EncodeSettings:
        """size: the largest area of a photo is its square. Segmenter `auto` is the photo as it is."""
        return replace(
            settings,
            size=settings.size or base.native_size,
            places=(LATENTS,),
            timestep=0,
            compute_dtype=dtype,
            segmenter="none" if settings.segmenter == "auto" else settings.segmenter,
        )

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """Raises SpecError for a size that cannot be packed."""
        multiple = PATCH * vae_scale(base)
        for name in ("height", "width"):
            if getattr(settings, name) % multiple:
                raise SpecError(
                    f"generation.{name}: must be a multiple of {multiple} for model '{base.name}', "
                    f"got {getattr(settings, name)}; choose such a size"
                )

    def note(self, base: BaseInfo) -> str | None:
        """Weights that were not trained for the reuse of keys and values."""
        if pipeline_class(base.location, base.revision) == "Flux2KleinPipeline":
            return (
                f"model '{base.name}' was not trained to reuse a reference's keys and values: images are close to, and "
                "not equal to, those of its own pipeline; a klein-KV model is exact"
            )
        return None

    def passes_per_image(self, settings: GenerationSettings) -> Passes:
        """Exact: one pass of the transformer a step."""
        return Passes(encoder_halves=settings.steps, decoder_halves=settings.steps)

    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """Of a square photo; no photo takes more."""
        channels = int(component_config(base, "transformer")["in_channels"])
        return ITEM_BYTES[reference.dtype] * channels * (reference.size // (PATCH * vae_scale(base))) ** 2

    def worker_bytes(
        self,
        base: BaseInfo,
        adapter: AdapterInfo,
        settings: GenerationSettings,
        *,
        batch_size: int,
        dtype: DType,
        on_gpu: bool,
    ) -> int:
        """An estimate: weights by count, keys and values of one reference a row, the VAE's last block."""
        if base.revision is not None:
            raise ModelError(f"model '{base.name}': its weights are not in a folder of this machine")
        folder = Path(base.location)
        files = [path for part in WEIGHTED for path in sorted((folder / part).glob("*.safetensors"))]
        transformer, vae = component_config(base, "transformer"), component_config(base, "vae")
        width = int(transformer["num_attention_heads"]) * int(transformer["attention_head_dim"])
        layers = int(transformer["num_layers"]) + int(transformer["num_single_layers"])
        height_px, width_px = settings.height or base.native_size, settings.width or base.native_size
        tokens = math.ceil(height_px * width_px / (PATCH * vae_scale(base)) ** 2)
        keys_values = 2 * layers * width * (base.native_size // (PATCH * vae_scale(base))) ** 2
        activations = max(16 * width * tokens, 8 * int(vae["block_out_channels"][0]) * height_px * width_px)
        numbers = count_files(files) + keys_values + batch_size * HEADROOM * (activations + keys_values)
        return int(numbers * ITEM_BYTES[dtype]) + (DEVICE_BYTES if on_gpu else 0)


def vae_scale(base: BaseInfo) -> int:
    """Pixels a side of one latent."""
    blocks = component_config(base, "vae").get("block_out_channels")
    if not isinstance(blocks, list) or not blocks:
        raise ModelError(
            f"model '{base.name}': its vae/config.json lacks block_out_channels; repair the folder"
        )
    return int(2 ** (len(blocks) - 1))


def _number(name: str, config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value <= 0:
        raise ModelError(
            f"model '{name}': its vae/config.json must have a {key} of 1 or more, got {value!r}; repair it"
        )
    return value


def _content(name: str, folder: Path) -> dict[str, str]:
    missing = [part for part in COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"model '{name}': not a FLUX.2 klein folder in the diffusers layout, "
            f"{', '.join(missing)} missing in {folder}"
        )
    files = sorted(path for part in COMPONENTS for path in (folder / part).rglob("*"))
    return hash_files(folder, [folder / "model_index.json", *files])


FAMILY = Flux2Klein()
