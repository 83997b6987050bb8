"""Qwen-Image 2.1 without torch: what a base is, what of a reference is stored, and the settings that have a meaning.

Its language model reads the photos before the prompt, and its transformer reads both, photos and text, from timestep 0
and causally. So everything up to and with the last photo's `<|vision_end|>` is the same for every prompt. The cache
stores a photo's latents and its pixels as the language model sees them; a worker computes the rest once a subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from dreamcache.core.config import DType, EncodeSettings, GenerationSettings
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.families.diffusers_folder import describe_folder, number_of
from dreamcache.inference.families.family import Family, Passes, Photos
from dreamcache.inference.families.sd_sizes import DEVICE_BYTES, HEADROOM, ITEM_BYTES, count_files
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import (
    INDEX,
    BaseInfo,
    component_config,
    hub_json,
    pipeline_class,
    small_content,
)
from dreamcache.storage.models.files import as_bad_model, config_hash, file_hash, read_json, regular_file
from dreamcache.storage.models.weights import weight_files

PIPELINE = "QwenImage21Pipeline"
PARTS = ("transformer", "vae", "text_encoder", "processor", "scheduler")
WEIGHTED = ("transformer", "vae", "text_encoder")
PROCESSOR_FILES = (
    "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""What `reader` loads of the processor."""

LATENTS = "latents"
"""The place of a photo's latents [C, h, w], normalised."""
PICTURE = "picture"
"""The place of a photo as the language model sees it: [3, H, W], whole numbers from 0 to 255, on white."""

NATIVE = 1024
STEPS = 40
DOWN = 16
"""Pixels of a side for one of the latents."""
MULTIPLE = 32
MAX_RATIO = 8
NO_GUIDANCE = "images are generated without guidance, which is its pipeline's default"
NO_PASS = "a reference is encoded by the VAE and the language model alone"


