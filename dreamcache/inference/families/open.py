"""Opening a family's models on a device. Imports a family's `open` module only when it is needed; knows no family."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from dreamcache.core.config import EncodeSettings, ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.families.family import Family, adapter_family
from dreamcache.inference.layouts import BaseLayout
from dreamcache.inference.protocols import Pipeline, References, Subject
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSources:
    """What references are read with. settings: as the plan resolved them; capacity: subjects held in memory.
    hosts: of https:// photos."""

    settings: EncodeSettings
    cache: FeatureCache
    limits: ImageLimits
    capacity: int = 64
    hosts: tuple[CatalogHost, ...] = ()


class FamilyModule(Protocol):
    """`open.py` of a family's folder. Each has its own type of subject, which nobody outside needs to know."""

    def open_pipeline(
        self, model: ModelSpec, base: BaseInfo, adapter: AdapterInfo, *, device: str
    ) -> Pipeline[Subject]:
        """Loads the weights. Raises ModelError."""

    def open_references(self, pipe: Pipeline[Subject], sources: ReferenceSources) -> References[Subject]:
        """What `pipe` reads of subjects."""


def layout_of(base: str, revision: str | None) -> BaseLayout:
    """The layout of a base that DreamCache adapters are put on. Raises ModelError for a base that takes none."""
    family = adapter_family(base, revision)
    return cast(BaseLayout, import_module(f"{family.package}.open").LAYOUT)


def family_module(family: Family) -> FamilyModule:
    """The part of a family that needs torch."""
    return cast(FamilyModule, import_module(f"{family.package}.open"))


def open_pipeline(family: Family, model: ModelSpec, *, device: str = "cpu") -> Pipeline[Subject]:
    """A family's pipeline on `device`, from the files that this machine has. Raises ModelError."""
    model = model.resolved(on_gpu=device != "cpu")
    base, adapter = family.describe_models(model)
    return family_module(family).open_pipeline(model, base, adapter, device=device)
