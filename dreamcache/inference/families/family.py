"""What a family of models says of itself without torch: identity, sizes, and the settings that it reads.

    method and base model -> Family -> base, adapter, encoding settings -> ids, estimates, checks

The planner, the doctor and the schema of the job file know families by this interface only. A family lives in its own
folder beside this module: `describe.py` has its one instance, FAMILY; `open.py` (torch) opens its models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar, Literal, cast

from dreamcache.core import ids
from dreamcache.core.config import DType, EncodeSettings, GenerationSettings, IntegrationName, Offload
from dreamcache.core.config.job import ModelSpec
from dreamcache.core.config.methods import methods, register_method
from dreamcache.core.errors import ModelError, SpecError, did_you_mean
from dreamcache.segment.u2net_file import with_segmenter_id
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo, describe_base
from dreamcache.storage.models.loras import with_loras
from dreamcache.storage.models.quantized import with_quantize

Photos = Literal["one", "set", "sequence"]

METHOD_VERSION = 1
"""Raised when a release changes the pixels of a family without an adapter of our own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passes:
    """Half passes of the U-Net for one image; two halves are one evaluation."""

    encoder_halves: int
    decoder_halves: int

    @property
    def evaluations(self) -> float:
        return (self.encoder_halves + self.decoder_halves) / 2


class Family(ABC):
    """A family of models. Without torch; every method reads small files at most.

    method: the value of `method` in a job file. caches_features: whether references are encoded ahead into the
    feature cache; else the photo is read where images are generated. photos: how many of a subject are read: one, a set
    whose order does not matter, or a sequence whose order does. generation: keys of `generation` with a meaning.
    refused: settings that a job may not change, by dotted key, each with the reason. per_image: keys of `generation`
    that may differ between the images of one batch. takes_loras: whether `model.loras` can be put on its bases.
    compiles: whether `model.compile` has a meaning. trains_adapters: whether DreamCache adapters are trained for its
    bases and put on them; then `open` has a LAYOUT (`inference.layouts`).
    decodes_apart: whether its pipeline can decode a batch beside the denoising of the next.
    offloads: values of `model.offload` besides "none". quantized: parts that `model.quantize` changes, none where it
    cannot be set. whole: why a family has neither.
    """

    method: ClassVar[str]
    caches_features: ClassVar[bool] = False
    photos: ClassVar[Photos] = "one"
    refused: ClassVar[Mapping[str, str]] = {}
    compiles: ClassVar[bool] = False
    decodes_apart: ClassVar[bool] = False
    trains_adapters: ClassVar[bool] = False
    generation: ClassVar[frozenset[str]] = frozenset(GenerationSettings.__dataclass_fields__)
    per_image: ClassVar[frozenset[str]] = frozenset()
    takes_loras: ClassVar[bool] = False
    offloads: ClassVar[frozenset[Offload]] = frozenset()
    quantized: ClassVar[tuple[str, ...]] = ()
    whole: ClassVar[str] = "it is there to be compared with, and is loaded whole"

    @property
    def package(self) -> str:
        """The folder with `describe` and `open`, as a module name."""
        return type(self).__module__.rpartition(".")[0]

    def recognizes(self, base: str, revision: str | None) -> bool:
        """Whether this base model is of the family; called only where several families share a method."""
        return True

    def describe_base(self, base: str, revision: str | None) -> BaseInfo:
        """The base model. Raises ModelError when it is missing or of another layout."""
        return describe_base(base, revision)

    def describe_models(self, model: ModelSpec) -> tuple[BaseInfo, AdapterInfo]:
        """The base, with its LoRAs and in its bits, and what stands beside it. Raises SpecError or ModelError."""
        self._check_memory(model)
        if model.loras and not self.takes_loras:
            raise SpecError(f"model.loras: cannot be put on model '{model.base}' here; leave the key out")
        loras = [(lora.path, lora.weight) for lora in model.loras]
        base = with_loras(self.describe_base(model.base, model.revision), loras)
        base = with_quantize(base, model.quantize)
        base = replace(base, allow_other_base=True) if model.allow_other_base else base
        return base, self.describe_adapter(model.adapter, base)

    def _check_memory(self, model: ModelSpec) -> None:
        """Raises SpecError for a way to save memory that the family does not have."""
        refused = {
            "offload": model.offload != "none" and model.offload not in self.offloads,
            "quantize": model.quantize != "none" and not self.quantized,
        }
        for name, is_refused in refused.items():
            if is_refused:
                raise SpecError(
                    f"model.{name}: must be none for model '{model.base}' with method '{self.method}', since "
                    f"{self.whole}; got {getattr(model, name)!r}; leave the key out"
                )

    @abstractmethod
    def describe_adapter(self, adapter: str | None, base: BaseInfo) -> AdapterInfo:
        """What stands beside the base model, as it enters item ids. Raises ModelError naming what is missing."""

    def encoding(
        self, settings: EncodeSettings, base: BaseInfo, adapter: AdapterInfo, dtype: DType
    ) -> EncodeSettings:
        """The job's encoding settings with all that the models decide filled in, as they enter the cache key.

        Raises SpecError for settings that lack what the adapter reads.
        """
        settings = settings if self.caches_features else settings.with_floats()
        resolved = settings.resolved(base.native_size, adapter.feature_places, dtype, adapter.reference_unet)
        missing = [place for place in adapter.feature_places if place not in resolved.places]
        if missing:
            raise SpecError(
                f"reference.places: must hold every place of the adapter, lacks {', '.join(missing)}; add them, or "
                f"leave the key out"
            )
        return with_segmenter_id(resolved)

    def check_generation(self, settings: GenerationSettings, base: BaseInfo) -> None:  # noqa: B027 - most have no rule
        """Raises SpecError for settings that this base model cannot follow."""

    def note(self, base: BaseInfo) -> str | None:
        """What a user of this base model should know before anything runs."""
        return None

    @abstractmethod
    def passes_per_image(self, settings: GenerationSettings) -> Passes:
        """Passes of one image. Exact."""

    @abstractmethod
    def feature_bytes(self, base: BaseInfo, reference: EncodeSettings) -> int:
        """Bytes of one subject's features before compression, 0 for none. Exact. Raises ModelError."""

    @abstractmethod
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
        """Memory that a generator takes for one batch, on its GPU where it has one. An ESTIMATE.

        overlaps_decoding: a batch is decoded beside the denoising of the next, where the family can. Raises ModelError
        where it is not known.
        """

    def method_info(self, base: BaseInfo, location: str, content: dict[str, str]) -> AdapterInfo:
        """What enters item ids instead of an adapter: the method, and content hashes of what it reads."""
        return AdapterInfo(
            location=location,
            fingerprint=ids.of_values("method", name=self.method, version=METHOD_VERSION, content=content),
            base_name=base.name,
            base_fingerprint=base.fingerprint,
            places=(),
            integration=cast(IntegrationName, self.method),  # read only where the adapter is ours
            step=0,
        )

    def refuse_adapter(self, adapter: str | None) -> None:
        """Raises ModelError where an adapter is named."""
        if adapter is not None:
            raise ModelError(
                f"method '{self.method}': takes no adapter, got '{adapter}'; leave model.adapter out"
            )


