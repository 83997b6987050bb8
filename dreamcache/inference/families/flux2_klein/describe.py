"""FLUX.2 klein without torch: what a base is, what of a reference is stored, and the settings that have a meaning.

A reference is encoded by the VAE alone; its latents are what the cache stores. The transformer's keys and values of it
depend on neither prompt, noise, timestep nor target size (they are computed at timestep 0 and attend to themselves
only), so a worker computes them once a subject. No adapter, and no training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from dreamcache.core.config import EncodeSettings, Offload
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.diffusers_folder import describe_folder, number_of
from dreamcache.inference.families.reference_kv import ReferenceKVFamily, refused_settings
from dreamcache.inference.families.sd_sizes import ITEM_BYTES
from dreamcache.storage.models.base import INDEX, BaseInfo, component_config, pipeline_class
from dreamcache.storage.models.files import as_bad_model

PIPELINES = ("Flux2KleinKVPipeline", "Flux2KleinPipeline")
COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTED = ("transformer", "vae", "text_encoder")
LATENTS = "latents"
"""The place under which a reference's latents are stored: [C, h, w], packed 2 x 2 and normalised."""

STEPS = 4
PATCH = 2
MIN_SIDE = 64
"""Of a photo, in pixels."""
NO_GUIDANCE = "the model is distilled and runs without guidance"
NO_PASS = "a reference is encoded by the VAE alone"


class Flux2Klein(ReferenceKVFamily):
    """Distilled models of one to four steps."""

    name: ClassVar[str] = "flux2-klein"
    title: ClassVar[str] = "FLUX.2 klein"
    weighted: ClassVar[tuple[str, ...]] = WEIGHTED
    offloads: ClassVar[frozenset[Offload]] = frozenset({"model", "sequential"})
    quantized: ClassVar[tuple[str, ...]] = ("transformer", "text_encoder")
    stored: ClassVar[tuple[str, ...]] = (LATENTS,)
    refused: ClassVar[Mapping[str, str]] = refused_settings(guidance=NO_GUIDANCE, reading=NO_PASS)

    def recognizes(self, base: str, revision: str | None) -> bool:
        """By model_index.json."""
        return pipeline_class(base, revision) in PIPELINES

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged, of another layout, or not distilled."""
        info, index = describe_folder(base, revision, layout=self.title, parts=COMPONENTS, weighted=WEIGHTED)
        if index.get("_class_name") == "Flux2KleinPipeline" and not index.get("is_distilled"):
            raise ModelError(
                f"model '{base}': must be a distilled klein model (is_distilled in {INDEX}), got an "
                "undistilled one, which needs guidance in two passes; choose the distilled model"
            )
        return replace(info, native_size=sizes_of(info).native)

    def steps(self, base: BaseInfo) -> int:
        """Of a distilled model."""
        return STEPS

    def multiple(self, base: BaseInfo) -> int:
        """Pixels of a side for one token."""
        return sizes_of(base).multiple

    def note(self, base: BaseInfo) -> str | None:
        """Weights that were not trained for the reuse of keys and values."""
        if pipeline_class(base.location, base.revision) == "Flux2KleinPipeline":
            return (
                f"model '{base.name}' was not trained to reuse a reference's keys and values: images are close to, and "
                "not equal to, those of its own pipeline; a klein-KV model is exact"
            )
        return None

    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """No photo takes more."""
        sizes = sizes_of(base)
        return ITEM_BYTES[reference.dtype] * sizes.channels * sizes.most_positions(reference.size)

    def worker_numbers(self, base: BaseInfo, height: int, width: int) -> tuple[int, int]:
        """The activations are the transformer's, or those of the VAE's last block."""
        sizes = sizes_of(base)
        keys_values = 2 * sizes.layers * sizes.width * sizes.positions(base.native_size, base.native_size)
        return keys_values, max(
            16 * sizes.width * sizes.positions(height, width), 8 * sizes.vae_channels * height * width
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KleinSizes:
    """What a base's configs state. native: pixels a side; multiple: of the pixels of one token; channels: of a latent
    once packed; layers, width: of the transformer; vae_channels: of the VAE's last block."""

    native: int
    multiple: int
    channels: int
    layers: int
    width: int
    vae_channels: int

    def positions(self, height: int, width: int) -> int:
        """Tokens of a picture of so many pixels."""
        return max(1, height // self.multiple) * max(1, width // self.multiple)

    def most_positions(self, size: int) -> int:
        """Tokens of a reference of `size` x `size` pixels at most: by its area, as a square may have fewer."""
        return max(size, MIN_SIDE) ** 2 // self.multiple**2


def sizes_of(base: BaseInfo) -> KleinSizes:
    """Raises ModelError for configs that are damaged or of another layout."""
    transformer, vae = component_config(base, "transformer"), component_config(base, "vae")
    with as_bad_model(f"model '{base.name}': transformer/config.json or vae/config.json"):
        blocks = vae["block_out_channels"]
        if not isinstance(blocks, list) or not 1 <= len(blocks) <= 8:
            raise ValueError("block_out_channels: a list of 1 to 8 numbers")
        heads = number_of(transformer, "num_attention_heads", 1024)
        return KleinSizes(
            native=number_of(vae, "sample_size", 4096),
            multiple=int(PATCH * 2 ** (len(blocks) - 1)),
            channels=number_of(transformer, "in_channels", 65_536),
            layers=number_of(transformer, "num_layers", 1024)
            + number_of(transformer, "num_single_layers", 1024),
            width=heads * number_of(transformer, "attention_head_dim", 65_536),
            vae_channels=number_of({"block_out_channels": blocks[0]}, "block_out_channels", 65_536),
        )


FAMILY = Flux2Klein()