class QwenImage21(Family):
    """Takes no adapter. Reads width, height and num_inference_steps of `generation`."""

    method: ClassVar[str] = "dreamcache"
    caches_features: ClassVar[bool] = True
    photos: ClassVar[Photos] = "sequence"
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
        return pipeline_class(base, revision) == PIPELINE

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged or of another layout."""
        info, _ = describe_folder(
            base, revision, layout="Qwen-Image 2.1", parts=PARTS, weighted=WEIGHTED, content=_content
        )
        sizes_of(info)
        sample_sigmas(info)
        return replace(info, native_size=NATIVE)

    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """The family alone, with the number of steps that the model's author states."""
        if adapter is not None:
            raise ModelError(
                f"model.adapter: a Qwen-Image 2.1 model reads references by itself and takes no adapter, got "
                f"'{adapter}'; leave the key out"
            )
        info = self.method_info(base, base.location, {"family": "qwen-image-2.1"})
        return replace(info, recommended=(("num_inference_steps", len(sample_sigmas(base)) or STEPS),))

    def encoding(
        self, settings: EncodeSettings, base: BaseInfo, adapter: AdapterInfo, dtype: DType
    ) -> EncodeSettings:
        """size: the pipeline's output_resolution, to whose square's area every photo is resized."""
        return replace(
            settings.with_floats(),
            size=settings.size or base.native_size,
            places=(LATENTS, PICTURE),
            timestep=0,
            compute_dtype=dtype,
            segmenter="none" if settings.segmenter == "auto" else settings.segmenter,
        )

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """Raises SpecError for a size that has no whole number of tokens, or steps that the author did not mean."""
        for name in ("height", "width"):
            if getattr(settings, name) % MULTIPLE:
                raise SpecError(
                    f"generation.{name}: must be a multiple of {MULTIPLE} for model '{base.name}', "
                    f"got {getattr(settings, name)}; choose such a size"
                )
        sigmas = sample_sigmas(base)
        if sigmas and settings.steps != len(sigmas):
            raise SpecError(
                f"generation.num_inference_steps: must be {len(sigmas)} for model '{base.name}', whose {INDEX} states "
                f"sample_sigmas, got {settings.steps}; leave the key out"
            )

    def passes_per_image(self, settings: GenerationSettings) -> Passes:
        """Exact: one pass of the transformer a step."""
        return Passes(encoder_halves=settings.steps, decoder_halves=settings.steps)

    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """Of a square photo."""
        pixels = reference.size**2
        return ITEM_BYTES[reference.dtype] * (sizes_of(base).channels * pixels // DOWN**2 + 3 * pixels)

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
        """An estimate: weights by count, keys and values of one reference a row, activations of the target."""
        if base.revision is not None:
            raise ModelError(f"model '{base.name}': its weights are not in a folder of this machine")
        folders = [Path(base.location) / part for part in WEIGHTED]
        files = [folder / name for folder in folders for name in weight_files(folder).files]
        sizes = sizes_of(base)
        height, width = settings.height or base.native_size, settings.width or base.native_size
        keys_values = 2 * sizes.layers * sizes.width * (base.native_size // DOWN) ** 2
        activations = max(16 * sizes.width * height * width // DOWN**2, 128 * height * width)
        numbers = count_files(files) + keys_values + batch_size * HEADROOM * (activations + keys_values)
        return int(numbers * ITEM_BYTES[dtype]) + (DEVICE_BYTES if on_gpu else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenSizes:
    """What a base's configs state. channels: of a latent; layers, width: of the transformer."""

    channels: int
    layers: int
    width: int


def sizes_of(base: BaseInfo) -> QwenSizes:
    """Raises ModelError for configs that are damaged, of another layout, or of a model without causal conditions."""
    transformer, vae = component_config(base, "transformer"), component_config(base, "vae")
    with as_bad_model(f"model '{base.name}': transformer/config.json or vae/config.json"):
        if transformer.get("causal_condition", True) is not True:
            raise ValueError("causal_condition: true; without it nothing of a reference can be reused")
        heads = number_of(transformer, "num_attention_heads", 1024)
        return QwenSizes(
            channels=number_of(vae, "z_dim", 65_536),
            layers=number_of(transformer, "num_layers", 1024),
            width=heads * number_of(transformer, "attention_head_dim", 65_536),
        )


def sample_sigmas(base: BaseInfo) -> tuple[float, ...]:
    """The sigmas that the model's author states in model_index.json; empty for none. Raises ModelError."""
    if base.revision is not None:
        index: JsonObject = hub_json(base.location, base.revision, INDEX)
    else:
        index = read_json(Path(base.location) / INDEX)
    values = index.get("sample_sigmas")
    if values is None:
        return ()
    is_list = isinstance(values, list) and 1 <= len(values) <= 1000
    if not is_list or not all(type(value) in (int, float) and 0 < value <= 1 for value in values):
        raise ModelError(
            f"model '{base.name}': sample_sigmas in {INDEX} must be 1 to 1000 numbers over 0 and up to 1, got "
            f"{str(values)[:80]}; copy the folder again"
        )
    return tuple(float(value) for value in values)


def _content(folder: Path, part: str) -> dict[str, str]:
    """As `small_content`, which knows no processors. Raises ModelError."""
    if part != "processor":
        return small_content(folder, part)
    hashes = {}
    for name in PROCESSOR_FILES:
        path = regular_file(folder / part, name)
        if path is None:
            continue
        if name.endswith("_config.json"):
            hashes[f"{part}/{name}"] = config_hash(read_json(path))
        else:
            if name.endswith(".json"):
                read_json(path)
            hashes[f"{part}/{name}"] = file_hash(path)
    needed = {f"{part}/preprocessor_config.json", f"{part}/tokenizer_config.json"}
    pair = {f"{part}/vocab.json", f"{part}/merges.txt"}
    if not needed <= set(hashes) or not (f"{part}/tokenizer.json" in hashes or pair <= set(hashes)):
        raise ModelError(
            f"{folder / part}: must hold preprocessor_config.json, tokenizer_config.json and tokenizer.json; copy the "
            "folder again"
        )
    return hashes


FAMILY = QwenImage21()