_FAMILIES: dict[str, list[Family]] = {}


def register_families(package: str, folders: list[str]) -> None:
    """Imports `describe` of every folder with a family, and makes its method known to the settings."""
    for info in iter_modules(folders):
        if info.ispkg:
            family: Family = import_module(f"{package}.{info.name}.describe").FAMILY
            _FAMILIES.setdefault(family.method, []).append(family)
            register_method(family.method)


def family_of(method: str, base: str = "", revision: str | None = None) -> Family:
    """The family of a method; where several share it, the one that recognizes the base model.

    Raises SpecError for an unknown method, ModelError for a base model that no family recognizes.
    """
    if method not in _FAMILIES:
        raise SpecError(
            f"method '{method}': must be one of {', '.join(methods())}{did_you_mean(method, methods())}"
        )
    families = _FAMILIES[method]
    matches = families if len(families) == 1 else [one for one in families if one.recognizes(base, revision)]
    if not matches:
        raise ModelError(
            f"model '{base}': no family of method '{method}' recognizes it; choose another model.base"
        )
    return matches[0]


def adapter_family(base: str, revision: str | None = None) -> Family:
    """The family of a base that DreamCache adapters are put on. Raises ModelError for a base that takes none."""
    family = family_of("dreamcache", base, revision)
    if not family.trains_adapters:
        raise ModelError(
            f"model '{base}': reads references by itself, so that no adapter is trained or put on it; use it in a job "
            "without one"
        )
    return family
