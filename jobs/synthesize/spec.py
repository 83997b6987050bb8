"""The synthesis file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (`dreamcache.synthesize_config`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from dreamcache.config import FORBID_UNKNOWN
from dreamcache.synthesize_config import (
    CaptionSettings,
    DatasetSettings,
    FilterSettings,
    MaskSettings,
    PictureSettings,
)
from jobs.spec import WorkerSpec
from jobs.yaml_file import anchor, dump, parse, read_yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthWorkersSpec:
    """Actors of each stage; the filter runs where the command runs."""

    captions: WorkerSpec = WorkerSpec(cpus=1)
    images: WorkerSpec = WorkerSpec(cpus=1)
    masks: WorkerSpec = WorkerSpec(cpus=1)
    dataset: WorkerSpec = WorkerSpec(cpus=1)

    __pydantic_config__ = FORBID_UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthSpec:
    """A synthesis: captions -> filter -> images -> masks -> dataset, all below `output`.

    seed: of captions, noise and split.
    """

    name: str
    output: str
    seed: int = 0
    captions: CaptionSettings = CaptionSettings()
    filter: FilterSettings = FilterSettings()
    images: PictureSettings = PictureSettings()
    masks: MaskSettings = MaskSettings()
    dataset: DatasetSettings = DatasetSettings()
    workers: SynthWorkersSpec = SynthWorkersSpec()

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"name must be 1-100 letters, digits, '.', '_' or '-', got {self.name!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


_ADAPTER = TypeAdapter(SynthSpec)


def load_synth_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SynthSpec:
    """Reads synth.yaml; local paths in it are relative to its folder. overrides: {"captions.count": 500}.

    Raises SpecError with file, key, rule and remedy.
    """
    path = Path(path)
    values = read_yaml(path, overrides or {}, kind="synthesis file", remedy="see docs/synthesis.md")
    return _anchored(parse_synth_spec(values, where=str(path)), path.parent)


def parse_synth_spec(values: Mapping[str, Any], where: str = "synthesis") -> SynthSpec:
    """Checks plain values against SynthSpec. Raises SpecError naming every broken rule."""
    return parse(_ADAPTER, SynthSpec, values, where)


def dump_synth_spec(spec: SynthSpec) -> str:
    """The whole spec as YAML, defaults included, so that a synthesis' folder tells all."""
    return dump(_ADAPTER, spec)


def _anchored(spec: SynthSpec, folder: Path) -> SynthSpec:
    def model(name: str | None) -> str | None:
        return anchor(name, folder) if name is not None and (folder / name).is_dir() else name

    models = {name: model(value) or value for name, value in spec.masks.segmenter_models.items()}
    return replace(
        spec,
        output=anchor(spec.output, folder),
        captions=replace(spec.captions, model=model(spec.captions.model)),
        images=replace(spec.images, model=model(spec.images.model)),
        masks=replace(spec.masks, segmenter_models=models),
    )
