"""How much a job takes, by arithmetic on the model's small files: U-Net passes, bytes of features, memory of a worker.

Knows the SD 1.x / 2.x layout from its `config.json` files and the headers of safetensors files; loads no weights and
never imports torch. Each function states whether it is exact or an estimate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dreamcache.core.config import DType, EncodeSettings, GenerationSettings, Guidance, Offload
from dreamcache.core.config.savings import Guided
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.family import Family, Passes
from dreamcache.inference.families.weight_bytes import counted, on_device
from dreamcache.storage import packed
from dreamcache.storage.feature_check import form_of
from dreamcache.storage.models.adapter import ADAPTER_WEIGHTS, REFERENCE_UNET, AdapterInfo
from dreamcache.storage.models.base import BaseInfo, component_config, pipeline_class
from dreamcache.storage.models.settings_fit import check_negative_prompt, check_schedule
from dreamcache.storage.models.weights import read_header

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
WEIGHTED = ("unet", "vae", "text_encoder")
BRANCHES = {"joint": (2, 2), "combined": (2, 3)}
"""Encoder and decoder halves of one guided prediction; see `dreamcache.model.denoiser`."""

HEADROOM = 1.25
DEVICE_BYTES = 800_000_000
"""What a GPU's libraries and workspaces take beside tensors, about."""


class StableDiffusionFamily(Family):
    """A family whose base is a U-Net of Stable Diffusion's kind. guidance: of BRANCHES; None takes the job's.

    weighted: the base's parts with weights. upcasts_vae: whether the VAE stays in float32 where its config says so.
    slices_vae: whether it decodes one image at a time.
    """

    guidance: ClassVar[Guidance | None] = None
    weighted: ClassVar[tuple[str, ...]] = WEIGHTED
    upcasts_vae: ClassVar[bool] = False
    slices_vae: ClassVar[bool] = False

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """Raises ModelError when it is missing, damaged or of another layout."""
        named = pipeline_class(base, revision)
        if named is not None and re.match(r"StableDiffusion(XL|3)", named):
            raise ModelError(
                f"model '{base}': is a {named}; method '{self.method}' runs on Stable Diffusion 1.x and 2.x; choose "
                "another base or method"
            )
        return super().describe_base(base, revision)

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:
        """See `storage.models.settings_fit`."""
        check_schedule(settings, base)
        check_negative_prompt(settings, base)

    def passes_per_image(self, settings: GenerationSettings) -> Passes:
        """Exact."""
        return passes_per_image(settings, self.guidance)

    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """Exact; 0 where the family reads no features."""
        return feature_bytes(base, reference) if reference.places else 0

    def worker_bytes(
        self,
        base: BaseInfo,
        adapter: AdapterInfo,
        settings: GenerationSettings,
        *,
        batch_size: int,
        dtype: DType,
        on_gpu: bool,
        offload: Offload = "none",
        overlaps_decoding: bool = False,
    ) -> int:
        """An estimate."""
        width = ITEM_BYTES[dtype]
        upcasts = self.upcasts_vae and component_config(base, "vae").get("force_upcast", True)
        vae_width = ITEM_BYTES["float32"] if upcasts else width
        decoded = min(batch_size, 1) if self.slices_vae else batch_size
        parts = counted(base, self.weighted)
        widths = {part: vae_width if part == "vae" else width for part in parts}
        weights = on_device(parts, base, self.quantized, widths, offload)
        weights += width * count_beside(adapter)
        denoising = width * batch_size * _unet_numbers(base, settings)
        decoding = vae_width * decoded * _vae_numbers(base, settings)
        is_beside = overlaps_decoding and self.decodes_apart and offload == "none"
        activations = denoising + decoding if is_beside else max(denoising, decoding)
        total = weights + HEADROOM * activations
        return int(total) + (DEVICE_BYTES if on_gpu else 0)


def passes_per_image(settings: GenerationSettings, guidance: Guidance | None = None) -> Passes:
    """Exact: guidance's halves of each of the scheduler's predictions, which heun and pndm have more of than steps."""
    encoder, decoder = BRANCHES[guidance or settings.guidance]
    encoders = decoders = 0
    for work in settings.savings.work(predictions_of(settings)):
        every = work.guided is Guided.ALL
        decoders += decoder if every else 1
        encoders += (encoder if every else 1) if work.encodes else 0
    return Passes(encoder_halves=encoders, decoder_halves=decoders)


