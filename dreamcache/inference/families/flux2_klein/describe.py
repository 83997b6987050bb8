"""FLUX.2 klein without torch: what a base is, what of a reference is stored, and the settings that have a meaning.

A reference is encoded by the VAE alone; its latents are what the cache stores. The transformer's keys and values of it
depend on neither prompt, noise, timestep nor target size (they are computed at timestep 0 and attend to themselves
only), so a worker computes them once a subject. No adapter, and no training.
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
from dreamcache.segment.u2net_file import with_segmenter_id
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import INDEX, BaseInfo, component_config, pipeline_class
from dreamcache.storage.models.files import as_bad_model
from dreamcache.storage.models.weights import weight_files

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
        return pipeline_class(base, revision) in PIPELINES

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged, of another layout, or not distilled."""
        info, index = describe_folder(
            base, revision, layout="FLUX.2 klein", parts=COMPONENTS, weighted=WEIGHTED
        )
        if index.get("_class_name") == "Flux2KleinPipeline" and not index.get("is_distilled"):
            raise ModelError(
                f"model '{base}': must be a distilled klein model (is_distilled in {INDEX}), got an "
                "undistilled one, which needs guidance in two passes; choose the distilled model"
            )
        return replace(info, native_size=sizes_of(info).native)

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
        resolved = replace(
            settings.with_floats(),
            size=settings.size or base.native_size,
            places=(LATENTS,),
            timestep=0,
            compute_dtype=dtype,
            segmenter="none" if settings.segmenter == "auto" else settings.segmenter,
        )
        return with_segmenter_id(resolved)

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """Raises SpecError for a size that cannot be packed."""
        multiple = sizes_of(base).multiple
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
        sizes = sizes_of(base)
        return ITEM_BYTES[reference.dtype] * sizes.channels * sizes.positions(reference.size, reference.size)

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
        folders = [Path(base.location) / part for part in WEIGHTED]
        files = [folder / name for folder in folders for name in weight_files(folder).files]
        sizes = sizes_of(base)
        height, width = settings.height or base.native_size, settings.width or base.native_size
        keys_values = 2 * sizes.layers * sizes.width * sizes.positions(base.native_size, base.native_size)
        activations = max(
            16 * sizes.width * sizes.positions(height, width), 8 * sizes.vae_channels * height * width
        )
        numbers = count_files(files) + keys_values + batch_size * HEADROOM * (activations + keys_values)
        return int(numbers * ITEM_BYTES[dtype]) + (DEVICE_BYTES if on_gpu else 0)


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
