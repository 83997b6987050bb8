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

from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.families.diffusers_folder import describe_folder, number_of
from dreamcache.inference.families.reference_kv import ReferenceKVFamily, refused_settings
from dreamcache.inference.families.sd_sizes import ITEM_BYTES
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.base import (
    IMAGE_PROCESSOR,
    INDEX,
    BaseInfo,
    component_config,
    hub_json,
    pipeline_class,
    require_image_processor,
    small_content,
)
from dreamcache.storage.models.files import as_bad_model, config_hash, file_hash, read_json, regular_file

PIPELINE = "QwenImage21Pipeline"
PARTS = ("transformer", "vae", "text_encoder", "processor", "scheduler")
WEIGHTED = ("transformer", "vae", "text_encoder")
PROCESSOR_FILES = (
    *IMAGE_PROCESSOR, "tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json",
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
NO_GUIDANCE = "images are generated without guidance, which is its pipeline's default"
NO_PASS = "a reference is encoded by the VAE and the language model alone"


class QwenImage21(ReferenceKVFamily):
    """Models of 40 steps, or as many as their author states."""

    name: ClassVar[str] = "qwen-image-2.1"
    title: ClassVar[str] = "Qwen-Image 2.1"
    weighted: ClassVar[tuple[str, ...]] = WEIGHTED
    quantized: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder")
    whole: ClassVar[str] = "its models are called in parts, which diffusers' hooks on whole models do not see"
    stored: ClassVar[tuple[str, ...]] = (LATENTS, PICTURE)
    refused: ClassVar[Mapping[str, str]] = refused_settings(guidance=NO_GUIDANCE, reading=NO_PASS)

    def recognizes(self, base: str, revision: str | None) -> bool:
        """By model_index.json."""
        return pipeline_class(base, revision) == PIPELINE

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged or of another layout."""
        info, _ = describe_folder(
            base, revision, layout=self.title, parts=PARTS, weighted=WEIGHTED, content=_content
        )
        sizes_of(info)
        sample_sigmas(info)
        return replace(info, native_size=NATIVE)

    def steps(self, base: BaseInfo) -> int:
        """As the model's author states them."""
        return len(sample_sigmas(base)) or STEPS

    def multiple(self, base: BaseInfo) -> int:
        """Of pixels."""
        return MULTIPLE

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """Raises SpecError for a size that has no whole number of tokens, or steps that the author did not mean."""
        super().check_generation(settings, base)
        sigmas = sample_sigmas(base)
        if sigmas and settings.steps != len(sigmas):
            raise SpecError(
                f"generation.num_inference_steps: must be {len(sigmas)} for model '{base.name}', whose {INDEX} states "
                f"sample_sigmas, got {settings.steps}; leave the key out"
            )

    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """Of a square photo."""
        pixels = reference.size**2
        return ITEM_BYTES[reference.dtype] * (sizes_of(base).channels * pixels // DOWN**2 + 3 * pixels)

    def worker_numbers(self, base: BaseInfo, height: int, width: int) -> tuple[int, int]:
        """The activations are the transformer's, or those of the VAE's last block."""
        sizes = sizes_of(base)
        keys_values = 2 * sizes.layers * sizes.width * (base.native_size // DOWN) ** 2
        return keys_values, max(16 * sizes.width * height * width // DOWN**2, 128 * height * width)


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
    require_image_processor(folder / part)
    pair = {f"{part}/vocab.json", f"{part}/merges.txt"}
    has_words = f"{part}/tokenizer.json" in hashes or pair <= set(hashes)
    if not has_words or f"{part}/tokenizer_config.json" not in hashes:
        raise ModelError(
            f"{folder / part}: must hold tokenizer_config.json and tokenizer.json; copy the folder again"
        )
    return hashes


FAMILY = QwenImage21()