def predictions_of(settings: GenerationSettings) -> int:
    """Exact: of one image, by its scheduler."""
    steps = settings.steps
    return {"heun": 2 * steps - 1, "pndm": steps + 1}.get(settings.scheduler, steps)


def feature_shapes(base: BaseInfo, reference: EncodeSettings) -> dict[str, tuple[int, int, int]]:
    """[C, h, w] of the features at each place; `reference` is the plan's, with all filled in. Exact.

    Raises ModelError for a place that the layout does not have.
    """
    unet, vae = component_config(base, "unet"), component_config(base, "vae")
    if "block_out_channels" not in unet:
        raise ModelError(
            f"model '{base.name}': its unet/config.json lacks block_out_channels; repair the folder"
        )
    channels = [int(value) for value in unet["block_out_channels"]]
    sides = _sides(reference.size // _scale(vae), len(channels))
    shapes = {}
    for place in reference.places:
        level = _level(place, len(channels))
        shapes[place] = (channels[level], sides[level], sides[level])
    return shapes


def feature_bytes(base: BaseInfo, reference: EncodeSettings) -> int:
    """Bytes of one subject's features. Exact for the numbers; the stored file is a little smaller (zstd).

    With `ground_vectors` the most: the photo decides how many positions its subject has.
    """
    shapes, form = feature_shapes(base, reference).values(), form_of(reference)
    if form in packed.FORMS:
        return sum(packed.most_bytes(form, shape[0], math.prod(shape[1:])) for shape in shapes)
    return ITEM_BYTES[reference.dtype] * sum(map(math.prod, shapes))


def _vae_numbers(base: BaseInfo, settings: GenerationSettings) -> float:
    """Of one image: the decoder's last block, at full size."""
    vae = component_config(base, "vae")
    height, width = settings.height or base.native_size, settings.width or base.native_size
    return float(8 * int(vae["block_out_channels"][0]) * height * width)


def _unet_numbers(base: BaseInfo, settings: GenerationSettings) -> float:
    """Of one image: skip connections of both halves' rows, and the widest block (16 maps wide: GEGLU and its input)."""
    unet, vae = component_config(base, "unet"), component_config(base, "vae")
    height, width = settings.height or base.native_size, settings.width or base.native_size
    latent_area = height * width / _scale(vae) ** 2
    encoder_rows, decoder_rows = BRANCHES[settings.guidance]
    channels = [int(value) for value in unet["block_out_channels"]]
    per_level = int(unet.get("layers_per_block", 2)) + 1
    skips = sum(per_level * count * latent_area / 4**level for level, count in enumerate(channels))
    return float(skips * (encoder_rows + decoder_rows) + 16 * channels[0] * latent_area * decoder_rows)


def count_beside(adapter: AdapterInfo) -> int:
    """Parameters of what stands beside a base, counted in the files' headers.

    An adapter folder with its own reference U-Net where it has one, or one file of weights.
    """
    files: list[Path] = []
    beside = Path(adapter.location)
    if beside.is_file():
        files.append(beside)
    elif adapter.places:
        names = [ADAPTER_WEIGHTS, *([REFERENCE_UNET] if adapter.reference_unet else [])]
        files += [beside / name for name in names]
    return count_files(files)


def count_parameters(base: BaseInfo, adapter: AdapterInfo, weighted: Sequence[str] = WEIGHTED) -> int:
    """Of the base's parts and of what stands beside it. Raises ModelError for weights that are not on this machine."""
    return sum(part.numbers for part in counted(base, weighted).values()) + count_beside(adapter)


def count_files(paths: Iterable[Path]) -> int:
    """Parameters in safetensors files, counted in their headers. Raises ModelError for a damaged one."""
    return sum(_count(path) for path in paths)


def _count(path: Path) -> int:
    return sum(math.prod(tensor.shape) for tensor in read_header(path).values())


def _level(place: str, levels: int) -> int:
    """How many times the map at a place has been halved."""
    parts = place.split(".")
    number = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    known = {"down_blocks": number, "mid_block": levels - 1, "up_blocks": levels - 1 - number}
    level = known.get(parts[0], -1)
    if not 0 <= level < levels:
        raise ModelError(f"place '{place}': this base model's U-Net has {levels} levels and no such place")
    return level


def _sides(side: int, levels: int) -> list[int]:
    """Of the latent map at each level; a halving rounds up."""
    sides = [side]
    while len(sides) < levels:
        sides.append((sides[-1] + 1) // 2)
    return sides


def _scale(vae: dict[str, Any]) -> int:
    return int(2 ** (len(vae["block_out_channels"]) - 1))
